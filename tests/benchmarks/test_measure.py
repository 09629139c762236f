"""Paired measurements: medians, their intervals, and what the contract prints."""

import json
import subprocess
import sys
import time

import numpy as np
import pytest
from scipy import stats

from benchmarks.__main__ import main, told
from benchmarks.measure import Measurement, absent, median_interval, paired_ratios, ratio
from benchmarks.page import machine, page


def measurement(**changes):
    values = {"name": "a", "value": 1.02, "unit": "ratio", "against": "plain", "target": 1.05, "n": 5}
    return Measurement(**(values | {"interval": (1.0, 1.1)} | changes))


def test_a_pair_is_a_ratio_whatever_its_order():
    found = paired_ratios(lambda: time.sleep(0.01), lambda: time.sleep(0.03), pairs=4)
    assert len(found["wall"]) == 4
    assert all(2 < value < 4 for value in found["wall"])


def test_processor_time_does_not_count_waiting():
    found = paired_ratios(
        lambda: sum(range(300_000)), lambda: (sum(range(300_000)), time.sleep(0.05)), pairs=3
    )
    assert np.median(found["wall"]) > 2 * np.median(found["processor"])


def test_the_interval_holds_the_median_as_often_as_it_says(rng):
    draws = rng.standard_exponential((1000, 15))
    intervals = [median_interval(list(row)) for row in draws]
    held = sum(low <= np.log(2) <= high for low, high in intervals)
    assert stats.binomtest(held, 1000, 0.9, alternative="less").pvalue > 0.01
    low, high = median_interval(list(range(15)))
    assert (low, high) == (3, 11)  # P(3 or fewer of 15 coins) = 1.8 %, of 4 or fewer 5.9 %


def test_few_values_give_their_range_and_none_are_refused():
    assert median_interval([3.0, 1.0, 2.0]) == (1.0, 3.0)
    with pytest.raises(ValueError, match="no values"):
        median_interval([])


@pytest.mark.parametrize(
    ("changes", "holds"),
    [
        pytest.param({}, True, id="below"),
        pytest.param({"value": 1.06}, False, id="above"),
        pytest.param({"unit": "1/s", "value": 2.0, "target": 1.0}, True, id="a rate above"),
        pytest.param({"unit": "1/s", "value": 0.5, "target": 1.0}, False, id="a rate below"),
    ],
)
def test_a_target_is_a_ceiling_except_for_rates(changes, holds):
    assert measurement(**changes).holds is holds


def test_the_document_is_the_contracts():
    document = json.loads(json.dumps(measurement().document()))
    assert list(document) == ["name", "value", "unit", "against", "target", "n", "interval", "holds"]
    assert ratio("b", [3.0, 1.0, 2.0], against="plain", target=2.0).value == 2.0


def test_the_page_has_a_row_a_measurement_and_its_command():
    text = page(
        {"patch-gradients": [measurement(), measurement(value=1.2, unit="s", name="b")]}, where=machine()
    )
    assert "`python -m benchmarks patch-gradients --json`" in text
    assert "| a | 1.02 | 1 to 1.1 | 5 | plain | <= 1.05 | yes |\n" in text
    assert "| b | 1.2 s | 1 to 1.1 | 5 | plain | <= 1.05 s | no |\n" in text
    assert "torch" in text


def test_what_has_no_target_is_told_without_a_verdict_and_a_peer_that_is_not_there_as_absent(capsys):
    rows = [measurement(target=None), absent("c", why="nnsight is not installed")]
    documents = [json.loads(json.dumps(row.document(), allow_nan=False)) for row in rows]
    assert [(row["value"], row["n"], row["holds"]) for row in documents] == [(1.02, 5, None), (None, 0, None)]
    assert [told(row) for row in rows] == [
        "a: 1.02 ratio [1, 1.1] of 5 against plain; no target",
        "c: absent (nnsight is not installed)",
    ]
    text = page({"peers": rows}, where=machine())
    assert "| a | 1.02 | 1 to 1.1 | 5 | plain |  |  |\n" in text
    assert "| c | absent | | 0 | nnsight is not installed | | |\n" in text


def test_an_unknown_benchmark_is_one_sentence(capsys):
    assert main(["patch-gradient"]) == 1
    assert "no benchmark named 'patch-gradient'. Did you mean 'patch-gradients'?" in capsys.readouterr().err


def test_results_are_printed_one_document_a_line_and_written_as_a_page(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "benchmarks.patch_gradients.measure", lambda: iter([measurement(), measurement(name="b")])
    )
    assert main(["patch-gradients", "--json", "--write", str(tmp_path / "page.md")]) == 0
    assert [json.loads(line)["name"] for line in capsys.readouterr().out.splitlines()] == ["a", "b"]
    assert "## patch-gradients" in (tmp_path / "page.md").read_text()


KEPT = """
import sys
from benchmarks.measure import keep_memory

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

if sys.argv[1] == "kept":
    keep_memory()
before = resident()
block = bytearray(b"x" * 100_000_000)
del block
print(resident() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_that_is_kept_stays_with_the_process():
    freed, kept = (
        int(
            subprocess.run(
                [sys.executable, "-c", KEPT, how], capture_output=True, text=True, check=True
            ).stdout
        )
        for how in ("plain", "kept")
    )
    assert kept > 90e6 > 10e6 > freed
