"""A base from another run: never trained, and what a task learns does not depend on earlier ones."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mechlab import fingerprint
from mechlab.errors import MechlabError
from mechlab.files import read_json
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


def named_alike(run, task):
    """What a task has of its own after the last one, by names that do not say its place."""
    last = len(run.spec().tasks) - 1
    return {re.sub(rf"(adapter|down|up|dia|router)\.{task}\.", r"\1.own.", name): value
            for name, value in weights(run, last).items() if task_of(name) == str(task)}  # fmt: skip


@pytest.mark.parametrize("parts", [{}, {"dsm": "sliced", "dia_blocks": 0}], ids=["nll", "score matching"])
def test_drawn_from_its_classes_a_task_is_the_same_at_every_place(parts, request_of, source):
    settings = request_of.settings | {"starts": "classes"} | parts
    allow = ("score-matching-with-dia",) if "dsm" in parts and parts.get("dia_blocks") else ()
    runs = [RunFolder.open(Path(train(replace(request_of, tasks=tasks, base_from=source.name, epochs=1,
                                              settings=settings, allow=allow))["path"]))
            for tasks in ("nut", "bolt,nut", "nut,pin")]  # fmt: skip
    own = [named_alike(run, place) for run, place in zip(runs, (0, 1, 0), strict=True)]
    assert any("flow" in name for name in own[0])
    for other in own[1:]:
        assert other.keys() == own[0].keys()
        assert all(torch.equal(own[0][name], other[name]) for name in other)
    found = [run.summary()["metrics"]["nut"]["given_image_auroc"] for run in runs]
    assert found[0] == found[1] == found[2]
    hashes = [read_json(run.path / "evals" / run.summary()["evaluation"] / "metrics.json")["hashes"]["nut"]
              for run in runs]  # fmt: skip
    assert len(set(hashes)) == 1


def test_drawn_from_its_place_it_is_another_and_the_key_renames_no_run(request_of, source, trained):
    first = RunFolder.open(Path(train(replace(request_of, tasks="nut", base_from=source.name))["path"]))
    own = [named_alike(run, place) for run, place in ((first, 0), (trained["given"][0], 1))]
    assert own[0].keys() == own[1].keys()
    assert not all(torch.equal(own[0][name], own[1][name]) for name in own[0])
    assert "starts" not in first.spec().parts


@pytest.mark.parametrize(
    "parts", [{"lora_first_task": False}, {"adapter_first_task": False}, {"later_warmup_epochs": 1}], ids=str
)
def test_what_treats_the_first_task_otherwise_is_refused(parts, request_of, source):
    settings = request_of.settings | {"starts": "classes"} | parts
    request = replace(request_of, tasks="nut", base_from=source.name, settings=settings)
    with pytest.raises(
        MechlabError, match=f"starts=classes makes no task the first one, and {next(iter(parts))}"
    ):
        train(request)


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
