"""What a training holds on to: no mapped features that it is done with, and no library that goes unused."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from mechlab.errors import MechlabError
from mechlab.runs.settings import EvaluationSettings
from mechlab.train import evaluation, tasks
from mechlab.train.resolution import plan_of
from mechlab.train.rows import StoredRows
from mechlab.train.session import build, restore
from mechlab.train.tasks import TaskTraining

OTHER = EvaluationSettings(sigma=1.25)  # of no other test, so that it is made here

# 40,000 blocks of 8 KB below one that stays: glibc alone would give back nothing.
HEAP = """
from mechlab.train.heap import give_back

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

before = resident()
blocks = [bytearray(8000) for _ in range(40_000)]
last = bytearray(8000)
del blocks
kept = resident() - before
give_back()
print(kept, resident() - before)
"""

PROGRAM = """
import sys
import mechlab.train.session
from mechlab.train.devices import device_of
print(device_of("cpu"), "lightning" in sys.modules)
"""


def test_features_that_were_copied_are_not_kept_mapped(small_run):
    inputs = plan_of(small_run).inputs
    name = inputs.tasks[0][0]
    once = inputs.fitting(0)
    assert not inputs.loaded
    held = inputs.held_out(name)
    assert not inputs.loaded
    inputs.features(name, "test")
    inputs.let_go(name)
    assert not inputs.loaded
    np.testing.assert_array_equal(inputs.fitting(0), once)
    np.testing.assert_array_equal(inputs.held_out(name), held)


def test_an_evaluated_class_is_not_kept_mapped(small_run, monkeypatch):
    given = []
    monkeypatch.setattr(evaluation, "give_back", lambda: given.append(1))
    plan = plan_of(small_run)
    system = restore(plan, checkpoint=1, device=torch.device("cpu"))
    spec = evaluation.spec_of(plan.spec, plan.inputs, stage=1, settings=OTHER)
    evaluation.evaluate(system, plan.inputs, small_run, spec, settings=OTHER, device=torch.device("cpu"))
    assert not plan.inputs.loaded
    assert len(given) == sum(map(len, plan.inputs.tasks)), "once a class, after its scores"


def test_one_device_needs_no_lightning():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["cpu", "False"]


def test_rows_read_from_the_cache_are_those_of_the_copy(small_run):
    inputs = plan_of(small_run).inputs
    for task in range(len(inputs.tasks)):
        rows, copy = inputs.rows(task), inputs.fitting(task)
        assert len(rows) == len(copy)
        chosen = np.array([len(copy) - 1, 0, 0, 1])
        np.testing.assert_array_equal(rows[chosen], copy[chosen])
        assert rows[chosen[:0]].shape == (0, *copy.shape[1:])
    assert not inputs.loaded


def stored(place: Path, counts: Sequence[int]) -> list[np.memmap]:
    found = []
    for number, count in enumerate(counts):
        values = np.random.default_rng(number).normal(size=(count, 2, 3, 4)).astype(np.float32)
        np.save(place / f"{number}.npy", values)
        found.append(np.load(place / f"{number}.npy", mmap_mode="c"))
    return found


def test_rows_of_several_classes_follow_one_another(tmp_path):
    one, other = stored(tmp_path, [5, 4])
    rows = StoredRows([(one, np.array([4, 1])), (other, np.array([0, 3]))])
    whole = np.concatenate([one[[4, 1]], other[[0, 3]]])
    np.testing.assert_array_equal(rows[np.array([3, 0, 2, 1])], whole[[3, 0, 2, 1]])
    with pytest.raises(IndexError):
        rows[np.array([4])]


def test_rows_of_another_form_are_refused(tmp_path):
    (one,) = stored(tmp_path, [5])
    np.save(tmp_path / "wide.npy", np.zeros((5, 2, 3, 8), dtype=np.float32))
    wide = np.load(tmp_path / "wide.npy", mmap_mode="c")
    with pytest.raises(ValueError, match="rows of 2 forms"):
        StoredRows([(one, np.arange(5)), (wide, np.arange(5))])


@pytest.mark.parametrize("how", ["removed", "cut"])
def test_features_that_go_away_during_a_training_are_one_sentence(tmp_path, how):
    (one,) = stored(tmp_path, [5])
    rows = StoredRows([(one, np.arange(5))])
    if how == "removed":
        (tmp_path / "0.npy").unlink()
    else:
        with (tmp_path / "0.npy").open("r+b") as file:
            file.truncate(200)
    with pytest.raises(MechlabError, match="were removed or cut during the training; run the command again"):
        rows[np.array([4])]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_freed_memory_goes_back():
    done = subprocess.run([sys.executable, "-c", HEAP], capture_output=True, text=True, check=True)
    kept, given_back = map(int, done.stdout.split())
    assert kept > 200e6 > 100e6 > given_back


def test_a_loop_takes_a_batch_and_never_the_whole(small_run, monkeypatch):
    inputs, taken = plan_of(small_run).inputs, []
    plain = StoredRows.__getitem__
    monkeypatch.setattr(
        StoredRows, "__getitem__", lambda rows, items: taken.append(len(items)) or plain(rows, items)
    )
    training = TaskTraining(inputs, small_run, build(plan_of(small_run), tasks=0), seed=0,
                            device=torch.device("cpu"), report=lambda _: None)  # fmt: skip
    monkeypatch.setattr(training, "is_first", False)
    monkeypatch.setattr(training, "_save", lambda *_: None)
    given = []
    monkeypatch.setattr(tasks, "give_back", lambda: given.append(len(taken)))
    training.run_task(0)
    assert taken
    assert max(taken) < len(inputs.fitting_items(0))
    epochs = plan_of(small_run).spec.epochs
    assert len(given) == epochs + 2, "before the first epoch, after each, after the last"
