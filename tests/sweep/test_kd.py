"""The study of distillation from the command line, on made-up logs: teachers first, then their students."""

import importlib.util
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.main import mechlab
from mechlab.runs.folder import RunFolder

pytestmark = pytest.mark.slow  # eight trainings, each in a process of its own


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    """The logs of a made-up bus, as tests of detectors write them."""
    place = Path(__file__).parent.parent / "can_ids" / "conftest.py"
    spec = importlib.util.spec_from_file_location("bus", place)
    bus = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bus)
    return bus.write_logs(tmp_path_factory.mktemp("kd") / "car", seconds=6.0)


def told(*words):
    found = CliRunner().invoke(mechlab, [str(word) for word in words], catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return found.stdout


def test_students_are_held_against_students_with_a_teacher_of_their_seed(logs, tmp_path):
    place = ["kd", "--size", "trial", "--root", logs, "--out", tmp_path / "runs", "--studies",
             tmp_path / "studies", "--cache", tmp_path / "cache"]  # fmt: skip
    found = json.loads(told("sweep", "run", *place, "--quiet", "--json"))
    assert {row["state"] for row in found["rows"]} == {"finished"}
    assert found["metrics"] == ["f1_macro", "auroc", "ap"]
    runs = {(row["arm"], row["seed"]): RunFolder(tmp_path / "runs" / row["run"]) for row in found["rows"]}
    for seed in (0, 1):
        teacher = runs["vgae teacher", seed].name
        assert runs["vgae taught", seed].summary()["teacher"] == teacher
        assert runs["by latent alone", seed].parts()["reconstruction_weight"] == 0
        assert runs["vgae student", seed].summary()["teacher"] is None
    rows = {row["arm"]: row for row in found["arms"]}
    arms = ("vgae taught", "vgae student")
    values = [runs[arm, seed].summary()["mean"]["auroc"] for arm in arms for seed in (0, 1)]
    difference = (values[0] - values[2] + values[1] - values[3]) / 2
    assert rows["vgae taught"]["auroc_difference"]["mean"] == pytest.approx(difference)
    assert found["no_ops"] == []
    shown = told("sweep", "status", *place)
    assert "f1 macro" in shown and "8 finished" in shown
    report = told("sweep", "report", *place, "--metric", "auroc")
    assert "best by mean auroc" in report and "not beaten in both f1 macro and ap" in report
