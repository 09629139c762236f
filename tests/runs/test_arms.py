"""What tells two arms of a comparison apart: every key that differs is named, and none twice."""

from dataclasses import replace

import pytest

from mechlab.runs.arms import Scored, differing, keys_of, label
from mechlab.specs import EvalSpec
from mechlab.train.resolution import resolve

OF_WHAT_IS_SCORED = {"train", "checkpoint", "features", "allowed"}


@pytest.fixture
def arm(small_request, tmp_path):
    """Return a function from an evaluation and changes of the small request to an untrained arm."""

    def make(evaluation=None, **changes):
        plan = resolve(replace(small_request, out=tmp_path, **changes))
        plan.run.create(plan.spec, parts=plan.parts, request=plan.request, provenance={})
        keys = keys_of(plan.run, evaluation or {})
        return Scored(run=plan.run, keys=keys, seed=0, label="", metrics={}, trajectory="", allowed=())

    return make


def test_the_order_of_tasks_is_one_key(arm):
    assert differing(arm(), arm(tasks="nut,bolt")) == ("tasks",)
    assert differing(arm(), arm(tasks="bolt+nut")) == ("tasks",)


def test_other_classes_are_one_key_whether_or_not_some_are_common(arm):
    assert differing(arm(), arm(tasks="bolt")) == ("tasks",)
    assert differing(arm(tasks="nut"), arm(tasks="bolt")) == ("tasks",)


def test_what_features_differ_in_is_named_beside_other_classes(arm):
    assert differing(arm(), arm(image_size=96)) == ("features.image_size",)
    assert differing(arm(tasks="nut"), arm(tasks="bolt", image_size=96)) == ("features.image_size", "tasks")
    assert differing(arm(), arm(tasks="bolt", dim=20)) == ("features.dim", "tasks")


def test_a_size_of_a_task_is_one_key(arm):
    own = arm(overrides={"nut": {"image_size": 96}})
    assert differing(arm(), own) == ("features.image_size",)
    assert differing(own, arm(tasks="bolt")) == ("tasks",)  # which both see, and compare, at one size
    assert differing(own, arm(image_size=96)) == ("features.image_size",)


def test_other_images_of_a_class_are_named_whatever_other_classes_there_are(arm, draw_pictures, tmp_path):
    more = draw_pictures(tmp_path / "more", train=15)
    assert differing(arm(), arm(root=more)) == ("features.manifest",)
    assert differing(arm(), arm(root=more, tasks="bolt")) == ("features.manifest", "tasks")
    assert differing(arm(tasks="nut"), arm(root=more, tasks="bolt")) == ("tasks",)


@pytest.mark.parametrize("key", sorted(EvalSpec.model_fields.keys() - OF_WHAT_IS_SCORED))
def test_every_key_of_an_evaluation_is_named_and_told(arm, key):
    plain, changed = arm(), arm({key: "other"})
    assert differing(plain, changed) == (f"evaluation.{key}",)
    assert f"{key}=other" in label(plain.run, {key: "other"})


def test_interventions_are_told_one_by_one(arm):
    changes = {"interventions": ["ablate:flow.0:zero", "swap:0,1"]}
    assert "interventions=ablate:flow.0:zero+swap:0,1" in label(arm().run, changes)
    assert "interventions" not in label(arm().run, {"interventions": []})


def test_a_checkpoint_before_the_last_is_a_key_of_its_own(arm):
    last, earlier = arm({"checkpoint": 1}), arm({"checkpoint": 0})
    assert differing(arm(), last) == ()
    assert differing(last, earlier) == ("evaluation.checkpoint",)
    assert label(last.run, {"checkpoint": 0}).endswith("after task 0")
    assert "after task" not in label(last.run, {"checkpoint": 1})
