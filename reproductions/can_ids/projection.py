"""From a student's latent to a teacher's: a linear layer where their sizes differ, else nothing.

It is a part of the system that is trained, in the optimiser of the student: in an optimiser of its own, which
no loop steps, it would stay what it was drawn as (notes 003 have that trap).
"""

import torch
from torch import nn


def projection(student: int, teacher: int, *, seed: int) -> nn.Module:
    """Return what makes `student` channels into `teacher` channels, drawn from a seed of its own.

    So a distilled student begins with the weights, and goes on with the dropout, of one that is not.
    """
    if student == teacher:
        return nn.Identity()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Linear(student, teacher)
