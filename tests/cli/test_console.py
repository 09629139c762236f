"""What tables print: cells that say what they hold, and the source of each thing that is listed."""

import json

import pytest

from cli.console import number


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        (None, "n/a"),
        (True, "yes"),
        (3, "3"),
        (0.0, "0.000"),
        (0.5, "0.500"),
        (-0.0005, "-0.001"),
        (3e-4, "0.0003"),
        (-9.68e-9, "-9.68e-09"),
        (1e-5, "1e-05"),
        (75495.25, "7.55e+04"),
        (float("inf"), "inf"),
    ],
)
def test_a_number_that_is_not_zero_is_never_shown_as_zero(value, cell):
    assert number(value) == cell


def test_a_run_shows_its_learning_rate(mechlab, small_run):
    status, out, err = mechlab("runs", "show", small_run.path)
    assert status == 0, err
    rows = dict(line.split(maxsplit=1) for line in out.splitlines() if len(line.split()) == 2)
    assert float(rows["learning_rate"]) == small_run.parts()["learning_rate"]
    assert float(rows["log_det_weight"]) == small_run.parts()["log_det_weight"] == 1e-4


@pytest.mark.parametrize("kind", ["systems", "presets", "parts", "probes", "combinations", "studies"])
def test_what_is_listed_names_its_source(kind, mechlab):
    rows = json.loads(mechlab("list", kind, "--json")[1])
    lines = mechlab("list", kind)[1].splitlines()
    assert lines[0].split()[-1] == "source" and len(lines) == len(rows) + 1
    for row, line in zip(rows, lines[1:], strict=True):
        assert row["source"] and line.endswith(row["source"]) and row["summary"] in line
