"""The embedded data set can be learned, and only from what a trained backbone sees."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_memory_finds_defects_that_trivial_statistics_and_random_weights_do_not(repository: Path) -> None:
    """60 training and 60 test pictures a class, seed 0; mean of three random backbones."""
    script = repository / "scripts" / "measure-embedded-data"
    told = subprocess.run([sys.executable, script, "--json"], capture_output=True, text=True, check=True)
    table = json.loads(told.stdout)
    mean = table.pop("mean")
    assert sorted(table) == ["board", "gear", "weave"]
    assert mean["memory"] >= 0.93
    assert all(row["memory"] >= 0.88 for row in table.values())
    assert mean["random"] <= 0.75
    assert mean["trivial best"] <= 0.75
    assert all(row["area %"] <= 2.0 for row in table.values())
