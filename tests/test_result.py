"""A verdict is finite, complete and survives its file."""

import math

import pytest

from mechlab.errors import MechlabError
from mechlab.files import write_json
from mechlab.result import Evidence, Null, Result, plain


def result(**changed):
    values = dict(
        probe="gaussianity",
        hypothesis="h",
        decision_rule="r",
        verdict="supported",
        effect=0.1,
        interval=(0.0, 0.2),
        unit="distance",
        null=Null(kind="analytic", value=0.0, interval=(0.0, 0.1)),
        n=20,
        replication="image",
        thresholds={"limit": 0.3},
        tables={"moments": ({"name": "mean", "value": 0.0},)},
        inputs=("a",),
    )
    return Result(**(values | changed))


def evidence(rows, **changed):
    columns = {"item": tuple(row[0] for row in rows), "value": tuple(row[1] for row in rows)}
    values = dict(probe="p", replication="seed", columns=columns, facts={"dim": 2}, inputs=("a",))
    return Evidence(**(values | changed))


@pytest.mark.parametrize(
    "change", [{"effect": math.nan}, {"interval": (0.0, math.inf)}, {"thresholds": {"x": math.nan}}]
)
def test_a_number_that_is_not_finite_is_refused(change):
    with pytest.raises(ValueError, match="not finite"):
        result(**change)


def test_only_an_undecided_result_may_lack_its_effect():
    assert result(verdict="undecided", effect=None, interval=None).effect is None
    with pytest.raises(ValueError, match="only when undecided"):
        result(effect=None)


def test_an_unknown_verdict_is_refused():
    with pytest.raises((ValueError, TypeError), match="supported"):  # the type checker may be first
        result(verdict="proven")


def test_an_interval_upside_down_is_refused():
    with pytest.raises(ValueError, match="upside down"):
        result(interval=(1.0, 0.0))


def test_a_result_survives_its_file(tmp_path):
    result().save(tmp_path / "result.json")
    assert Result.load(tmp_path / "result.json") == result()


def test_another_kind_of_file_is_one_sentence(tmp_path):
    write_json(tmp_path / "x.json", {"kind": "other"})
    with pytest.raises(MechlabError, match="is no result of a probe"):
        Result.load(tmp_path / "x.json")


def test_a_result_of_another_version_is_refused(tmp_path):
    write_json(tmp_path / "x.json", {"kind": "mechlab result", "version": 9})
    with pytest.raises(MechlabError, match="version 9; this mechlab reads version 1"):
        Result.load(tmp_path / "x.json")


def test_a_result_that_was_tampered_with_is_one_sentence(tmp_path):
    document = {"kind": "mechlab result", "version": 1} | result().document() | {"effect": None}
    write_json(tmp_path / "x.json", document)
    with pytest.raises(MechlabError, match="does not hold a whole result"):
        Result.load(tmp_path / "x.json")


def test_evidence_survives_its_file(tmp_path):
    evidence([("a", 1.0), ("b", 2.0)]).save(tmp_path / "evidence.json")
    assert Evidence.load(tmp_path / "evidence.json") == evidence([("a", 1.0), ("b", 2.0)])


def test_ragged_columns_are_refused():
    with pytest.raises(ValueError, match="unequal length"):
        Evidence(probe="p", replication="seed", columns={"a": (1,), "b": (1, 2)})


def test_joined_evidence_keeps_every_seed():
    joined = Evidence.joined(
        [evidence([("a", 1.0)]), evidence([("a", 3.0)], facts={"dim": 3}, inputs=("b",))]
    )
    assert joined.column("value").tolist() == [1.0, 3.0]
    assert joined.facts == {"dim": [2, 3]}
    assert joined.inputs == ("a", "b")


def test_the_same_image_seen_by_several_seeds_is_one_replicate():
    parts = [
        evidence([("a", 1.0), ("b", 5.0)], replication="image"),
        evidence([("a", 3.0), ("b", 5.0)], replication="image"),
    ]
    joined = Evidence.joined(parts)
    assert len(joined) == 2
    assert dict(zip(joined.columns["item"], joined.columns["value"], strict=True)) == {"a": 2.0, "b": 5.0}


def test_labels_stay_whole_numbers_and_gaps_stay_gaps():
    columns = {"item": ("a", "b"), "label": (1, 0), "value": (2.0, None)}
    parts = [
        Evidence(probe="p", replication="image", columns=columns),
        Evidence(probe="p", replication="image", columns=columns | {"value": (None, None)}),
    ]
    joined = Evidence.joined(parts)
    assert joined.columns == {"item": ("a", "b"), "label": (1, 0), "value": (2.0, None)}


def test_evidence_of_different_plans_is_not_joined():
    with pytest.raises(MechlabError, match="different columns"):
        Evidence.joined(
            [evidence([("a", 1.0)]), Evidence(probe="p", replication="seed", columns={"x": (1,)})]
        )


def test_plain_turns_arrays_into_lists(rng):
    assert plain({"a": rng.integers(0, 9, (2, 1)) * 0, "b": (1, 2)}) == {"a": [[0], [0]], "b": [1, 2]}
