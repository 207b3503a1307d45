"""Samples in memory, their augmentation, their labels."""

import json
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from . import recipe, wording, workers


@dataclass
class Samples:
    """`pictures`: u8, beats `[n, 2, h, w]`, tiles `[n, 3, h, w]`; one truth for each."""

    pictures: torch.Tensor
    truths: list

    def __len__(self):
        return len(self.truths)


def parts(folder, kind, split):
    """The rendered parts of a split, in order of their seeds."""
    return sorted(folder.glob(f"{kind}-{split}-*.jsonl"))


def load(folder, kind, split, files=None):
    """All samples of a split, or of those parts of it."""
    files = parts(folder, kind, split) if files is None else files
    if not files:
        raise FileNotFoundError(f"no {kind}-{split}-*.jsonl in {folder}: render first")
    pictures = np.concatenate([np.load(file.with_suffix(".npy")) for file in files])
    truths = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    if kind == "pathology":
        pictures = pictures[:, 0].transpose(0, 3, 1, 2)
    return Samples(torch.from_numpy(np.ascontiguousarray(pictures)), truths)


def nuclei(truth):
    low, high = recipe.NUCLEI_LIMITS
    count = truth["nuclei_per_megapixel"]
    return "low" if count < low else "moderate" if count < high else "high"


def lvef(truth):
    """The ejection fraction that the picture allows to give, or none."""
    answers = truth["view"] in recipe.APICAL and truth["quality"] != "poor"
    return truth["ef_percent"] if answers else None


def classes(kind, truth):
    """The answers of the heads of stage 1, each an index into its list."""
    if kind == "echo":
        return [recipe.VIEWS.index(truth["view"]), recipe.QUALITIES.index(truth["quality"])]
    return [
        recipe.TISSUES.index(truth["tissue"]),
        recipe.NUCLEI.index(nuclei(truth)),
        recipe.ARTEFACTS.index(truth["artefact"]),
        recipe.QUALITIES.index(truth["quality"]),
    ]


def answer(kind, truth, jitter=0.0):
    """The form filled in. `jitter` (points) is added to the ejection fraction before rounding, which makes a smooth
    distribution over the digits of what is not known better than that."""
    if kind == "echo":
        value = lvef(truth)
        number = None if value is None else int(min(max(round(value + jitter), 0), 100))
        return wording.echo_answer(truth["view"], truth["quality"], number)
    return wording.pathology_answer(truth["tissue"], nuclei(truth), truth["artefact"], truth["quality"])


def augmented(pictures, rng):
    """Grey levels as float, moved and shone at a little differently, all frames of a sample alike: the self-consistency
    of the inference stage asks again with gain, shift and crop changed."""
    batch, _, height, width = pictures.shape
    x = pictures.float()
    uniform = lambda low, high: torch.empty(batch, 1, 1, 1).uniform_(low, high, generator=rng)  # noqa: E731
    chosen = lambda share: torch.rand(batch, 1, 1, 1, generator=rng) < share  # noqa: E731
    # A mask's black stays black.
    lit = x > 0
    factor = torch.where(chosen(0.1), uniform(0.75, 1.35), uniform(0.93, 1.07))
    offset = torch.where(chosen(0.3), uniform(-16, 16), uniform(-4, 4))
    x = torch.where(lit, (x * factor + offset).clamp(0, 255), x)
    # Whole pixels for all, which blurs nothing.
    dy, dx = (int(torch.randint(-3, 4, (1,), generator=rng)) for _ in range(2))
    x = F.pad(x, (3 + dx, 3 - dx, 3 + dy, 3 - dy))[:, :, 3 : 3 + height, 3 : 3 + width]
    # A crop is a little larger and moved by parts of a pixel; only some, because bilinear interpolation does blur.
    some = torch.nonzero(chosen(0.3).flatten()).flatten()
    if len(some):
        zoom = torch.empty(len(some)).uniform_(0.95, 1.01, generator=rng)
        theta = torch.zeros(len(some), 2, 3)
        theta[:, 0, 0], theta[:, 1, 1] = zoom, zoom
        theta[:, :, 2].uniform_(-0.02, 0.02, generator=rng)
        grid = F.affine_grid(theta, [len(some), 1, height, width], align_corners=False)
        x[some] = F.grid_sample(x[some], grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return x.round_()


class Stream:
    """Batches of the training split without end, one random order after the other. Parts that are rendered meanwhile
    join in at the beginning of an order; all processes see the same parts."""

    def __init__(self, folder, kind, size, rng):
        self.folder, self.kind, self.size, self.rng = folder, kind, size, rng
        self.files, self.samples, self.order = [], None, []

    def next(self, rank):
        """(pictures, truths) of this process's share of the next batch."""
        if len(self.order) < self.size:
            files = workers.agreed(parts(self.folder, self.kind, "train"))
            if files != self.files:
                self.files, self.samples = files, load(self.folder, self.kind, "train", files)
            self.order = torch.randperm(len(self.samples), generator=self.rng).tolist()
        batch, self.order = self.order[: self.size], self.order[self.size :]
        mine = workers.own(batch, rank)
        return self.samples.pictures[mine], [self.samples.truths[i] for i in mine]
