"""The page of benchmarks: what ran is new, what did not run stays as it was."""

import torch

from benchmarks.measure import Measurement, absent
from benchmarks.page import machine, page


def one(name: str, value: float) -> Measurement:
    return Measurement(name=name, value=value, unit="ratio", against="plain", target=1.02, n=15,
                       interval=(value - 0.01, value + 0.01))  # fmt: skip


def test_a_measurement_is_a_row_with_its_interval_and_whether_it_holds():
    text = page({"a": [one("a-x", 1.0191), one("a-y", 1.5)]}, where="here.")
    assert "| a-x | 1.019 | 1.009 to 1.029 | 15 | plain | <= 1.02 | yes |" in text
    assert "| a-y | 1.5 | 1.49 to 1.51 | 15 | plain | <= 1.02 | no |" in text


def test_only_the_sections_that_ran_are_replaced():
    before = page({"a": [one("a", 1.1)], "b": [one("b", 1.2)]}, where="there.")
    after = page(
        {"b": [one("b", 1.3)], "c": [absent("c", why="not installed")]}, where="here.", before=before
    )
    assert [line for line in after.splitlines() if line.startswith("## ")] == ["## a", "## b", "## c"]
    assert "| a | 1.1 |" in after and "| b | 1.3 |" in after and "| b | 1.2 |" not in after
    assert after.count("on there.") == 1 and after.count("on here.") == 2
    assert page({}, where="", before=after) == after, "a page that is written again does not change"


def test_the_machine_names_its_cuda_device(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert " cores, Python " in machine()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Example GPU")
    assert " cores, Example GPU, Python " in machine()
