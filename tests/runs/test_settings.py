"""A key that nothing reads is named, and refused with what it needs."""

import pytest

from mechlab.errors import MechlabError
from mechlab.runs.settings import refuse_unused, unused

NEEDS = {"kernel": ("mixer", ("depthwise", "full")), "alpha": ("rank", "nonzero")}


@pytest.mark.parametrize(
    ("parts", "idle"),
    [
        ({"mixer": "none", "rank": 0}, ("alpha", "kernel")),
        ({"mixer": "full", "rank": 0}, ("alpha",)),
        ({"mixer": "none", "rank": 4}, ("kernel",)),
        ({"mixer": "depthwise", "rank": 0.5}, ()),
    ],
    ids=str,
)
def test_idle_keys_are_those_whose_need_is_not_met(parts, idle):
    assert unused(["alpha", "blocks", "kernel"], parts=parts, needs=NEEDS) == idle


def test_a_key_that_is_read_is_not_refused():
    given = {"kernel": 3, "blocks": 2}
    refuse_unused(given, parts={"mixer": "full", "rank": 0}, needs=NEEDS)
    with pytest.raises(MechlabError, match="'kernel' was given"):  # the same words beside another mixer
        refuse_unused(given, parts={"mixer": "none", "rank": 0}, needs=NEEDS)


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        (
            "kernel",
            r"'kernel' was given, .* while mixer = none; set mixer to depthwise or full, leave 'k",
        ),
        ("alpha", r"nothing reads it while rank = 0; set rank to a value above 0, leave 'alpha' out, or let"),
    ],
)
def test_an_idle_key_is_refused_with_what_it_needs(key, sentence):
    with pytest.raises(MechlabError, match=sentence):
        refuse_unused({"blocks": 1, key: 3}, parts={"mixer": "none", "rank": 0}, needs=NEEDS)
