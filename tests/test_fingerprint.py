"""Runs that differ in their specs and not in a single bit are a no-op, and are not compared."""

import pytest

from mechlab import fingerprint
from mechlab.errors import MechlabError
from mechlab.fingerprint import Declared, StageFingerprint
from mechlab.specs import TrainSpec


def spec(**parts):
    return TrainSpec(system="s", parts=parts, tasks=(("a",),), features=(), seed=0, epochs=1, batch_size=1)


def stage(losses="l", parameters="p"):
    declared = (
        Declared(
            name="w", shape=(2,), dtype="float32", scope="per-task", learning_rate=0.1, weight_decay=0.0
        ),
    )
    return StageFingerprint(
        task=0, declared=declared, moved={"w": True}, losses=losses, parameters=parameters
    )


def test_a_switch_that_did_nothing_is_refused_and_named():
    path = fingerprint.trajectory((stage(),))
    with pytest.raises(MechlabError, match=r"runs 'one' and 'two' differ in parts.ewc, yet every loss"):
        fingerprint.refuse_no_op([("one", spec(ewc=False), path), ("two", spec(ewc=True), path)])


def test_runs_that_differ_in_a_bit_are_compared():
    runs = [("one", spec(a=1), "x"), ("two", spec(a=2), "y"), ("one again", spec(a=1), "x")]
    assert fingerprint.refuse_no_op(runs) is None


@pytest.mark.parametrize("change", [{"losses": "m"}, {"parameters": "q"}])
def test_losses_and_parameters_both_count(change):
    assert fingerprint.trajectory((stage(),)) != fingerprint.trajectory((stage(**change),))


def test_a_fingerprint_survives_its_file(tmp_path):
    fingerprint.save((stage(),), tmp_path / "f.json")
    assert fingerprint.load(tmp_path / "f.json") == (stage(),)


def test_differing_keys_go_down_to_the_part():
    assert fingerprint.differing_keys(spec(a=1, b=2), spec(a=1, b=3)) == ("parts.b",)


def test_a_mark_that_one_spec_has_is_a_difference_in_either_order():
    plain, marked = spec(a=1), spec(a=1).model_copy(update={"allowed": ("deep-flow",)})
    assert fingerprint.differing_keys(plain, marked) == ("allowed",)
    assert fingerprint.differing_keys(marked, plain) == ("allowed",)
    for pair in ([("one", plain, "x"), ("two", marked, "x")], [("one", marked, "x"), ("two", plain, "x")]):
        with pytest.raises(MechlabError, match="differ in allowed, yet every loss"):
            fingerprint.refuse_no_op(pair)
