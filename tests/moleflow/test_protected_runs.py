"""Runs that remember earlier tasks, or draw noise, end bit-identical wherever they are stopped."""

from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file

from mechlab.errors import MechlabError
from mechlab.files import read_json
from mechlab.runs.folder import RunFolder
from mechlab.train import tasks
from mechlab.train.session import reevaluate, train

FINAL = ("log.jsonl", "epochs.jsonl", "fingerprint.json", "checkpoints/after_task_0/weights.safetensors",
         "checkpoints/after_task_1/weights.safetensors")  # fmt: skip
ARMS = {
    "all that protects, and a slow stage": {
        "mixer": "depthwise",
        "mixer_trains": "every-task",
        "projection": "joint",
        "ewc_weight": 10.0,
        "distillation_weight": 1.0,
        "replay_images": 4,
        "slow_blocks": 1,
        "slow_epochs": 2,
    },
    "score matching and dropout": {
        "dia_blocks": 0,
        "dsm": "sliced",
        "dsm_alpha": 0.8,
        "dsm_alpha_last": 0.5,
        "mixer": "attention",
        "attention_hidden": 8,
        "mixer_trains": "every-task",
    },
}
STEPS = 7  # of an epoch of either task


class Killed(BaseException):
    """Stands in for a signal at a chosen instant."""


def files(path: Path) -> dict[str, bytes]:
    return {name: (path / name).read_bytes() for name in FINAL}


@pytest.fixture(scope="module", params=ARMS)
def whole(request, small_request, tmp_path_factory):
    """A request of an arm and the summary of its unbroken run."""
    settings = small_request.settings | ARMS[request.param]
    asked = replace(small_request, settings=settings, batch_size=2, out=tmp_path_factory.mktemp("whole"))
    return asked, train(asked)


def stopped(request, *, at: int, monkeypatch) -> None:
    after = tasks.Log.after

    def stop(self, step):
        if step.step == at:
            raise Killed
        after(self, step)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(tasks.Log, "after", stop)
        train(request)


@pytest.mark.parametrize(
    "at",
    [2 * STEPS, *(pytest.param(at, marks=pytest.mark.slow) for at in (STEPS, 3 * STEPS + 2, 4 * STEPS - 1))],
)
def test_a_run_stopped_anywhere_ends_with_the_same_bits_and_scores(at, whole, tmp_path, monkeypatch):
    """Also between the two tasks: what the first one left is read from its file."""
    monkeypatch.setattr(tasks, "EVERY_SECONDS", 0.0)  # a checkpoint after every epoch
    request, expected = whole
    assert expected["scores_identical"] is False
    request = replace(request, out=tmp_path)
    stopped(request, at=at, monkeypatch=monkeypatch)
    found = train(request)
    assert files(Path(found["path"])) == files(Path(expected["path"]))
    assert found["metrics"] == expected["metrics"]


def test_a_run_is_loaded_as_it_was(whole):
    found = whole[1]
    again = reevaluate(_run(found), settings={"router": "oracle"})
    for name, metrics in found["metrics"].items():
        assert again["metrics"][name]["given_image_auroc"] == metrics["given_image_auroc"]


def _run(summary) -> RunFolder:
    return RunFolder.open(Path(summary["path"]))


@pytest.mark.parametrize("whole", ["all that protects, and a slow stage"], indirect=True)
def test_a_checkpoint_holds_what_was_remembered(whole):
    found = whole[1]
    weights = load_file(Path(found["path"]) / "checkpoints" / "after_task_1" / "weights.safetensors")
    kinds = {name.split(".")[1].split("/")[0] for name in weights if name.startswith("memory.")}
    assert kinds == {"basis", "anchor", "fisher", "teacher", "bank"}
    slow = [row for row in _run(found).epochs() if row["kind"] == "epoch" and row["phase"] == 1]
    assert [row["epoch"] for row in slow] == [2, 3]
    assert all(row["task"] == 1 and row["held_out_loss"] > 0 for row in slow)


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"projection": "joint"}, "projection-of-nothing"),
        ({"ewc_weight": 1.0}, "protection-of-nothing"),
        ({"distillation_weight": 1.0}, "protection-of-nothing"),
        ({"replay_images": 4}, "protection-of-nothing"),
        ({"dsm": "sliced"}, "score-matching-with-dia"),
    ],
    ids=str,
)
def test_what_would_protect_nothing_is_refused_unless_let_pass(settings, name, small_request, tmp_path):
    request = replace(small_request, settings=small_request.settings | settings, batch_size=2, out=tmp_path)
    with pytest.raises(MechlabError, match=f"--allow {name}[.]$"):
        train(request)
    found = train(replace(request, allow=(name,)))
    assert found["allowed"] == [name]
    assert found["scores_identical"] is True


def test_the_log_tells_epochs_and_how_each_task_came_out(small_run, small_summary):
    rows = small_run.epochs()
    steps = small_run.log()
    assert [row["kind"] for row in rows] == ["epoch", "epoch", "task", "epoch", "epoch", "task"]
    for row in rows:
        if row["kind"] == "epoch":
            own = [step for step in steps if (step["task"], step["epoch"]) == (row["task"], row["epoch"])]
            assert row["step"] == own[-1]["step"] + 1
            for name in ("loss", "nll", "gradient_norm"):
                assert row[name] == pytest.approx(sum(step[name] for step in own) / len(own))
            assert row["learning_rate"] == own[-1]["learning_rate"]
            assert 0 < row["readings"]["context_alpha"] < 0.2
    tasks_told = [row for row in rows if row["kind"] == "task"]
    assert [row["image_auroc"] for row in tasks_told] == small_summary["accuracy_matrix"]
    assert set(tasks_told[1]["routing_accuracy"]) == {"bolt", "nut"}
    stages = read_json(small_run.path / "evals" / small_summary["evaluation"] / "metrics.json")["metrics"]
    assert tasks_told[1]["routing_accuracy"]["nut"] == stages["nut"]["routing_accuracy"]
