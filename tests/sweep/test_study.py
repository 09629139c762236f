"""The report of a study: planted orders, effects, interactions and fronts are found, and nothing else."""

import pytest

from mechlab.errors import MechlabError
from mechlab.sweep.study import avoided, class_changes, front, gains, one_factor, ranked, report
from mechlab.sweep.table import METRICS


def arm(name, value, against=None, differs=(), difference=None, ap=0.3, spread=0.01):
    def estimate(mean):
        return {"mean": mean, "low": mean - spread, "high": mean + spread, "n": 3}

    row = {"arm": name, "against": against, "differs": list(differs), "image_auroc": estimate(value),
           "pixel_auroc": estimate(0.9), "pixel_ap": estimate(ap)}  # fmt: skip
    changed = None if difference is None else estimate(difference)
    return row | {f"{metric}_difference": changed for metric in METRICS}


ROOT = arm("root", 0.80)
A = arm("a", 0.85, "root", ["x"], 0.05)
B = arm("b", 0.77, "root", ["y"], -0.03)
AB = arm("ab", 0.90, "a", ["y"], 0.05)
ROWS = [ROOT, A, B, AB]


def test_arms_are_ranked_from_the_best_down():
    assert [row["arm"] for row in ranked(ROWS, metric="image_auroc")] == ["ab", "a", "root", "b"]


def test_effects_of_single_keys_are_told_the_largest_first_and_joint_changes_are_not():
    joint = arm("both", 0.9, "root", ["x", "y"], 0.5)
    found = one_factor([*ROWS, joint], metric="image_auroc")
    assert [(row["arm"], row["key"]) for row in found] == [("a", "x"), ("ab", "y"), ("b", "y")]


def test_a_planted_interaction_is_the_joint_gain_less_the_singles():
    (found,) = gains(ROWS, metric="image_auroc")
    assert (found["arm"], found["root"], found["keys"]) == ("ab", "root", ["x", "y"])
    assert found["joint"] == pytest.approx(0.10)
    assert found["sum_of_singles"] == pytest.approx(0.02)
    assert found["interaction"] == pytest.approx(0.08)


def test_gains_that_add_up_have_no_interaction_and_a_missing_single_is_not_invented():
    added = arm("ab", 0.82, "a", ["y"], -0.03)
    assert gains([ROOT, A, B, added], metric="image_auroc")[0]["interaction"] == pytest.approx(0.0)
    assert gains([ROOT, A, AB], metric="image_auroc") == []


def test_the_front_holds_who_is_not_beaten_in_both():
    rows = [
        arm("image", 0.9, ap=0.2),
        arm("pixel", 0.8, ap=0.5),
        arm("worse", 0.8, ap=0.2),
        arm("mid", 0.85, ap=0.3),
    ]
    assert [row["arm"] for row in front(rows)] == ["image", "mid", "pixel"]


def test_an_arm_is_avoided_only_if_its_whole_interval_is_below_zero():
    unsure = arm("unsure", 0.79, "root", ["z"], -0.005)
    assert [row["arm"] for row in avoided([*ROWS, unsure], metric="image_auroc")] == ["b"]


def test_classes_change_one_by_one():
    classes = {"root": {"bolt": {"image_auroc": 0.5}, "nut": {"image_auroc": 0.9}},
               "a": {"bolt": {"image_auroc": 0.75}, "nut": {"image_auroc": 0.8}}}  # fmt: skip
    (found,) = class_changes(classes, ROWS, metric="image_auroc")
    assert found["arm"] == "a"
    assert found["changes"] == {"bolt": pytest.approx(0.25), "nut": pytest.approx(-0.1)}


def test_arms_without_numbers_are_left_out_and_an_unknown_metric_is_told():
    waiting = arm("waiting", 0.0) | {metric: None for metric in METRICS}
    found = report({"arms": [*ROWS, waiting]}, top=2)
    assert [row["arm"] for row in found["top"]] == ["ab", "a"]
    with pytest.raises(MechlabError, match="Did you mean 'image_auroc'"):
        report({"arms": ROWS}, metric="image_aurok")
