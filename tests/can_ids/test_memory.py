"""The memory of a step: what a teacher and more windows add, and the table of safety factors."""

from types import SimpleNamespace

import pytest
import torch

from mechlab.errors import MechlabError
from mechlab.runs.request import TrainRequest
from reproductions.can_ids import memory
from reproductions.can_ids.config import GATConfig
from reproductions.can_ids.memory import peak_bytes, safety_factor
from reproductions.can_ids.models import build
from reproductions.can_ids.system import Detector

WORDS = {"hidden": 8, "layers": 2, "heads": 2, "embedding": 3, "mode": "normal"}


@pytest.fixture(scope="module")
def windows(bus, graphs):
    return graphs(bus(seconds=8.0, attack="dos"))


def step(windows, count=8, *, teacher=None, **words):
    config = GATConfig(**(WORDS | words), distill=None if teacher is None else "x")
    return peak_bytes(Detector(config, windows, seed=0, teacher=teacher), count)


def test_twice_the_windows_take_about_twice_the_bytes_beyond_what_is_fixed(windows):
    few, more, most = (step(windows, count) for count in (4, 8, 16))
    assert few < more < most
    assert (most - more) / (more - few) == pytest.approx(2, rel=0.5)


def test_a_step_holds_at_least_parameters_gradients_and_moments(windows):
    model = build(GATConfig(**WORDS), ids=windows.vocabulary.size, seed=0)
    assert step(windows, 1) >= 4 * sum(value.nbytes for value in model.parameters())


def test_a_teacher_adds_to_a_step_and_checkpointing_takes_from_it(windows):
    teacher = build(GATConfig(**(WORDS | {"hidden": 64})), ids=windows.vocabulary.size, seed=1)
    alone = step(windows)
    assert step(windows, teacher=teacher) > alone + sum(value.nbytes for value in teacher.parameters())
    assert step(windows, layers=6, checkpointing=True) < step(windows, layers=6)


@pytest.mark.parametrize(
    ("dataset", "plain", "taught"),
    [("hcrl_ch", 0.6, 0.45), ("hcrl_sa", 0.55, 0.41), ("set_03", 0.35, 0.26), ("mine", 0.5, 0.38)],
)
def test_factors_are_those_of_the_notes(dataset, plain, taught):
    assert safety_factor(dataset, is_distilled=False) == plain
    assert safety_factor(dataset, is_distilled=True) == taught


def asked(monkeypatch, *, windows=40, teacher="gat"):
    """A forecast of a model that takes 1 MB and 2 MB a window, or 3 MB with its teacher."""
    made = SimpleNamespace(
        plan=SimpleNamespace(inputs=SimpleNamespace(fitting=lambda task: range(windows))),
        place=SimpleNamespace(dataset="hcrl_sa"), teacher=teacher,
    )  # fmt: skip
    monkeypatch.setattr(memory, "resolve", lambda request: made)
    monkeypatch.setattr(memory, "_detector", lambda made, *, is_taught=True: is_taught and bool(made.teacher))
    monkeypatch.setattr(memory, "peak_bytes", lambda taught, count: 1_000_000 * (1 + count * (2 + taught)))


def test_the_windows_that_fit_are_the_room_that_is_left_over_the_bytes_of_one(monkeypatch):
    asked(monkeypatch)
    found = memory.forecast(TrainRequest(system="gat"), gigabytes=1.0)
    assert (found["fixed_bytes"], found["bytes_a_window"]) == (1_000_000, 3_000_000)
    assert found["batch_size"] == (410 - 1) // 3  # a factor of 0.41, less what is fixed
    assert found["teacher_adds"] == pytest.approx((1 + 32 * 3) / (1 + 32 * 2) - 1)
    asked(monkeypatch, teacher=None)
    alone = memory.forecast(TrainRequest(system="gat"), gigabytes=1.0)
    assert (alone["batch_size"], alone["teacher_adds"]) == ((550 - 1) // 2, None)


def test_too_few_windows_and_too_little_room_are_one_sentence(monkeypatch):
    asked(monkeypatch, windows=31)
    with pytest.raises(MechlabError, match="memory is counted on 32 windows, and there are 31; add logs"):
        memory.forecast(TrainRequest(system="gat"), gigabytes=1.0)
    asked(monkeypatch)
    with pytest.raises(MechlabError, match=r"0\.009 GB times the safety factor 0\.41 hold no window"):
        memory.forecast(TrainRequest(system="gat"), gigabytes=0.009)
    assert memory.forecast(TrainRequest(system="gat"), gigabytes=0.0098)["batch_size"] == 1


def test_what_the_optimiser_keeps_counts(windows, monkeypatch):
    sizes = {}
    for more in (False, True):  # AMSGrad keeps one number a parameter more
        monkeypatch.setattr(memory.scopes, "optimizer", lambda detector, stage, more=more: torch.optim.AdamW(
            detector.model.parameters(), amsgrad=more))  # fmt: skip
        sizes[more] = step(windows)
    model = build(GATConfig(**WORDS), ids=windows.vocabulary.size, seed=0)
    held = sum(value.nbytes for value in model.parameters())
    assert sizes[True] - sizes[False] == pytest.approx(held, rel=0.05)
