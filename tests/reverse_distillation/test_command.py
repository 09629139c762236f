"""Reverse distillation from the command line: train, evaluate, record, score; a killed run goes on."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from cli.main import mechlab
from mechlab import recording
from mechlab.errors import MechlabError
from mechlab.files import sha256_bytes
from mechlab.metrics.maps import smooth
from mechlab.runs.parameters import run_counts
from mechlab.train import loop, session, tasks
from mechlab.train.parameter_count import preset_counts
from mechlab.train.resolution import plan_of, resolve
from mechlab.train.scoring import Scores
from mechlab.train.session import train
from reproductions.backbones.timm_features import Extractor

FINAL = ("log.jsonl", "epochs.jsonl", "fingerprint.json", "checkpoints/after_task_1/weights.safetensors")


def told(*words):
    """The JSON document of a command."""
    found = CliRunner().invoke(mechlab, [*map(str, words), "--json"], catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return json.loads(found.stdout)


def test_a_run_places_defects_and_forgets_nothing(rd_summary):
    assert rd_summary["scores_identical"] is True
    assert rd_summary["mean"]["pixel_auroc"] > 0.8
    assert {"threshold", "trivial_image_auroc"} <= set(rd_summary["metrics"]["bolt"])


def test_an_image_score_is_the_highest_pixel_of_the_smoothed_map(rd_run, rd_summary):
    folder = rd_run.path / "evals" / rd_summary["evaluation"]
    document = json.loads((folder / "metrics.json").read_text())
    maps = Scores.load(folder / "bolt.npz").routed
    assert maps.shape == (8, 64, 64)  # a value a pixel
    expected = smooth(maps.astype(np.float64), 4.0).max(axis=(1, 2))
    np.testing.assert_allclose(document["scores"]["bolt"]["scores"], expected, rtol=1e-6)


def test_sigma_moves_image_scores_of_the_map_and_of_patches_not(rd_run):
    def scored(**words):
        options = [part for key, value in words.items() for part in (f"--{key.replace('_', '-')}", value)]
        return told("evaluate", rd_run.path, *options, "--quiet")["scores"]["bolt"]["scores"]

    assert scored(sigma=2) != scored(sigma=4)
    plain = [scored(sigma=sigma, image_from="patches") for sigma in (2, 4)]
    assert plain[0] == plain[1] != scored(sigma=4)


def test_a_run_that_is_killed_within_a_task_resumes_to_the_same_bits(
    rd_request, rd_run, tmp_path, monkeypatch
):
    class Killed(BaseException):
        pass

    monkeypatch.setattr(tasks, "EVERY_SECONDS", 0.0)  # a checkpoint after every epoch
    request, after = replace(rd_request, out=tmp_path), tasks.Log.after

    def stop(self, step):
        if step.step == 4:  # in the second of two epochs of the first task
            raise Killed
        after(self, step)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(tasks.Log, "after", stop)
        train(request)
    again = train(request)
    for name in FINAL:
        assert (tmp_path / rd_run.name / name).read_bytes() == (rd_run.path / name).read_bytes(), name
    assert again["metrics"] == rd_run.summary()["metrics"]


def test_training_moves_nothing_of_the_teacher_and_reads_it_once(rd_request, tmp_path, monkeypatch):
    plan = resolve(replace(rd_request, out=tmp_path / "runs", cache=tmp_path / "cache", tasks="bolt"))

    def state():
        return {name: sha256_bytes(value.numpy().tobytes())
                for name, value in plan.inputs.extractor.network.state_dict().items()}  # fmt: skip

    before, calls, whole = state(), [], Extractor.forward
    monkeypatch.setattr(Extractor, "forward", lambda self, images: calls.append(1) or whole(self, images))
    monkeypatch.setattr(session, "resolve", lambda _: plan)
    seen, step = [], loop._one_step
    monkeypatch.setattr(
        loop, "_one_step", lambda *given, **named: seen.append(len(calls)) or step(*given, **named)
    )
    train(rd_request)
    assert state() == before
    assert any("running_mean" in name for name in before)
    assert len(set(seen)) == 1 and len(seen) == 6  # every step comes after the last look through the teacher


def test_what_a_run_holds_is_what_its_fingerprint_says(rd_run):
    system = session.build(plan_of(rd_run), tasks=2)
    counts = run_counts(rd_run)
    assert counts["total"] == sum(value.numel() for value in system.parameters())
    assert counts["trained"] == [counts["total"] // 2] * 2


def test_teacher_and_student_are_recorded_and_scores_with_them(rd_run):
    words = ["--site", "teacher.layer3", "--quantity", "activation", "--limit", 2]
    found = told("record", rd_run.path, *words, "--quiet")
    with recording.open(Path(found["recording"])) as opened:
        assert opened["activation/teacher.layer3"].shape[1:] == (256, 4, 4)


def test_a_training_is_recorded_as_it_goes(rd_request, tmp_path):
    entries = (
        {"site": "student.*.layer3", "quantity": "activation", "every": 2},
        {"site": "pupil.0.student.layer1.*", "quantity": "gradient", "every": 3, "reduction": "norm"},
    )
    summary = train(replace(rd_request, tasks="bolt", out=tmp_path, epochs=1, record=entries))
    with recording.open(Path(summary["recording"]["path"])) as opened:
        keys = opened.keys()
    assert "activation/student.0.layer3" in keys
    assert any(key.startswith("gradient_norm/pupil.0.student.layer1") for key in keys)


def test_new_images_are_scored(rd_run, pictures, tmp_path):
    found = told("score", rd_run.path, pictures / "nut" / "test", "--out", tmp_path / "scored", "--quiet")
    maps = sorted(Path(found["maps"]).rglob("*.npy"))
    assert len(maps) == 8 and np.load(maps[0]).shape == (64, 64)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ({"dim": 64}, r"dim = 64 was given, but rd takes its teacher's maps with all their channels"),
        ({"image_size": 72}, "72 pixels are no whole number of cells of 16 pixels"),
        ({"image_size": 48}, r"half the grid of the coarsest level, 3 x 3"),
        (
            {"layers": ("layer2", "layer3")},
            "three levels, each twice as fine as the next, and got layer2, layer3",
        ),
        ({"settings": {"step_at": 0.5}}, "nothing reads it while schedule = constant"),
        ({"settings": {"sigma": "4,nut=2"}}, "image_from=map makes image scores of the smoothed map"),
        ({"devices": 2}, "normalises over the batch.*--devices 1"),
    ],
    ids=["dim", "cells", "grid", "layers", "idle key", "sigma by class", "devices"],
)
def test_what_cannot_be_trained_is_one_sentence_before_anything_is(words, sentence, rd_request, tmp_path):
    with pytest.raises(MechlabError, match=sentence):
        train(replace(rd_request, out=tmp_path / "runs", **words))
    assert not list(tmp_path.rglob("log.jsonl"))


def test_cells_are_not_turned_and_sizes_are_those_of_a_teacher(rd_run):
    found = CliRunner().invoke(mechlab, ["evaluate", str(rd_run.path), "--orientations", "four"])
    assert isinstance(found.exception, MechlabError | SystemExit) or found.exit_code == 1
    assert "set orientations=one" in str(found.exception) + found.output
    with pytest.raises(MechlabError, match="how many numbers rd holds depends on its teacher"):
        preset_counts("rd")
