"""Counts of parameters are those of a model with as many tasks, and the notes' factors on one denominator."""

import pytest

from mechlab import systems
from mechlab.errors import MechlabError
from mechlab.runs.parameters import run_counts
from mechlab.train.parameter_count import counts, preset_counts
from reproductions.moleflow.presets import PRESETS
from reproductions.moleflow.system import MoLEFlow

PARTS = {preset.name: dict(preset.parts) for preset in PRESETS}
SMALL = {"blocks": 2, "lora_rank": 3, "dia_blocks": 1}


@pytest.mark.parametrize("changes", [{}, {"base": "per-task"}, {"lora_first_task": False}], ids=str)
def test_two_tasks_tell_of_any_number(changes):
    parts = SMALL | changes
    system = MoLEFlow.create(parts, dim=8, grid=(4, 4), seed=0)
    for task in range(5):
        system.add_task(task)
    found = counts("moleflow", parts, dim=8, tasks=5, grid=(4, 4))
    sizes = {name: parameter.numel() for name, parameter in system.named_parameters()}
    assert found["total"] == sum(sizes.values()) == sum(part["total"] for part in found["parts"].values())
    scopes = system.stage(4).scopes
    assert found["trained_later"] == sum(size for name, size in sizes.items() if scopes[name] != "frozen")
    own = sum(part["own"] for part in found["parts"].values())
    assert own == sum(size for name, size in sizes.items() if scopes[name] == "per-task")


def test_one_task_is_the_first_alone():
    found = counts("moleflow", SMALL, dim=8, tasks=1, grid=(4, 4))
    assert found["total"] == found["trained_first"]


@pytest.mark.slow
def test_the_notes_factors_are_others_on_one_denominator():
    found = {row["name"]: row for row in preset_counts("moleflow", tasks=15, against="main")}
    assert found["main"]["total"] == 64_524_295
    assert found["main"]["trained_first"] == 12_635_143
    assert found["main"]["trained_later"] == 3_706_368
    factors = {"main": 1.0, "main-no-lora": 2.47, "main-separated": 2.94, "main-all-shared": 0.14}
    for name, factor in factors.items():
        assert found[name]["ratio"] == pytest.approx(factor, abs=0.005)
    main = found["main"]
    assert main["trained_first"] / main["total"] == pytest.approx(0.20, abs=0.005)


def test_a_run_tells_what_it_trained(small_run):
    found = run_counts(small_run)
    assert found["tasks"] == 2
    assert found["total"] == sum(part["total"] for part in found["parts"].values())
    assert found["trained"][0] > found["trained"][1] > 0
    assert found["parts"]["flow"]["trained"] < found["parts"]["flow"]["total"]


def test_an_unknown_preset_is_refused(monkeypatch):
    monkeypatch.setattr(systems.catalog("moleflow"), "PRESETS", PRESETS[:1])
    with pytest.raises(MechlabError, match="no preset of moleflow named 'mian'"):
        preset_counts("moleflow", tasks=2, against="mian")
