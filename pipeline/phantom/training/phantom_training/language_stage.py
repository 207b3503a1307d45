"""Stage 2: the whole model learns to fill in the form, by next-token loss on the answer alone."""

import time

import torch
import torch.nn.functional as F
from torch import nn

from . import checkpoint, data, model, recipe, vision_stage, wording, workers
from .reader import Reader, expected
from .turns import Turns
from .vision_stage import rate

STEPS = dict(echo=32, pathology=6, rate=1.5e-3, vision_rate=4e-4, weight_decay=0.01)
# Steps and share of the rates, one after the other, each with a warm-up and a cosine of its own.
ROUNDS = [(900, 1.0), (500, 0.6), (600, 0.6)]
# Of the losses on beats (answer, heads of stage 1) and on tiles (the same). The heads go on teaching the tower: an answer
# is forty tokens, of which two digits say what the picture has to be measured for.
WEIGHTS = [1.0, 0.05, 0.5, 0.1]
# Beats that are looked at for the log while training goes on.
GLANCE = 128


def loss(turns, kind, tokens, truths, rng):
    ids, labels, positions = turns.batch(kind, truths, rng)
    logits = turns.logits(tokens, ids, positions, labels)
    return F.cross_entropy(logits, labels[:, 1:][labels[:, 1:] != -100])


@torch.no_grad()
def expected_ef(reader, samples):
    """A glance at validation: mean absolute error of the expected ejection fraction, given the true view and quality."""
    known = [i for i, truth in enumerate(samples.truths) if data.lvef(truth) is not None][:GLANCE]
    truths = [samples.truths[i] for i in known]
    tokens = reader.towers["echo"](samples.pictures[known].float())
    before = [data.answer("echo", truth).partition('"lvef_percent":') for truth in truths]
    numbers = reader.numbers("en", tokens, ["".join(parts[:2]) for parts in before])
    return sum(abs(expected(n) - data.lvef(truth)) for n, truth in zip(numbers.numpy(), truths)) / len(known)


def train(rank, folder, vision_weights, out):
    """Goes on from the tower of stage 1, or after the last whole round in `out`; writes the weights there now and then."""
    tok = wording.tokenizer()
    built, processor = model.build(tok), checkpoint.processor(tok)
    heads = vision_stage.Heads(recipe.VISION["out_hidden_size"])
    seen = torch.load(vision_weights, weights_only=True)
    vision_only = {name: value for name, value in seen["model"].items() if "visual" in name}
    built.load_state_dict(vision_only, strict=False)
    heads.load_state_dict(seen["heads"])
    first = 0
    if out.exists():
        seen = torch.load(out, weights_only=True)
        first = seen["rounds"]
        if first:
            built.load_state_dict(seen["model"])
            heads.load_state_dict(seen["heads"])
    room = Room(rank, built, heads, Turns(built, tok, processor), folder)
    for done, (steps, share) in enumerate(ROUNDS[first:], first):
        room.round(done, steps, share, out)


class Room:
    """One process's model, its samples and what it was taught."""

    def __init__(self, rank, built, heads, turns, folder):
        self.rank, self.built, self.heads, self.turns, self.folder = rank, built, heads, turns, folder
        self.reader = Reader(built, turns)
        self.towers = self.reader.towers
        self.validation = data.load(folder, "echo", "validation")

    def losses(self, streams, chance):
        found = []
        for kind, stream in streams.items():
            pictures, truths = stream.next(self.rank)
            tokens = self.towers[kind](data.augmented(pictures, chance))
            found.append(loss(self.turns, kind, tokens, truths, chance))
            found.append(vision_stage.loss(kind, tokens, self.heads, truths))
        return found

    def round(self, done, steps, share, out):
        vision = [*self.built.model.visual.parameters(), *self.heads.parameters()]
        text = [p for name, p in self.built.named_parameters() if "visual" not in name]
        groups = [{"params": vision, "lr": share * STEPS["vision_rate"]}, {"params": text, "lr": share * STEPS["rate"]}]
        optimiser = torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=STEPS["weight_decay"], fused=True)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: rate(step, steps))
        order = torch.Generator().manual_seed(recipe.SEED + 100 + done)
        chance = torch.Generator().manual_seed(recipe.SEED + 200 + 10 * done + self.rank)
        streams = {kind: data.Stream(self.folder, kind, STEPS[kind], order) for kind in self.towers}
        start, running = time.time(), torch.zeros(len(WEIGHTS))
        for step in range(1, steps + 1):
            losses = self.losses(streams, chance)
            sum(weight * part for weight, part in zip(WEIGHTS, losses)).backward()
            parameters = [*vision, *text]
            workers.average(parameters)
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimiser.step()
            optimiser.zero_grad()
            schedule.step()
            running += torch.tensor([part.item() for part in losses])
            if self.rank == 0 and step % 50 == 0:
                found = [round(value, 4) for value in (running / 50).tolist()]
                known = [len(stream.samples) for stream in streams.values()]
                print(
                    f"  step {step} of {steps}, {known} samples: loss {found}, {time.time() - start:.0f} s", flush=True
                )
                running.zero_()
            if self.rank == 0 and (step % 150 == 0 or step == steps):
                error = expected_ef(self.reader, self.validation)
                print(f"stage 2 round {done + 1}: EF MAE {error:.2f}, {time.time() - start:.0f} s", flush=True)
                rounds = done + (step == steps)
                state = {"model": self.built.state_dict(), "heads": self.heads.state_dict(), "rounds": rounds}
                torch.save(state, out)
