"""The calibration of a run: by its training normals, in its evaluations, for a user's own images."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mechlab.errors import MechlabError
from mechlab.files import read_json
from mechlab.metrics.calibration import Calibration
from mechlab.runs.folder import RunFolder
from mechlab.train.alteration import Unaltered
from mechlab.train.calibration import calibrated
from mechlab.train.images import run_scoring, score_folder
from mechlab.train.scoring import score
from mechlab.train.session import plan_of, reevaluate, resolve, restore, train

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def pair(small_run):
    return [
        reevaluate(small_run, settings={"calibration": kind, "router": "oracle"}) for kind in ("none", "task")
    ]


def test_training_normals_have_mean_zero_and_deviation_one(small_run):
    plan = plan_of(small_run)
    settings = plan.evaluation.model_copy(update={"calibration": "task"})
    system = restore(plan, checkpoint=1, device=CPU)
    scoring = calibrated(system, plan.inputs, settings, tasks=2, device=CPU)
    for task in (0, 1):
        normals = plan.inputs.fitting(task)
        given = score(system, normals, task=task, tasks=2, router="oracle", device=CPU).given
        found = scoring.image_scores(given, np.full(len(given), task))
        assert found.mean() == pytest.approx(0, abs=1e-9)
        assert found.std() == pytest.approx(1, abs=1e-9)


def test_metrics_of_a_class_stay_and_scores_are_on_the_scale_of_its_task(pair):
    plain, scaled = pair
    shared = ("image_auroc", "given_image_auroc", "pixel_ap", "pixel_auroc", "aupro", "false_positive_rate")
    found = Calibration.read(scaled["calibration"])
    for task, name in enumerate(("bolt", "nut")):
        for key in shared:
            assert scaled["metrics"][name].get(key) == plain["metrics"][name].get(key)
        before, after = (np.array(one["scores"][name]["scores"]) for one in pair)
        np.testing.assert_allclose(after, (before - found.means[task]) / found.deviations[task])
    assert "calibration" not in plain
    assert "calibration" not in plain["spec"]
    assert scaled["spec"]["calibration"] == "task"
    assert plain["hashes"] == scaled["hashes"]


def test_evaluations_tell_metrics_over_all_classes(pair):
    for found in pair:
        assert 0 <= found["pooled"]["image_auroc"] <= 1


def test_own_images_are_scored_on_the_scale_of_the_run(small_request, pictures, tmp_path):
    settings = small_request.settings | {"calibration": "task"}
    request = replace(small_request, tasks="bolt", settings=settings, out=tmp_path / "runs")
    train(request)
    plan = resolve(request)
    rows = score_folder(
        RunFolder.open(plan.run.path), pictures / "bolt" / "test" / "good", tmp_path / "scored", task=0
    )
    kept = plan.run.path / "evals" / plan.run.summary()["evaluation"] / "metrics.json"
    scores = read_json(kept)["scores"]["bolt"]
    normal = [value for value, label in zip(scores["scores"], scores["labels"], strict=True) if label == 0]
    np.testing.assert_allclose(sorted(row["score"] for row in rows), sorted(normal), rtol=1e-4)
    assert run_scoring(plan).calibration is not None


class Patched(Unaltered):
    needs_items = True


def test_a_patch_cannot_be_calibrated(small_run):
    plan = plan_of(small_run)
    settings = plan.evaluation.model_copy(update={"calibration": "task"})
    system = restore(plan, checkpoint=1, device=CPU)
    with pytest.raises(
        MechlabError, match="calibration = task scores training normals, and a patch knows only"
    ):
        calibrated(system, plan.inputs, settings, tasks=2, device=CPU, alteration=Patched())


def test_an_unknown_calibration_is_refused(small_run):
    with pytest.raises(MechlabError, match="calibration"):
        reevaluate(small_run, settings={"calibration": "image"})
