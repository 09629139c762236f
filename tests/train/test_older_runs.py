"""Runs from before some keys existed load, evaluate and go on; a key that is none is still refused."""

import json
import shutil
from dataclasses import replace

import pytest

from mechlab.errors import MechlabError
from mechlab.files import read_json, write_json
from mechlab.runs.folder import RunFolder
from mechlab.runs.parts import defaults
from mechlab.train.session import plan_of, reevaluate, resolve, train

GONE = ("reduction", "focal", "branch", "coupling")  # keys that this older run had not heard of


def aged(run, place, *, parts):
    """Copy a run under another name, as a mechlab wrote it whose specs held all keys of its time."""
    copy = place / "moleflow-0123456789ab"
    shutil.copytree(run.path, copy)
    document = read_json(copy / "run.json")
    document["spec"]["parts"] = parts
    document.pop("parts")
    write_json(copy / "run.json", document)
    return RunFolder.open(copy)


@pytest.fixture
def older(small_run, tmp_path):
    whole = {key: value for key, value in small_run.parts().items() if key not in ("epochs", "batch_size")}
    return aged(small_run, tmp_path, parts={key: value for key, value in whole.items() if key not in GONE})


def test_an_older_run_has_the_spec_of_today(older, small_run):
    assert older.spec() == small_run.spec()
    assert {key: older.parts()[key] for key in GONE} == {key: defaults("moleflow")[key] for key in GONE}
    assert plan_of(older).parts == plan_of(small_run).parts


def test_an_older_run_is_evaluated_as_it_was(older, small_run):
    words = {"router": "oracle"}
    assert reevaluate(older, settings=words)["metrics"] == reevaluate(small_run, settings=words)["metrics"]


def test_an_older_run_is_found_under_its_older_name_and_not_trained_again(older, small_request):
    request = replace(small_request, out=older.path.parent)
    heard = []
    train(request, report=heard.append)
    assert heard == [f"{older.name} is already trained; reading its summary"]
    assert [path.name for path in older.path.parent.glob("moleflow-*")] == [older.name]


def test_an_older_run_goes_on_where_it_stood(older, small_request, small_run):
    (older.path / "summary.json").unlink()
    shutil.rmtree(older.path / "checkpoints" / "after_task_1")
    shutil.rmtree(older.path / "evals")
    train(replace(small_request, out=older.path.parent))
    weights = "checkpoints/after_task_1/weights.safetensors"
    assert (older.path / weights).read_bytes() == (small_run.path / weights).read_bytes()
    assert older.summary()["metrics"] == small_run.summary()["metrics"]


def test_a_key_that_is_none_is_refused(small_run, tmp_path):
    run = aged(small_run, tmp_path, parts=small_run.spec().parts | {"redution": "sum"})
    with pytest.raises(MechlabError, match=r"no moleflow key named 'redution'\. Did you mean 'reduction'"):
        reevaluate(run, settings={})


def test_a_run_whose_preset_has_changed_since_is_read_by_its_own_spec(small_run, monkeypatch):
    from mechlab import systems

    preset = systems.preset("moleflow", "reduced")
    changed = replace(preset, parts=dict(preset.parts) | {"blocks": 3, "reduction": "sum"})
    monkeypatch.setattr(systems, "preset", lambda system, name: changed)
    assert plan_of(small_run).parts["blocks"] == preset.parts["blocks"]
    assert plan_of(small_run).spec == small_run.spec()


def test_a_run_of_another_default_is_not_taken_for_the_same(small_run, small_request, tmp_path):
    copy = tmp_path / small_run.name
    shutil.copytree(small_run.path, copy)
    document = json.loads((copy / "run.json").read_text())
    document["parts"]["focal_gamma"] = 1.0
    write_json(copy / "run.json", document)
    with pytest.raises(MechlabError, match=r"when the default of 'focal_gamma' was 1\.0, and it is 2\.0 now"):
        resolve(replace(small_request, out=tmp_path))
