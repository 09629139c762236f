"""A hash covers what can move a number, and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mechlab.errors import MechlabError
from mechlab.specs import EvalSpec, FeatureSpec, PlanEntry, RecordSpec, TrainSpec, validated


def features(**changed):
    values = dict(
        dataset="embedded",
        class_name="gear",
        split="train",
        manifest="m",
        transform="t",
        image_size=224,
        backbone="embedded",
        weights="w",
        layers=("layer2",),
        dim=64,
    )
    return FeatureSpec(**(values | changed))


def training(**changed):
    values = dict(
        system="moleflow",
        parts={"rank": 4},
        tasks=(("gear",),),
        features=(features(),),
        seed=0,
        epochs=1,
        batch_size=8,
    )
    return TrainSpec(**(values | changed))


@pytest.mark.parametrize(
    "change", [{"manifest": "n"}, {"image_size": 64}, {"layers": ("layer3",)}, {"dim": 32}]
)
def test_every_field_of_the_features_reaches_the_training_hash(change):
    assert training(features=(features(**change),)).hash != training().hash


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"parts": {"rank": 8}},
        {"epochs": 2},
        {"world_size": 2},
        {"interventions": ("freeze:flow.*",)},
    ],
)
def test_every_field_of_the_training_reaches_its_hash(change):
    assert training(**change).hash != training().hash


def test_equal_specs_have_equal_hashes():
    assert training().hash == training().hash
    assert len(training().hash) == 12


def test_the_router_changes_the_evaluation_and_not_the_training():
    values = dict(
        train=training().hash, checkpoint=0, features=(features(split="test"),), aggregation="max", sigma=4.0
    )
    one, two = EvalSpec(router="oracle", **values), EvalSpec(router="mahalanobis", **values)
    assert one.train == two.train
    assert one.hash != two.hash


def test_a_recording_is_hashed_over_its_evaluation_and_plan():
    evaluation = EvalSpec(train="t", checkpoint=0, features=(), router="oracle", aggregation="max", sigma=0.0)
    one = RecordSpec(evaluation=evaluation, train="t", plan=(PlanEntry(site="a", quantity="latent"),))
    two = RecordSpec(
        evaluation=evaluation, train="t", plan=(PlanEntry(site="a", quantity="latent", every=2),)
    )
    assert one.hash != two.hash


def test_an_unknown_key_gets_a_suggestion():
    with pytest.raises(MechlabError, match="Did you mean 'every'"):
        validated(PlanEntry, {"site": "a", "quantity": "latent", "evry": 2}, what="plan")


def test_a_value_of_the_wrong_kind_names_its_key():
    with pytest.raises(MechlabError, match="plan key 'every' = 'often' is not allowed"):
        validated(PlanEntry, {"site": "a", "quantity": "latent", "every": "often"}, what="plan")


@given(st.dictionaries(st.text(min_size=1, max_size=5), st.integers() | st.booleans() | st.text(max_size=3)))
def test_a_spec_survives_json(parts):
    spec = training(parts=parts)
    assert TrainSpec.model_validate_json(spec.model_dump_json()).hash == spec.hash


def test_later_keys_at_their_defaults_rename_nothing():
    words = dict(train="t", checkpoint=0, features=(features(),), router="oracle", aggregation="max", sigma=0)
    dumped = EvalSpec(**words).model_dump(mode="json")
    assert not {"image_from", "orientations", "calibration", "allowed"} & set(dumped)
    assert "layout" not in dumped["features"][0]
    assert EvalSpec(**words, image_from="map").hash != EvalSpec(**words).hash
    assert features(layout="pyramid").hash != features().hash
