"""The benchmark of precisions: a row a form and task; without a device each row is absent."""

from functools import partial

import torch

from benchmarks import precision, precision_cpu
from benchmarks.precision import FORMS, cost, step, system

TINY = {"blocks": 1, "lora_rank": 2, "dia_blocks": 1, "mixer": "none"}


def features():
    return torch.randn(1, 4, 4, 8, generator=torch.Generator().manual_seed(0))


def test_each_form_is_measured_by_task():
    found = list(cost(TINY, {"bf16": FORMS["bf16"], "fused": FORMS["fused"]}, features(), pairs=2))
    names = ["precision-float32", "precision-bf16", "precision-fused"]
    assert [one.name for one in found] == [*names, *(f"{name}-later" for name in names)]
    assert all(one.value > 0 and one.n == 2 for one in found)
    assert [one.unit for one in found[:3]] == ["ms", "ratio", "ratio"]


def test_a_form_has_its_precision_and_frozen_bases_in_the_later_task():
    forms = {"plain": {}, "bf16": FORMS["bf16"], "fused": FORMS["fused"]}
    losses = {
        word: step(system(TINY | own, features(), task=1), features(), task=1) for word, own in forms.items()
    }
    assert abs(losses["fused"] / losses["plain"] - 1) < 1e-6
    assert 1e-7 < abs(losses["bf16"] / losses["plain"] - 1) < 1e-2
    made = system(TINY, features(), task=1)
    assert not made.flow[0].subnet.s1.base.weight.requires_grad
    assert made.flow[0].subnet.s1.down["1"].weight.requires_grad


def test_on_the_cpu_there_is_no_tf32(monkeypatch):
    monkeypatch.setattr(precision_cpu, "cost", partial(tiny, cost=cost))
    found = list(precision_cpu.measure())
    names = [f"precision-cpu-{name}{later}" for later in ("", "-later")
             for name in ("float32", "bf16", "fused", "fused-bf16")]  # fmt: skip
    assert [one.name for one in found] == names


def tiny(parts, forms, given, *, pairs, cost):
    return cost(TINY, forms, features(), pairs=2)


def test_without_a_device_every_row_is_absent(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    found = list(precision.measure())
    assert len(found) == 2 * (1 + len(FORMS)) and all(one.value is None for one in found)
    assert {one.against for one in found} == {"no CUDA device"}
