"""A named value belongs to its aggregation; one that nothing reads is refused, or let pass by name."""

import pytest

from mechlab.errors import MechlabError
from mechlab.metrics.aggregation import MODES
from mechlab.runs.aggregation_keys import MODE_OF, merged
from mechlab.runs.settings import EvaluationSettings, split
from mechlab.specs import Spec, validated

DEFAULTS = EvaluationSettings().model_dump()


def test_a_named_value_is_the_value_of_its_mode():
    assert set(MODE_OF.values()) == set(MODES) - {"max", "mean", "adaptive"}, "which take no value"
    for key, mode in MODE_OF.items():
        found = merged(DEFAULTS, {"aggregation": mode, key: 0.5})
        assert (found["aggregation"], found["aggregation_value"], found["allowed"]) == (mode, 0.5, [])


def test_an_aggregation_without_a_value_has_its_own_default():
    assert merged(DEFAULTS, {"aggregation": "percentile"})["aggregation_value"] is None
    assert merged(DEFAULTS, {"sigma": 2.0})["aggregation_value"] == 3.0


def test_a_key_of_another_mode_is_refused_unless_it_is_let_pass():
    given = {"aggregation": "top_k_percent", "aggregation_value": 0.1, "top_k": 3}
    with pytest.raises(
        MechlabError, match="'top_k' was given, but nothing reads it while aggregation = top_k_p"
    ):
        merged(DEFAULTS, given)
    found = merged(DEFAULTS, given, allow=("top_k",))
    assert (found["aggregation_value"], found["allowed"]) == (0.1, ["top_k"])
    assert EvaluationSettings(**found).allowed == ("top_k",)


def test_a_value_given_twice_is_refused():
    with pytest.raises(MechlabError, match="is given twice, by 'top_k' and by 'aggregation_value'"):
        merged(DEFAULTS, {"aggregation": "top_k", "aggregation_value": 5, "top_k": 3})


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"aggregation": "top_p"}, "no aggregation named 'top_p'. Did you mean 'top_k'"),
        ({"aggregation": "max", "aggregation_value": 3.0}, "takes no value"),
        ({"aggregation": "top_k_percent", "aggregation_value": 3.0}, "a share above 0"),
        ({"aggregation": "top_k", "aggregation_value": 0.5}, "a whole number from 1"),
    ],
)
def test_what_cannot_be_scored_is_refused_before_a_training(settings, sentence):
    with pytest.raises(MechlabError, match=sentence):
        validated(EvaluationSettings, merged(DEFAULTS, settings), what="evaluation")


class Parts(Spec):
    blocks: int = 2


def test_the_mark_of_an_allowance_cannot_be_set():
    assert split({"cluster_weight": 1}, parts=Parts) == ({}, {}, {"cluster_weight": 1})
    with pytest.raises(MechlabError, match="no setting named 'allowed'"):
        split({"allowed": ["x"]}, parts=Parts)
