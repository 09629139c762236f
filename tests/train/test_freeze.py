"""What is frozen keeps every bit, no group holds it, and a freeze that would do nothing is refused first."""

from dataclasses import replace
from pathlib import Path

import pytest

from mechlab import fingerprint
from mechlab.errors import MechlabError
from mechlab.runs.folder import RunFolder
from mechlab.train import scopes
from mechlab.train.session import plan_of, resolve, train
from mechlab.train.stage import ParameterGroup, Stage


def stage(**scoped):
    moving = tuple(name for name, scope in scoped.items() if scope != "frozen")
    groups = (ParameterGroup(parameters=moving, learning_rate=0.1),) if moving else ()
    return Stage(scopes=scoped, groups=groups, epochs=1, batch_size=1)


TWO = [
    stage(**{"flow.0.w": "first-task", "flow.0.up.0": "per-task", "head": "frozen"}),
    stage(**{"flow.0.w": "frozen", "flow.0.up.1": "per-task", "head": "frozen"}),
]


@pytest.mark.parametrize("pattern", ["flow.0.w", "flow.*.w", "*.w"])
def test_a_frozen_parameter_is_in_no_group_and_its_scope_says_so(pattern):
    found = scopes.frozen(TWO[0], [pattern])
    assert found.scopes == {"flow.0.w": "frozen", "flow.0.up.0": "per-task", "head": "frozen"}
    assert found.groups[0].parameters == ("flow.0.up.0",)
    assert TWO[0].scopes["flow.0.w"] == "first-task"


def test_a_path_freezes_what_is_below_it():
    assert scopes.frozen(TWO[0], ["flow.0"]).groups == ()
    assert scopes.frozen(TWO[0], ["flow.0.up"]).groups[0].parameters == ("flow.0.w",)
    assert scopes.frozen(TWO[0], ["flo"]) == TWO[0]


def test_without_patterns_the_stage_is_the_same():
    assert scopes.frozen(TWO[0], ()) is TWO[0]


@pytest.mark.parametrize(
    ("patterns", "sentence"),
    [
        (["flw.0.w"], "no parameter to freeze named 'flw.0.w'. Did you mean 'flow.0.w'"),
        (["flwo.*"], r"no parameter to freeze named 'flwo.\*'. Did you mean 'flow.\*'\? Known: flow.*more"),
        (["head"], "'head' selects only parameters that no task trains, e.g. 'head'; freezing them would do"),
        (["flow.0.w", "head"], "'head' selects only parameters that no task trains"),
        (["flow.0"], "freezing flow.0 leaves task 0 nothing to train"),
        (["flow.0.up.1"], "freezing flow.0.up.1 leaves task 1 nothing to train"),
    ],
    ids=["nothing", "no path", "frozen anyway", "one of two", "all", "all of a later task"],
)
def test_a_freeze_that_cannot_be_meant_is_one_sentence(patterns, sentence):
    with pytest.raises(MechlabError, match=sentence):
        scopes.refuse_idle_freeze(TWO, patterns)


def test_a_parameter_of_a_later_task_may_be_frozen():
    stages = [TWO[0], stage(**{"flow.0.w": "frozen", "flow.0.up.1": "per-task", "dia": "per-task"})]
    scopes.refuse_idle_freeze(stages, ["flow.0.up.1"])
    assert scopes.frozen(stages[0], ["flow.0.up.1"]) == stages[0]


@pytest.fixture(scope="session")
def frozen_run(small_request, tmp_path_factory):
    request = replace(small_request, freeze=("flow.0.*",), out=tmp_path_factory.mktemp("frozen"))
    return RunFolder.open(Path(train(request)["path"]))


def test_a_frozen_block_keeps_every_bit_and_the_others_move(frozen_run, small_run):
    for task, print_ in enumerate(fingerprint.load(frozen_run.path / "fingerprint.json")):
        mine = {item.name: item for item in print_.declared}
        theirs = fingerprint.load(small_run.path / "fingerprint.json")[task]
        for item in theirs.declared:
            still = item.name.startswith("flow.0.")
            assert mine[item.name].scope == ("frozen" if still else item.scope)
            assert (mine[item.name].learning_rate is None) == (still or item.learning_rate is None)
            assert print_.moved[item.name] == (not still and theirs.moved[item.name])


def test_a_freeze_is_part_of_what_was_trained(frozen_run, small_run):
    assert frozen_run.spec().interventions == ("freeze:flow.0.*",)
    assert frozen_run.spec().hash != small_run.spec().hash
    assert fingerprint.differing_keys(frozen_run.spec(), small_run.spec()) == ("interventions",)
    assert plan_of(frozen_run).spec == frozen_run.spec()
    assert frozen_run.summary()["trajectory"] != small_run.summary()["trajectory"]


def test_a_run_without_a_freeze_keeps_its_hash(small_request, small_run):
    document = small_request.document()
    del document["freeze"]  # as runs on disk have it
    from mechlab.runs.request import TrainRequest

    assert resolve(TrainRequest.read(document)).spec.hash == small_run.spec().hash


@pytest.mark.parametrize("pattern", ["flw.*", "router.*", "*"])
def test_a_freeze_is_refused_before_anything_is_written(small_request, tmp_path, pattern):
    with pytest.raises(MechlabError, match=r"to freeze named|leaves task 0 nothing"):
        train(replace(small_request, freeze=(pattern,), out=tmp_path / "runs"))
    assert not (tmp_path / "runs").exists()
