"""A system small enough to reason about, and ranks that are threads of one process.

The system has one weight a task, and one that only the first task trains.
"""

import threading

import pytest
import torch
from torch import nn

from mechlab.train.stage import Loss, ParameterGroup, Stage


class Toy(nn.Module):
    """Scores a patch by its squared distance to base + its task's shift."""

    def __init__(self, dim=4, epochs=2):
        super().__init__()
        self.epochs = epochs
        self.base = nn.Parameter(torch.zeros(dim))
        self.shift = nn.ParameterDict()

    def add_task(self, task):
        self.shift[str(task)] = nn.Parameter(torch.zeros_like(self.base))

    def prepare(self, task, features):
        """Nothing depends on the data."""

    def stage(self, task):
        scopes = {"base": "first-task" if task == 0 else "frozen"}
        scopes |= {f"shift.{name}": "per-task" if name == str(task) else "frozen" for name in self.shift}
        moving = tuple(name for name, scope in scopes.items() if scope != "frozen")
        group = ParameterGroup(parameters=moving, learning_rate=0.05)
        return Stage(scopes=scopes, groups=(group,), epochs=self.epochs, batch_size=4)

    def patch_scores(self, batch, *, task):
        return ((batch - self.base - self.shift[str(task)]) ** 2).sum(-1)

    def loss(self, batch, *, task):
        total = self.patch_scores(batch, task=task).mean()
        return Loss(total=total, terms={"nll": total})

    def finish_task(self, task, features):
        """Nothing is routed."""

    def task_distances(self, batch, *, router):
        means = batch.mean(dim=(1, 2))
        centres = torch.stack([self.base + self.shift[name] for name in sorted(self.shift)])
        return torch.cdist(means, centres)


@pytest.fixture
def toy():
    return Toy()


@pytest.fixture
def features(rng):
    return rng.normal(1.0, 1.0, (10, 2, 2, 4)).astype("float32")


class Thread:
    """One rank among threads that sum in the order of ranks."""

    def __init__(self, rank, size, table, gate):
        self.rank, self.size, self.table, self.gate = rank, size, table, gate

    def sum(self, values):
        self.table[self.rank] = values.clone()
        self.gate.wait()
        total = sum(self.table[rank] for rank in range(self.size))
        self.gate.wait()
        return total


def on_threads(size, work):
    """Return what `work(world)` gives on each of `size` ranks; the first fault is raised."""
    table, gate = {}, threading.Barrier(size, timeout=60)
    found, faults = {}, {}

    def run(rank):
        try:
            found[rank] = work(Thread(rank, size, table, gate))
        except BaseException as fault:
            faults[rank] = fault
            gate.abort()

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for fault in sorted(faults.values(), key=lambda one: isinstance(one, threading.BrokenBarrierError)):
        raise fault
    return [found[rank] for rank in range(size)]


@pytest.fixture
def together():
    """Run `work(world)` as each of `size` ranks."""
    return on_threads
