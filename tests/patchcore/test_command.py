"""PatchCore from the command line: train, record, evaluate, score, export; a run that was killed goes on."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from cli.main import mechlab
from figures.page.reading import run_content
from mechlab import recording
from mechlab.errors import MechlabError
from mechlab.train import session
from mechlab.train.session import train
from reproductions.datasets.check import check


def told(*words):
    """The JSON document of a command."""
    found = CliRunner().invoke(mechlab, [*map(str, words), "--json"], catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return json.loads(found.stdout)


def test_a_run_finds_defects_and_forgets_nothing(bank_summary):
    assert bank_summary["scores_identical"] is True
    assert bank_summary["mean"]["image_auroc"] > 0.9
    assert bank_summary["mean"]["pixel_auroc"] > 0.9
    assert bank_summary["mean"]["routing_accuracy"] > 0.5
    assert {"threshold", "false_positive_rate"} <= set(bank_summary["metrics"]["bolt"])


def test_a_run_that_stops_after_a_task_goes_on_to_the_same_numbers(bank_request, bank_summary, tmp_path):
    class Stop(Exception):
        pass

    request = replace(bank_request, out=tmp_path / "runs")
    evaluated = session._evaluated

    def once(*arguments, **options):
        evaluated(*arguments, **options)
        raise Stop

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "_evaluated", once)
        with pytest.raises(Stop):
            train(request)
    again = train(request)
    for key in ("metrics", "trajectory", "accuracy_matrix"):
        assert again[key] == bank_summary[key]


def test_without_masks_pixel_metrics_are_absent_and_that_is_said(
    bank_request, bank_summary, pictures, tmp_path
):
    root = shutil.copytree(pictures, tmp_path / "data")
    shutil.rmtree(root / "bolt" / "ground_truth")
    said = []
    found = train(replace(bank_request, root=root, out=tmp_path / "runs"), report=said.append)
    bolt, nut = found["metrics"]["bolt"], found["metrics"]["nut"]
    assert [bolt[name] for name in ("pixel_auroc", "pixel_ap", "aupro")] == [None] * 3
    assert bolt["image_auroc"] == bank_summary["metrics"]["bolt"]["image_auroc"]
    assert nut["pixel_auroc"] == found["mean"]["pixel_auroc"] == bank_summary["metrics"]["nut"]["pixel_auroc"]
    sentence = "  bolt: no test image has a mask, so pixel metrics are absent, not zero; add ground_truth."
    assert said.count(sentence) == 1 and not any("nut: no test image" in line for line in said)
    report = told("pixels", found["path"])
    assert report["metrics"]["bolt"] == {} and report["mean"]["pixel_auroc"] == nut["pixel_auroc"]
    problems = check(root, "folder")["problems"]
    assert problems == ["class 'bolt' has no masks, so its pixel metrics are absent; add ground_truth."]


def test_test_images_of_one_label_have_no_image_metrics_and_that_is_said(bank_request, pictures, tmp_path):
    root = shutil.copytree(pictures, tmp_path / "data")
    shutil.rmtree(root / "bolt" / "test" / "good")
    said = []
    request = replace(bank_request, root=root, tasks="bolt", out=tmp_path / "runs")
    found = train(request, report=said.append)["metrics"]["bolt"]
    assert found["image_auroc"] is None and found["image_ap"] is None and found["pixel_auroc"] > 0.9
    assert any("bolt: test images of one label alone, so image metrics are absent" in line for line in said)


@pytest.mark.parametrize(
    ("tasks", "why"), [("bolt,nut", "no earlier task has an image AUROC"), ("nut", "one task")]
)
def test_forgetting_that_cannot_be_measured_says_why(tasks, why, bank_request, pictures, tmp_path):
    root = shutil.copytree(pictures, tmp_path / "data")
    shutil.rmtree(root / "bolt" / "test" / "good")
    place = ["--out", tmp_path / "runs", "--cache", bank_request.cache]
    words = ["train", "patchcore", "--data", "folder", "--root", root, "--tasks", tasks, *place, "--quiet",
             "--image-size", "64", "--dim", "16", "--set", "ratio=0.1"]  # fmt: skip
    found = CliRunner().invoke(mechlab, [*map(str, words)], catch_exceptions=False)
    assert f"forgetting: n/a ({why})" in found.output


def test_two_seeds_are_two_trajectories(bank_request, bank_summary, tmp_path):
    other = train(replace(bank_request, seed=1, tasks="bolt", out=tmp_path / "runs"))
    first = train(replace(bank_request, tasks="bolt", out=tmp_path / "runs"))
    assert other["trajectory"] != first["trajectory"]


def test_it_is_recorded_like_any_system(bank_run, tmp_path):
    found = told("record", bank_run.path, "--site", "bank.*.distance", "--quantity", "activation",
                 "--site", "patch", "--quantity", "score", "--site", "features", "--quantity",
                 "input_gradient", "--loss", "mean", "--limit", "2")  # fmt: skip
    with recording.open(found["recording"]) as opened:
        names = opened.keys()
        assert "activation/bank.0.distance" in names and "score/patch" in names
        maps = opened["activation/bank.0.distance"][:]
        assert opened["score/patch"].unit == "feature distance"
    assert np.isfinite(maps).all() and maps.min() >= 0


def test_a_report_names_the_unit_of_its_scores(bank_run, small_run):
    assert [run_content(run).score_unit for run in (bank_run, small_run)] == ["feature distance", "nats"]


def test_reweighting_moves_image_scores_and_no_map(bank_request, bank_run, bank_summary, tmp_path):
    settings = bank_request.settings | {"reweight": 4}
    found = train(replace(bank_request, settings=settings, out=tmp_path / "runs"))
    for name, metrics in found["metrics"].items():
        assert metrics["pixel_ap"] == bank_summary["metrics"][name]["pixel_ap"]
        assert metrics["threshold"] < bank_summary["metrics"][name]["threshold"]  # a weight is below 1
    words = ("--site", "*", "--quantity", "score", "--limit", "6")
    scores = []
    for path in (bank_run.path, found["path"]):
        with recording.open(told("record", path, *words)["recording"]) as opened:
            scores.append((opened["score/image"][:], opened["score/patch"][:]))
    assert np.array_equal(scores[0][1], scores[1][1])
    assert (scores[1][0] < scores[0][0]).all()


@pytest.mark.parametrize(("router", "least"), [("likelihood", 0.9), ("prototypes:1", 0.5), ("oracle", 1.0)])
def test_other_routers_never_train(bank_run, router, least):
    found = told("evaluate", bank_run.path, "--router", router, "--aggregation", "top_k:3")
    assert found["mean"]["routing_accuracy"] >= least


def test_banks_are_files_and_a_bank_file_scores_as_the_run_does(bank_run, pictures, tmp_path):
    banks = told("patchcore", "export", bank_run.path, "--out", tmp_path / "banks")["banks"]
    assert [name.rpartition("/")[2] for name in banks] == ["bolt.npy", "nut.npy"]
    folder = pictures / "nut" / "test" / "spot"
    by_bank = told("patchcore", "score", banks[1], folder, "--out", tmp_path / "one", "--weights", "embedded")
    by_run = told("score", bank_run.path, folder, "--task", "1", "--out", tmp_path / "two")
    for one, two in zip(by_bank["images"], by_run["images"], strict=True):
        assert one["image"] == two["image"] and one["threshold"] == two["threshold"]
        assert one["score"] == pytest.approx(two["score"], rel=1e-6)
    one, two = (np.load(tmp_path / place / "maps" / "000.png.npy") for place in ("one", "two"))
    assert np.allclose(one, two, rtol=1e-5)


def refused(*words):
    """The sentence of a command that fails."""
    found = CliRunner().invoke(mechlab, [*map(str, words)])
    assert isinstance(found.exception, MechlabError), found.output
    return str(found.exception)


def test_bad_banks_are_refused(bank_run, small_run, pictures, tmp_path):
    banks = tmp_path / "banks"
    told("patchcore", "export", bank_run.path, "--out", banks)
    folder, target = pictures / "bolt" / "test", tmp_path / "out"
    assert "has no bank; give a run of patchcore" in refused(
        "patchcore", "export", small_run.path, "--out", banks
    )
    assert "random" in refused("patchcore", "score", banks / "bolt.npy", folder, "--out", target,
                               "--weights", "random-1")  # fmt: skip
    values = np.load(banks / "bolt.npy")
    np.save(banks / "bolt.npy", values + 1)
    assert "is not the bank" in refused("patchcore", "score", banks / "bolt.npy", folder, "--out", target)
    assert "holds another bank" in refused("patchcore", "export", bank_run.path, "--out", banks)
    np.save(banks / "bolt.npy", values.astype(np.float64))
    assert "not float32" in refused("patchcore", "score", banks / "bolt.npy", folder, "--out", target)
    (banks / "bolt.npy").write_bytes(b"nothing")
    assert "is damaged" in refused("patchcore", "score", banks / "bolt.npy", folder, "--out", target)
    assert "does not exist" in refused("patchcore", "score", banks / "none.npy", folder, "--out", target)
    assert not target.exists()


def test_a_training_without_steps_is_not_recorded(bank_request, tmp_path):
    (tmp_path / "plan.yaml").write_text("- {site: features, quantity: activation}\n")
    request = replace(bank_request, record=tmp_path / "plan.yaml", out=tmp_path / "runs")
    with pytest.raises(MechlabError, match=r"trains in no step.*record the run with 'mechlab record'"):
        train(request)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [(["--epochs", "3"], "trains nothing; leave it out"), (["--set", "projection_dim=4"], "nothing reads it"),
     (["--set", "ratoi=0.1"], "Did you mean 'ratio'"), (["--set", "ratio=2"], "'ratio' = 2")],
    ids=["epochs", "idle key", "unknown key", "range"],
)  # fmt: skip
def test_settings_that_do_nothing_are_refused(words, sentence, tmp_path):
    command = ["train", "patchcore", "--data", "embedded", "--tasks", "gear", "--out", tmp_path, *words]
    assert sentence in refused(*command)
