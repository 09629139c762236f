"""A refused combination passes by name alone, and an allowance is for something."""

import pytest

from mechlab.errors import MechlabError
from mechlab.runs.combinations import Combination, Judged, Setup, judge, refuse_idle
from mechlab.runs.settings import EvaluationSettings

LARGE = Combination(
    name="large",
    summary="",
    source="",
    holds=lambda setup: setup.parts["a"] > 2,
    words=lambda setup: {"double": 2 * setup.parts["a"]},
    sentence="a={a} is large, its double is {double}; set a=1",
)
WIDE = Combination(
    name="wide", summary="", source="", holds=lambda setup: setup.dim > 9, sentence="wide; narrow it"
)
TOLD = Combination(
    name="told", summary="", source="", holds=lambda setup: True, sentence="a={a}", is_warning=True
)


def setup(a, *, dim=4):
    return Setup(parts={"a": a}, preset={"a": 1}, evaluation=EvaluationSettings(), dim=dim)


def test_what_does_not_hold_passes_without_a_mark():
    assert judge(setup(1), (LARGE, WIDE), allow=()) == Judged()


def test_what_holds_is_one_sentence_with_its_values_and_the_name_to_give():
    sentence = "^a=3 is large, its double is 6; set a=1, or let it pass, marked, with --allow large[.]$"
    with pytest.raises(MechlabError, match=sentence):
        judge(setup(3), (WIDE, LARGE), allow=("wide",))


def test_what_is_allowed_is_marked_and_no_more():
    assert judge(setup(3), (WIDE, LARGE), allow=("wide", "large")).allowed == ("large",)
    assert judge(setup(3, dim=10), (WIDE, LARGE), allow=("wide", "large")).allowed == ("large", "wide")


def test_a_warning_is_told_and_never_refused():
    assert judge(setup(3), (TOLD,), allow=()) == Judged((), ("a=3.",))


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("large", "--allow large was given, but there is nothing by that name to let pass here"),
        ("top_k", "--allow top_k was given, but there is nothing by that name to let pass here"),
        ("kernel", "--allow kernel was given, but there is nothing by that name"),
        ("lrage", r"no combination to let pass named 'lrage'\. Did you mean 'large'"),
        ("told", "no combination to let pass named 'told'"),
    ],
)
def test_an_allowance_that_lets_nothing_pass_is_refused(name, sentence):
    with pytest.raises(MechlabError, match=sentence):
        refuse_idle((name,), (), combinations=(LARGE, TOLD), keys=("kernel",))


def test_an_allowance_that_was_needed_passes():
    needed = ("top_k", "large")
    refuse_idle(("large", "top_k"), needed, combinations=(LARGE,), keys=())
    for name in needed:  # and each is asked for
        with pytest.raises(MechlabError, match=rf"--allow {name} was given|no combination .* '{name}'"):
            refuse_idle(("large", "top_k"), tuple(set(needed) - {name}), combinations=(LARGE,), keys=())
