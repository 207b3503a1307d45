"""Stage 1: the vision tower alone learns to see, with linear heads that are thrown away afterwards.

Without it the language loss teaches the tower next to nothing: the answer's form is learned at once, its content not.
"""

import math
import time

import torch
import torch.nn.functional as F
from torch import nn

from . import data, model, recipe, wording, workers

STEPS = dict(steps=1_300, echo=32, pathology=6, rate=1e-3, weight_decay=0.05)
EF_CENTRE, EF_SCALE, EF_WEIGHT = 45.0, 17.0, 2.0
HEADS = {
    "echo": [len(recipe.VIEWS), len(recipe.QUALITIES)],
    "pathology": [len(recipe.TISSUES), len(recipe.NUCLEI), len(recipe.ARTEFACTS), len(recipe.QUALITIES)],
}


class Heads(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.classes = nn.ModuleDict(
            {kind: nn.ModuleList(nn.Linear(width, n) for n in sizes) for kind, sizes in HEADS.items()}
        )
        self.ef = nn.Linear(width, 1)


def loss(kind, tokens, heads, truths):
    pooled = tokens.mean(1)
    wanted = torch.tensor([data.classes(kind, truth) for truth in truths])
    total = sum(F.cross_entropy(head(pooled), wanted[:, i]) for i, head in enumerate(heads.classes[kind]))
    known = [i for i, truth in enumerate(truths) if kind == "echo" and data.lvef(truth) is not None]
    if known:
        ef = torch.tensor([(data.lvef(truths[i]) - EF_CENTRE) / EF_SCALE for i in known])
        total = total + EF_WEIGHT * F.mse_loss(heads.ef(pooled[known]).squeeze(-1), ef)
    return total


@torch.no_grad()
def scores(kind, tower, heads, samples):
    """Shares of right answers, and for echo the mean absolute error of the ejection fraction in points."""
    right, errors = torch.zeros(len(HEADS[kind])), []
    for i in range(0, len(samples), 64):
        truths = samples.truths[i : i + 64]
        pooled = tower(samples.pictures[i : i + 64].float()).mean(1)
        wanted = torch.tensor([data.classes(kind, truth) for truth in truths])
        for j, head in enumerate(heads.classes[kind]):
            right[j] += (head(pooled).argmax(-1) == wanted[:, j]).sum()
        if kind == "echo":
            found = heads.ef(pooled).squeeze(-1) * EF_SCALE + EF_CENTRE
            known = [(f, data.lvef(t)) for f, t in zip(found.tolist(), truths) if data.lvef(t) is not None]
            errors += [abs(f - t) for f, t in known]
    shares = [round(share, 3) for share in (right / len(samples)).tolist()]
    return shares, (sum(errors) / len(errors) if errors else None)


def rate(step, steps):
    """Linear warm-up, then a cosine down to nothing."""
    warm_up = 150
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 + 0.5 * math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up))


def train(rank, folder, out):
    """Writes the weights to `out` every few hundred steps."""
    built = model.build(wording.tokenizer())
    validation = {kind: data.load(folder, kind, "validation") for kind in HEADS}
    visual = built.model.visual
    towers = {"echo": model.Tower(built, recipe.BEAT_SIZE), "pathology": model.Tower(built, recipe.TILE_SIZE)}
    torch.manual_seed(recipe.SEED)
    heads = Heads(recipe.VISION["out_hidden_size"])
    parameters = [*visual.parameters(), *heads.parameters()]
    optimiser = torch.optim.AdamW(
        parameters, lr=STEPS["rate"], betas=(0.9, 0.98), weight_decay=STEPS["weight_decay"], fused=True
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: rate(step, STEPS["steps"]))
    order = torch.Generator().manual_seed(recipe.SEED)
    chance = torch.Generator().manual_seed(recipe.SEED + 1 + rank)
    streams = {kind: data.Stream(folder, kind, STEPS[kind], order) for kind in HEADS}
    start, running = time.time(), 0.0
    for step in range(1, STEPS["steps"] + 1):
        total = 0.0
        for kind, stream in streams.items():
            pictures, truths = stream.next(rank)
            total = total + loss(kind, towers[kind](data.augmented(pictures, chance)), heads, truths)
        total.backward()
        workers.average(parameters)
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        optimiser.zero_grad()
        schedule.step()
        running += total.item()
        if rank == 0 and step % 50 == 0:
            known = len(streams["echo"].samples)
            print(
                f"  step {step} of {STEPS['steps']}, {known} beats: loss {running / 50:.3f}, {time.time() - start:.0f} s",
                flush=True,
            )
            running = 0.0
        if rank == 0 and (step % 400 == 0 or step == STEPS["steps"]):
            found = {kind: scores(kind, towers[kind], heads, validation[kind]) for kind in HEADS}
            print(f"stage 1: {found}, {time.time() - start:.0f} s", flush=True)
            torch.save({"model": built.state_dict(), "heads": heads.state_dict()}, out)
