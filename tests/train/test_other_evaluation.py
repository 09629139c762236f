"""A finished run asked for under other evaluation settings is scored anew, never read as if it were so."""

import shutil
from dataclasses import replace

import pytest

from mechlab.errors import MechlabError
from mechlab.files import read_json
from mechlab.runs.folder import RunFolder
from mechlab.train.session import plan_of, resolve, train

ORACLE = {"router": "oracle", "aggregation": "max"}


@pytest.fixture
def request_of(small_run, small_request, tmp_path):
    """The small run in a folder of its own, and what asks for it under further settings."""
    shutil.copytree(small_run.path, tmp_path / small_run.name)

    def asked(settings, **words):
        return replace(small_request, settings=small_request.settings | settings, out=tmp_path, **words)

    return asked


def test_other_settings_give_other_metrics_and_train_nothing(request_of, small_run, tmp_path):
    run = RunFolder.open(tmp_path / small_run.name)
    weights = sorted(path.stat().st_mtime_ns for path in (run.path / "checkpoints").rglob("*.safetensors"))
    heard = []
    found = train(request_of(ORACLE), report=heard.append)
    assert heard == [f"{run.name} is already trained; evaluating it as asked: {found['evaluation']}"]
    assert found["metrics"]["bolt"]["routing_accuracy"] == 1.0
    assert found["evaluation"] != run.summary()["evaluation"]
    evaluated = read_json(run.path / "evals" / found["evaluation"] / "metrics.json")
    assert found["metrics"] == evaluated["metrics"]
    assert evaluated["spec"]["router"] == "oracle" and evaluated["spec"]["aggregation"] == "max"
    assert len(found["accuracy_matrix"]) == 2
    again = sorted(path.stat().st_mtime_ns for path in (run.path / "checkpoints").rglob("*.safetensors"))
    assert weights == again


def test_the_first_summary_stays_and_each_way_to_ask_has_its_own(request_of, small_run, tmp_path):
    run = RunFolder.open(tmp_path / small_run.name)
    before = run.summary()
    other = train(request_of(ORACLE))
    assert train(request_of({})) == before == run.summary()
    assert train(request_of(ORACLE)) == other == run.summary(other["evaluation"])
    assert before["metrics"] != other["metrics"]


def test_a_mark_is_kept_by_a_run_that_is_only_scored_again(request_of, small_run):
    words = {"aggregation": "top_k_percent", "top_k": 3}
    with pytest.raises(MechlabError, match=r"with --allow top_k\."):
        train(request_of(words))
    marked = train(request_of(words, allow=("top_k",)))
    assert marked["allowed"] == ["top_k"]
    assert "allowed" not in train(request_of({"aggregation": "top_k_percent"}))


def test_a_combination_marks_spec_summary_and_run(small_request, tmp_path):
    settings = small_request.settings | {"context_kernel": 4, "tail_weight": 0.0, "tail_ratio": 0.1}
    request = replace(small_request, settings=settings, tasks="bolt", epochs=1, out=tmp_path)
    with pytest.raises(MechlabError, match=r"nothing reads it while tail_weight = 0\.0.*--allow tail_ratio"):
        resolve(request)
    with pytest.raises(MechlabError, match=r"context_kernel=4 is even.*--allow even-kernel"):
        resolve(replace(request, allow=("tail_ratio",)))
    allowed = ("tail_ratio", "even-kernel")
    summary = train(replace(request, allow=allowed))
    run = RunFolder.open(tmp_path / summary["run"])
    assert summary["allowed"] == ["even-kernel", "tail_ratio"]
    assert run.spec().allowed == run.allowed == ("even-kernel", "tail_ratio")
    assert plan_of(run).spec == run.spec()
    with pytest.raises(MechlabError, match="--allow deep-flow was given, but there is nothing by that name"):
        resolve(replace(request, allow=(*allowed, "deep-flow")))


def test_what_is_only_told_is_told_before_the_training(small_request, tmp_path):
    settings = small_request.settings | {"blocks": 12}
    request = replace(small_request, settings=settings, tasks="bolt", epochs=1, out=tmp_path)
    heard = []
    assert "allowed" not in train(request, report=heard.append)
    assert heard[0].startswith("warning: blocks=12: with 12 coupling blocks and DIA 2")


def test_a_name_that_contradicts_its_settings_is_refused(small_request):
    with pytest.raises(MechlabError, match=r"the name 'TopK5' says top_k 5, and top_k is 3\.0; correct one"):
        resolve(replace(small_request, name="TopK5"))
    assert resolve(replace(small_request, name="TopK3")).spec == resolve(small_request).spec
