"""The memory of a step: what a teacher and more windows add, and the table of safety factors."""

import pytest

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
