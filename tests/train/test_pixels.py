"""Pixel metrics of a finished run: those of its evaluation, to other rates, streamed, and with channels."""

import json
import shutil

import numpy as np
import pytest
from click.testing import CliRunner

from cli.main import mechlab
from mechlab.errors import MechlabError
from mechlab.metrics.spro import Channel
from mechlab.runs.folder import RunFolder
from mechlab.train import pixels
from mechlab.train.pixels import pixel_report, read_saturation


def told(*words):
    """The JSON document of `mechlab pixels`."""
    found = CliRunner().invoke(mechlab, ["pixels", *map(str, words), "--json"], catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return json.loads(found.stdout)


def test_the_evaluation_is_measured_again_without_scoring(small_run, small_summary, monkeypatch):
    monkeypatch.setattr("mechlab.train.scoring.score", None)
    found = told(small_run.path)
    for name, metrics in found["metrics"].items():
        assert metrics["pixel_auroc"] == small_summary["metrics"][name]["pixel_auroc"]
        assert metrics["pixel_ap"] == small_summary["metrics"][name]["pixel_ap"]
        assert metrics["aupro@0.3"] == small_summary["metrics"][name]["aupro"]
        assert metrics["aupimo"] is None  # four normal images of 64 x 64 pixels cannot tell a rate of 1e-5
    values = [metrics["aupro@0.05"] for metrics in found["metrics"].values()]
    assert found["mean"]["aupro@0.05"] == pytest.approx(np.mean(values))


def test_streamed_metrics_are_close(small_run):
    words = ("--limit", 0.1, "--limit", 1, "--saturation", 0.4)
    exact, streamed = told(small_run.path, *words), told(small_run.path, *words, "--streaming")
    assert streamed["streaming"] and not exact["streaming"]
    for name, metrics in exact["metrics"].items():
        assert {"auc_spro@0.1", "auc_spro@1", "aupro@0.1", "aupro@1"} <= set(metrics)
        for key, value in metrics.items():
            if value is not None:
                assert streamed["metrics"][name][key] == pytest.approx(value, abs=1e-4), key


def test_saturation_helps_a_defect_that_is_partly_found(small_run):
    shares = [told(small_run.path, "--saturation", words)["mean"]["auc_spro@0.05"] for words in ("0.2", "1")]
    assert shares[0] > shares[1]
    plain = told(small_run.path)["mean"]
    assert "auc_spro@0.05" not in plain
    assert shares[1] == pytest.approx(plain["aupro@0.05"], abs=1e-12)
    by_pixels = told(small_run.path, "--saturation", "100000px")["mean"]["auc_spro@0.05"]
    assert by_pixels == pytest.approx(shares[1], abs=1e-12)


def test_a_data_set_that_annotates_defects_gives_its_own_channels(small_run, monkeypatch):
    def channels(self, item, size):
        mask = self.mask(item, size)
        return [Channel(mask, 1)] if item.label else []

    plan = pixels.plan_of(small_run)
    monkeypatch.setattr(type(plan.inputs.dataset), "channels", channels, raising=False)
    found = pixel_report(small_run)["mean"]
    assert found["auc_spro@0.05"] > found["aupro@0.05"]
    with pytest.raises(MechlabError, match="leave --saturation out"):
        pixel_report(small_run, saturated="0.5")


def test_the_table_has_a_row_a_class(small_run):
    found = CliRunner().invoke(mechlab, ["pixels", str(small_run.path)], catch_exceptions=False)
    lines = found.stdout.splitlines()
    assert lines[0].split()[:2] == ["class", "pixel_auroc"]
    assert [line.split()[0] for line in lines[-3:]] == ["bolt", "nut", "mean"]


@pytest.mark.parametrize("words", ["half", "0", "1.5", "0px", "2.5px"])
def test_a_saturation_that_is_none_is_refused(words):
    with pytest.raises(MechlabError, match="; give a"):
        read_saturation(words)


def test_scores_that_hold_nan_are_one_sentence(small_run, tmp_path):
    run = RunFolder.open(shutil.copytree(small_run.path, tmp_path / small_run.path.name))
    file = run.path / "evals" / run.summary()["evaluation"] / "bolt.npz"
    with np.load(file) as arrays:
        kept = dict(arrays)
    kept["routed"][2, 0, 0] = kept["given"][3, 1, 1] = np.nan
    np.savez(file, **kept)
    count = len(kept["given"])
    with pytest.raises(
        MechlabError, match=f"scores of 2 of {count} images hold NaN, .* train with a lower rate"
    ):
        pixel_report(run)


def test_a_limit_that_is_no_rate_is_refused(small_run):
    with pytest.raises(MechlabError, match="--limit 2 is no rate; give one above 0 and up to 1"):
        pixel_report(small_run, limits=(2.0,))
