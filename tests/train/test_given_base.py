"""A base from another run: never trained, and what a task learns does not depend on earlier ones."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mechlab import fingerprint
from mechlab.errors import MechlabError
from mechlab.runs.folder import RunFolder
from mechlab.train.session import plan_of, resolve, train
from reproductions.moleflow.task_names import is_given, task_of


@pytest.fixture(scope="module")
def request_of(tmp_path_factory, small_request, draw_pictures):
    """A request over three classes whose base is that of a run on the first one."""
    place = tmp_path_factory.mktemp("given")
    root = draw_pictures(place / "pictures", classes=("bolt", "nut", "pin"))
    settings = small_request.settings | {"mixer": "depthwise"}
    return replace(
        small_request, root=root, tasks="bolt", settings=settings, out=place / "runs", cache=place / "cache"
    )


@pytest.fixture(scope="module")
def source(request_of):
    return RunFolder.open(Path(train(request_of)["path"]))


@pytest.fixture(scope="module")
def trained(request_of, source):
    """Streams that end with the same class after another one."""

    def run(tasks, **words):
        return RunFolder.open(Path(train(replace(request_of, tasks=tasks, **words))["path"]))

    return {
        "given": [run(tasks, base_from=source.name) for tasks in ("bolt,nut", "pin,nut")],
        "own": [run(tasks) for tasks in ("bolt,nut", "pin,nut")],
    }


def weights(run, task):
    return load_file(run.checkpoint(task) / "weights.safetensors")


def test_the_base_is_the_other_run_s_to_the_bit_after_every_task(trained, source):
    theirs = {name: value for name, value in weights(source, 0).items() if is_given(name)}
    assert {name.split(".")[0] for name in theirs} == {"flow", "mixer"}
    for run in trained["given"]:
        for task in (0, 1):
            found = weights(run, task)
            assert all(torch.equal(found[name], value) for name, value in theirs.items())
    stages = fingerprint.load(trained["given"][0].path / "fingerprint.json")
    for stage in stages:
        assert {item.scope for item in stage.declared if is_given(item.name)} == {"frozen"}
        assert not any(moved for name, moved in stage.moved.items() if is_given(name))


def test_a_task_learns_the_same_whatever_came_before_it(trained):
    one, two = (weights(run, 1) for run in trained["given"])
    own = [name for name in one if task_of(name) == "1"]
    assert own and all(torch.equal(one[name], two[name]) for name in own)
    one, two = (weights(run, 1) for run in trained["own"])  # here the first task makes the base
    assert not all(torch.equal(one[name], two[name]) for name in own)


def test_scores_given_the_id_are_the_same_in_either_stream(trained):
    found = [run.summary()["metrics"]["nut"]["given_image_auroc"] for run in trained["given"]]
    assert found[0] == found[1]
    assert trained["given"][0].summary()["scores_identical"] is True


def test_the_training_is_named_by_the_bytes_that_it_takes(trained, source, request_of):
    run = trained["given"][0]
    assert run.parts()["base"] == "given"
    assert len(run.parts()["base_weights"]) == 12
    assert plan_of(run).spec == run.spec()
    by_path = resolve(replace(request_of, tasks="bolt,nut", base_from=str(source.path)))
    assert by_path.spec == run.spec()


def test_what_cannot_be_a_base_is_refused(request_of, source, trained):
    with pytest.raises(MechlabError, match="base=given takes what tasks share from another run; name it"):
        resolve(replace(request_of, settings=request_of.settings | {"base": "given"}))
    with pytest.raises(MechlabError, match=r"no run in .* named 'moleflow-zz'"):
        resolve(replace(request_of, base_from="moleflow-zz"))
    other = replace(request_of, settings=request_of.settings | {"blocks": 3}, base_from=source.name)
    with pytest.raises(MechlabError, match=r"does not fit: 'flow\.2\.\S+' is absent there and \("):
        train(other)
