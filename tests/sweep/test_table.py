"""The table of a sweep: paired intervals, counted parameters, and arms whose keys did nothing."""

from dataclasses import replace

import numpy as np
import pytest

from mechlab.fingerprint import load
from mechlab.runs.request import TrainRequest
from mechlab.stats.intervals import mean_interval
from mechlab.sweep.arms import Arm
from mechlab.sweep.table import Outcome, class_means, estimate, no_ops, parameters, table


def arm(name, against=None, differs=()):
    return Arm(name=name, against=against, differs=differs, request=TrainRequest(), evaluation={}, keys={})


def outcome(value, trajectory="a", *, is_evaluation=False, forgetting=0.0):
    mean = {"image_auroc": value, "pixel_auroc": value / 2, "pixel_ap": None}
    return Outcome(mean=mean, metrics={"bolt": mean}, forgetting=forgetting, seconds=10.0,
                   parameters=(30, 5), trajectory=trajectory, is_evaluation=is_evaluation)  # fmt: skip


ARMS = (arm("parent"), arm("child", "parent", ("blocks",)))


def test_differences_are_paired_by_seed_so_what_a_seed_does_to_both_cancels(rng):
    seeds = rng.normal(0.5, 0.1, 4)
    done = {("parent", seed): outcome(value) for seed, value in enumerate(seeds)}
    done |= {("child", seed): outcome(value + 0.02, f"{seed}") for seed, value in enumerate(seeds)}
    parent, child = table(ARMS, done)
    assert parent["image_auroc_difference"] is None
    assert child["image_auroc_difference"]["mean"] == pytest.approx(0.02)
    assert child["image_auroc_difference"]["high"] - child["image_auroc_difference"]["low"] < 1e-9
    low, high = mean_interval(seeds)
    assert (parent["image_auroc"]["low"], parent["image_auroc"]["high"]) == (low, high)
    assert child["pixel_ap"] is None
    assert (child["trainable_first_task"], child["trainable_last_task"]) == (30, 5)


def test_only_seeds_that_both_have_are_paired():
    done = {("parent", 0): outcome(0.5), ("child", 0): outcome(0.7), ("child", 1): outcome(0.9)}
    child = table(ARMS, done)[1]
    assert child["image_auroc_difference"] == {"mean": pytest.approx(0.2), "low": None, "high": None, "n": 1}
    assert child["image_auroc"]["n"] == 2


def test_classes_are_means_over_seeds_of_what_is_measured():
    done = {("parent", 0): outcome(0.5), ("parent", 1): outcome(0.7)}
    found = class_means(ARMS, done)
    assert found == {
        "parent": {"bolt": {"image_auroc": pytest.approx(0.6), "pixel_auroc": pytest.approx(0.3)}}
    }


def test_an_arm_that_has_not_run_has_no_numbers():
    rows = table(ARMS, {})
    assert [row["image_auroc"] for row in rows] == [None, None]
    assert rows[0]["seconds"] is None
    assert estimate([]) is None


def test_an_arm_that_trained_bit_for_bit_as_its_parent_is_named():
    same = {("parent", 0): outcome(0.5), ("child", 0): outcome(0.5)}
    assert no_ops(ARMS, same) == [{"arm": "child", "against": "parent", "differs": ["blocks"]}]
    assert no_ops(ARMS, same | {("child", 0): outcome(0.5, "b")}) == []
    assert no_ops(ARMS, same | {("child", 0): outcome(0.6, is_evaluation=True)}) == []


def test_the_counted_parameters_are_those_that_moved(small_run):
    stages = load(small_run.path / "fingerprint.json")
    first, later = parameters(small_run)
    for stage, count in zip(stages, (first, later), strict=True):
        moved = [np.prod(item.shape) for item in stage.declared if stage.moved[item.name]]
        assert sum(moved) == count
    assert first > later > 0


def test_runs_on_windows_have_the_metrics_of_their_system():
    mean = {"f1_macro": 0.9, "auroc": 0.8, "ap": 0.7, "image_auroc": 0.1}
    row = mean | {"blocks": 3, "intervals": {"auroc": [0.7, 0.9]}, "baseline_single_auroc": {"rate": 1.0}}
    found = Outcome(mean=mean, metrics={"tests/dos": row}, forgetting=None, seconds=1.0, parameters=(5,),
                    trajectory="a", is_evaluation=False)  # fmt: skip
    detector = replace(arm("gat"), request=TrainRequest(system="gat"))
    (told,) = table([detector], {("gat", 0): found})
    assert told["f1_macro"]["mean"] == 0.9 and "image_auroc" not in told
    means = class_means([detector], {("gat", 0): found})
    assert means == {"gat": {"tests/dos": {"f1_macro": 0.9, "auroc": 0.8, "ap": 0.7}}}
