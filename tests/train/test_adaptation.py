"""Strengths of an adaptive aggregation: tuned on training normals, kept by the evaluation, used by scores."""

import numpy as np
import pytest
import torch

from mechlab.errors import MechlabError
from mechlab.files import read_json
from mechlab.train.adaptation import STRENGTHS, best_strength, pairs, tuned_strengths
from mechlab.train.images import scoring_from
from mechlab.train.scoring import nothing
from mechlab.train.session import plan_of, reevaluate, restore


def damaged(normal, *, patches, height):
    found = normal.copy()
    for image in found:
        image.reshape(-1)[:patches] += height
    return found


def test_a_small_defect_wants_a_sharp_look_and_a_wide_faint_one_the_mean(rng):
    normal = rng.normal(size=(40, 14, 14))
    assert best_strength(normal, damaged(rng.normal(size=(40, 14, 14)), patches=1, height=7.0)) >= 2
    assert best_strength(normal, damaged(rng.normal(size=(40, 14, 14)), patches=196, height=0.2)) == 0.0


def test_strengths_are_a_function_of_the_normals_alone(small_run):
    plan = plan_of(small_run)
    one, two = (pairs(plan.inputs, 0) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))
    assert not np.array_equal(one[0], one[1])
    assert len(one[0]) == len(plan.inputs.fitting(0))  # fewer than 32: all of them


def test_an_evaluation_keeps_its_strengths(small_run):
    found = reevaluate(small_run, settings={"aggregation": "adaptive", "aggregation_value": None})
    assert len(found["strengths"]) == 2
    assert set(found["strengths"]) <= set(STRENGTHS)
    plain = reevaluate(small_run, settings={"aggregation": "mean", "aggregation_value": None})
    assert "strengths" not in plain
    assert {name: metrics["pixel_ap"] for name, metrics in found["metrics"].items()} == {
        name: metrics["pixel_ap"] for name, metrics in plain["metrics"].items()
    }
    folder = next(
        path for path in small_run.evaluations() if read_json(path / "metrics.json").get("strengths")
    )
    plan = plan_of(small_run)
    read = scoring_from(
        plan.evaluation, read_json(folder / "metrics.json"), image_size=plan.inputs.image_size
    )
    assert list(read.strengths) == found["strengths"]


def test_it_goes_with_a_calibration(small_run):
    words = {"aggregation": "adaptive", "aggregation_value": None, "calibration": "task"}
    found = reevaluate(small_run, settings=words)
    assert len(found["calibration"]["mean"]) == len(found["strengths"]) == 2


def test_inputs_without_images_are_refused(small_run):
    system = restore(plan_of(small_run), checkpoint=1, device=torch.device("cpu"))
    with pytest.raises(MechlabError, match="needs images to damage"):
        tuned_strengths(system, object(), tasks=1, device=torch.device("cpu"), around=nothing)
