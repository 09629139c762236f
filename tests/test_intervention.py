"""The text of an intervention says all of it, in one form, and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mechlab.errors import MechlabError
from mechlab.intervention import Ablate, Freeze, Patch, Swap, parse, while_testing, while_training
from mechlab.specs import EvalSpec

HASH = "0123456789ab"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ablate:flow.2:zero", Ablate(site="flow.2", value="zero")),
        ("ablate:flow.2:mean", Ablate(site="flow.2", value="mean")),
        ("ablate:flow.2:resample", Ablate(site="flow.2", value="resample", seed=0)),
        ("ablate:flow.2:resample:7", Ablate(site="flow.2", value="resample", seed=7)),
        ("ablate:type:Linear:zero", Ablate(site="type:Linear", value="zero")),
        ("ablate:type:Linear:resample:3", Ablate(site="type:Linear", value="resample", seed=3)),
        ("swap:0,1", Swap(first=0, second=1)),
        ("patch:adapted:" + HASH + ":activation/adapted",
         Patch(site="adapted", recording=HASH, key="activation/adapted")),
        ("patch:type:ReLU:" + HASH + ":latent/a",
         Patch(site="type:ReLU", recording=HASH, key="latent/a")),
        ("freeze:flow.*", Freeze(pattern="flow.*")),
    ],
)  # fmt: skip
def test_a_text_is_read(text, expected):
    assert parse(text) == expected
    assert parse(expected.text) == expected


names = st.from_regex(r"[a-z0-9_.*:]+", fullmatch=True)
interventions = st.one_of(
    st.builds(Ablate, site=names, value=st.sampled_from(["zero", "mean"])),
    st.builds(Ablate, site=names, value=st.just("resample"), seed=st.integers(0, 10**6)),
    st.builds(Freeze, pattern=names),
)


@given(interventions)
def test_what_is_written_is_what_is_read(intervention):
    assert parse(intervention.text) == intervention


def test_one_intervention_has_one_text():
    assert while_testing(["swap:1,0"]) == while_testing(["swap:0,1"]) == ("swap:0,1",)
    assert while_testing(["ablate:a:resample"]) == ("ablate:a:resample:0",)
    assert while_testing(["swap:1,0", "ablate:a:zero"]) == while_testing(["ablate:a:zero", "swap:0,1"])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("ablat:flow.2:zero", "no intervention named 'ablat'. Did you mean 'ablate'"),
        ("ablate:flow.2:nil", "write ablate:SITE:zero, ablate:SITE:mean or ablate:SITE:resample:SEED"),
        ("ablate:flow.2:resample:x", "is no intervention; write ablate"),
        ("ablate::zero", "is no intervention; write ablate"),
        ("swap:0", "write swap:FIRST,SECOND"),
        ("swap:1,1", "write swap:FIRST,SECOND"),
        ("swap:a,b", "write swap:FIRST,SECOND"),
        ("patch:adapted:runs/r/recordings/x:activation/adapted", "hash of 12 hex digits"),
        ("patch:adapted:" + HASH + ":adapted", "write patch:SITE:RECORDING:KEY"),
        ("freeze: ", "write freeze:PATTERN"),
    ],
)
def test_another_text_is_one_sentence(text, sentence):
    with pytest.raises(MechlabError, match=sentence):
        parse(text)


def test_training_freezes_and_testing_does_the_rest():
    with pytest.raises(MechlabError, match="'freeze:a' does not belong to an evaluation, which takes ablate"):
        while_testing(["freeze:a"])
    with pytest.raises(MechlabError, match="'swap:0,1' does not belong to a training, which takes freeze"):
        while_training(["swap:0,1"])


def test_the_same_intervention_twice_is_refused():
    with pytest.raises(MechlabError, match="'swap:0,1' is given twice"):
        while_testing(["swap:0,1", "swap:1,0"])


EVALUATION = dict(train="t", checkpoint=0, features=(), router="oracle", aggregation="max", sigma=0.0)


def test_an_evaluation_without_interventions_keeps_the_hash_it_always_had():
    assert EvalSpec(**EVALUATION).hash == "79c6fa90567b"


def test_a_spec_holds_the_canonical_text_and_its_hash_counts_it():
    one = EvalSpec(**EVALUATION, interventions=("swap:1,0", "ablate:a:resample"))
    two = EvalSpec(**EVALUATION, interventions=("ablate:a:resample:0", "swap:0,1"))
    assert one.interventions == ("ablate:a:resample:0", "swap:0,1")
    assert one.hash == two.hash != EvalSpec(**EVALUATION).hash


def test_a_spec_refuses_what_is_no_intervention():
    with pytest.raises(MechlabError, match="no intervention named 'ablat'"):
        EvalSpec(**EVALUATION, interventions=("ablat:a:zero",))
