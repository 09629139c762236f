"""Does a training repeat bit for bit on this machine? A small flow on random features, trained twice."""

from collections.abc import Callable

import numpy as np
import torch

from mechlab import systems
from mechlab.train import determinism, scopes
from mechlab.train.loop import Progress, run_task
from mechlab.train.stage import Trainable, modules_of

GRID, DIM, ITEMS = (4, 4), 16, 12


def repeats(*, disturb: Callable[[Trainable], None] = lambda _: None) -> bool:
    """Return whether two trainings with one seed agree in every bit; `disturb` changes the second."""
    return _once(lambda _: None) == _once(disturb)


def _once(disturb: Callable[[Trainable], None]) -> tuple[tuple[float, ...], dict[str, str]]:
    determinism.settle(seed=0, threads=None)
    parts = dict(systems.preset("moleflow", "reduced").parts) | {"epochs": 2, "batch_size": 4}
    system: Trainable = systems.load(systems.catalog("moleflow").SYSTEM.target).create(
        parts, dim=DIM, grid=GRID, seed=0
    )
    features = np.random.default_rng(0).normal(size=(ITEMS, *GRID, DIM)).astype(np.float32)
    system.add_task(0)
    system.prepare(0, features)
    disturb(system)
    module, stage = modules_of(system), system.stage(0)
    scopes.apply(module, stage)
    end = run_task(
        system, features, task=0, seed=0, stage=stage, optimizer=scopes.optimizer(module, stage),
        device=torch.device("cpu"), start=Progress(), observers=(), after_epoch=lambda _: None,
    )  # fmt: skip
    return end.losses, scopes.parameter_hashes(module)
