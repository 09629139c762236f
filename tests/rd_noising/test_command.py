"""RD-Noising from the command line: train, stop and go on, record, probe, evaluate, diff."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from cli.main import mechlab
from mechlab import recording
from mechlab.errors import MechlabError
from mechlab.runs.folder import RunFolder
from mechlab.train import tasks
from mechlab.train.checkpoint import load_weights
from mechlab.train.resolution import plan_of
from mechlab.train.session import build, train

OFF = {"enable_noise": False, "noise_enabled": False}
SECOND = {"noise_source": "embedding", "n_neighbors": None, "coreset_sampling_ratio": 0.5}


def told(*words):
    """The JSON document of a command."""
    found = CliRunner().invoke(mechlab, [*map(str, words), "--json"], catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return json.loads(found.stdout)


class Killed(BaseException):
    """Stands in for a signal at a chosen instant."""


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{}, SECOND], ids=["features", "embedding"])
def test_a_run_that_is_stopped_within_a_task_goes_on_with_noise_to_the_same_bits(
    noisy_request, tmp_path, monkeypatch, settings
):
    monkeypatch.setattr(tasks, "EVERY_SECONDS", 0.0)  # a checkpoint after every epoch
    request = replace(noisy_request, tasks="bolt", settings=noisy_request.settings | settings)
    whole = train(replace(request, out=tmp_path / "whole"))
    after = tasks.Log.after

    def stop(self, step):
        if step.step == 4:  # in the second epoch
            raise Killed
        after(self, step)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(tasks.Log, "after", stop)
        train(replace(request, out=tmp_path / "stopped"))
    again = train(replace(request, out=tmp_path / "stopped"))
    for key in ("metrics", "trajectory", "accuracy_matrix"):
        assert again[key] == whole[key]
    files = [
        RunFolder.open(Path(one["path"])).checkpoint(0) / "weights.safetensors" for one in (whole, again)
    ]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_checkpoint_holds_banks_flags_and_the_trace(noisy_run):
    plan = plan_of(noisy_run)
    system = build(plan, tasks=2)
    load_weights(noisy_run.checkpoint(1), system)
    for task in (0, 1):
        for noise in system.noise_of(task).values():
            assert bool(noise.is_built) and len(noise.bank) >= 9
            assert (noise.trace[:, 0] > 0).all(), "every epoch had noise"


def test_off_is_reverse_distillation_bit_for_bit_and_diff_tells_the_four_differences(
    noisy_request, noisy_run, tmp_path
):
    place = {"out": tmp_path / "runs", "tasks": "bolt", "epochs": 1}
    plain = train(replace(noisy_request, system="rd", settings={}, **place))
    off = train(replace(noisy_request, settings=OFF, **place))
    assert off["trajectory"] == plain["trajectory"] and off["metrics"] == plain["metrics"]
    noisy = train(replace(noisy_request, **place))
    assert noisy["trajectory"] != plain["trajectory"]
    found = told("diff", plain["path"], noisy["path"])
    assert [row["aspect"] for row in found["aspects"]] == [
        "memory bank", "noise injection", "training", "feature augmentation",
    ]  # fmt: skip
    assert [row["first"] for row in found["aspects"]] == ["no", "no", "single phase", "none"]
    assert found["aspects"][0]["second"] == "a bank a level, 0.1 of its places, by greedy k-center"
    assert found["aspects"][2]["second"] == "two phases: banks, then noise"
    assert told("diff", plain["path"], off["path"])["aspects"] == []
    text = CliRunner().invoke(mechlab, ["diff", plain["path"], noisy["path"]]).stdout
    assert "adaptive, std 0.01 to 0.3, on levels 0, 1, 2" in text and "influence-based noise" in text


def test_a_run_finds_defects_and_forgets_nothing(noisy_summary):
    assert noisy_summary["scores_identical"] is True
    assert noisy_summary["mean"]["pixel_auroc"] > 0.5


def test_it_is_recorded_and_probed_like_any_system(noisy_run, tmp_path):
    found = told("record", noisy_run.path, "--site", "noise.*.distance", "--quantity", "activation",
                 "--site", "noise.*.bank", "--quantity", "weight", "--site", "patch", "--quantity", "score",
                 "--limit", "2")  # fmt: skip
    with recording.open(found["recording"]) as opened:
        assert opened["activation/noise.0.layer1.distance"].axes == ("item", "dim", "row", "column")
        maps = opened["activation/noise.0.layer1.distance"].read()
        assert np.isfinite(maps).all() and maps.min() >= 0
        assert opened["weight/noise.0.layer1.bank"].shape[2] == 64
    result = told("probe", "noise-influence", noisy_run.path, "--out", noisy_run.path.parent,
                  "--studies", tmp_path)  # fmt: skip
    assert (result["verdict"], result["n"]) == ("undecided", 1)
    assert -1 <= result["effect"] <= 1 and abs(result["null"]["value"]) < 0.5
    assert {row["level"] for row in result["tables"]["levels"]} == {
        f"noise.{task}.layer{level}" for task in (0, 1) for level in (1, 2, 3)
    }
    assert [row["epoch"] for row in result["tables"]["epochs"]][:2] == [0, 1]


@pytest.mark.parametrize("router", ["likelihood", "oracle"])
def test_another_evaluation_never_trains(noisy_run, router):
    found = told("evaluate", noisy_run.path, "--router", router)
    assert found["mean"]["routing_accuracy"] >= 0.5


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--set", "enable_noise=false"], "one switch without the other"),
        (["--set", "noise_enabled=false"], "set both to true, or both to false"),
        (["--set", "enable_noise=false", "--set", "noise_enabled=false", "--set", "n_neighbors=3"],
         "'n_neighbors' was given, but nothing reads it while enable_noise = False"),
        (["--preset", "mini-ocbe", "--set", "noise_layers=[0]"],
         "'noise_layers' was given, but nothing reads it while noise_source = embedding"),
        (["--set", "noise_warmup_epochs=6"], "begin after the last of 6 epochs"),
        (["--set", "noise_sdt_range=[0,1]"], "Did you mean 'noise_std_range'"),
        (["--preset", "mini-ocb"], "Did you mean 'mini-ocbe'"),
    ],
    ids=["model's switch", "trainer's switch", "idle neighbours", "idle layers", "warm-up", "unknown key",
         "unknown preset"],
)  # fmt: skip
def test_settings_that_do_nothing_are_refused(words, sentence, tmp_path):
    command = ["train", "rd-noising", "--data", "embedded", "--tasks", "gear", "--out", str(tmp_path), *words]
    found = CliRunner().invoke(mechlab, command)
    assert isinstance(found.exception, MechlabError), found.output
    assert sentence in str(found.exception) and "\n" not in str(found.exception)
    assert not list(tmp_path.iterdir())
