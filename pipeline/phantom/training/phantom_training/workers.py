"""Processes that train one model together: each takes its part of every batch, gradients are averaged.

On a machine with few and busy cores two processes of one thread get more done than one process of two threads, whose
threads wait for each other at the end of every small operation.
"""

import os

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from . import recipe


def run(work, *arguments):
    """Calls `work(rank, *arguments)` in each process; returns when all have ended."""
    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    os.environ.setdefault("MASTER_PORT", "29511")
    mp.spawn(joined, (work, arguments), nprocs=recipe.THREADS)


def joined(rank, work, arguments):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=recipe.THREADS)
    work(rank, *arguments)
    dist.destroy_process_group()


def own(batch, rank):
    """This process's part of a batch."""
    return batch[rank :: recipe.THREADS]


def average(parameters):
    """Averages the gradients over all processes."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    flat /= recipe.THREADS
    for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients])):
        gradient.copy_(part.view_as(gradient))


def agreed(value):
    """What the first process has, in all of them."""
    box = [value]
    dist.broadcast_object_list(box)
    return box[0]
