"""Turns the stream of the Rust example `training_data` into arrays: the pictures as the model's processor sees them.

Pillow's bicubic is what the engine's resampler equals byte for byte (Pillow before 13: later ones swap the two passes).
"""

import json
import subprocess
import time

import numpy as np
import PIL
from PIL import Image
from transformers.models.glm46v.image_processing_pil_glm46v import smart_resize

from . import recipe

assert int(PIL.__version__.split(".")[0]) < 13, PIL.__version__
# Studies in one file.
PART = 500
KINDS = {
    "echo": (recipe.ECHO, recipe.VIDEO_PIXELS, recipe.BEAT_SIZE),
    "pathology": (recipe.PATHOLOGY, recipe.IMAGE_PIXELS, recipe.TILE_SIZE),
}


def records(stream):
    """(truth, pictures of shape [n, height, width, channels]) until the stream ends."""
    while line := stream.readline():
        header = json.loads(line)
        size = int(np.prod(header["shape"]))
        pixels = stream.read(size)
        if len(pixels) != size:
            raise EOFError(f"a record of {size} bytes ends after {len(pixels)}")
        yield header["truth"], np.frombuffer(pixels, np.uint8).reshape(header["shape"])


def target(pictures, budget):
    """Height and width after smart_resize; a still counts as two frames, as in a temporal patch."""
    _, height, width, _ = pictures.shape
    factor = recipe.PATCH * recipe.MERGE
    return smart_resize(2, height, width, 2, factor, budget["shortest_edge"], budget["longest_edge"])


def resized(pictures, size):
    height, width = size
    planes = [Image.fromarray(p.squeeze(-1) if p.shape[-1] == 1 else p) for p in pictures]
    return np.stack([np.asarray(p.resize((width, height), Image.Resampling.BICUBIC)) for p in planes])


def render(example, kind, part, size, budget, out):
    """Writes one part of a split: `<out>.npy`, then `<out>.jsonl`, which says that the part is whole."""
    command = [example, kind, str(part.first), str(part.count), str(recipe.THREADS)]
    pictures, truths, other_size, start = [], [], 0, time.time()
    with subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=1 << 20) as process:
        for truth, full in records(process.stdout):
            if target(full, budget) != size:
                other_size += 1
                continue
            pictures.append(resized(full, size))
            truths.append(truth)
    if process.returncode != 0:
        raise RuntimeError(f"{example} failed with {process.returncode}")
    np.save(out.with_suffix(".npy"), np.stack(pictures))
    out.with_suffix(".jsonl").write_text("".join(json.dumps(truth) + "\n" for truth in truths))
    seconds = time.time() - start
    print(f"{out.name}: {len(truths)} samples, {other_size} of another size, {seconds:.0f} s", flush=True)


def parts(split):
    """A split in parts that are rendered, and can be taken up again, one by one."""
    last = split.first + split.count
    return [recipe.Split(i, min(PART, last - i)) for i in range(split.first, last, PART)]


def main(example, out):
    out.mkdir(parents=True, exist_ok=True)
    for split in ("validation", "train", "test"):
        for kind, (splits, budget, size) in KINDS.items():
            for part in parts(splits[split]):
                file = out / f"{kind}-{split}-{part.first}"
                if not file.with_suffix(".jsonl").exists():
                    render(example, kind, part, size, budget, file)
