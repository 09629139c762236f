"""Laws of following a training: its cost is noted, and a disk too small or full is told or outlived."""

import errno
import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from mechlab import recording
from mechlab.errors import MechlabError
from mechlab.instrument import watching
from mechlab.recording import forecast, segment
from mechlab.train import session, tasks
from mechlab.train.session import train

PLAN = """
- {site: "flow.*", quantity: gradient, reduction: norm}
- {site: latent, quantity: latent}
"""


@pytest.fixture
def asked(small_request, tmp_path):
    plan = tmp_path / "plan.yaml"
    plan.write_text(PLAN)
    return replace(small_request, record=plan, out=tmp_path / "runs")


def folder_of(request):
    return next(request.out.glob("*/recordings/*"))


def steps_of(found, key="latent/latent"):
    return list(dict.fromkeys(found[key].coordinates["step"].tolist()))


def test_a_training_says_what_its_recording_cost(asked):
    summary = train(asked)
    told = summary["recording"]
    assert told["path"] == str(folder_of(asked))
    assert told["bytes"] == (folder_of(asked) / "recording.h5").stat().st_size
    assert told["overhead_ratio"] > 1
    assert told["dropped"] == 0
    with recording.open(told["path"]) as found:
        overhead = found.facts["overhead"]
        assert overhead["steps"] == len(steps_of(found)) > 0
        assert overhead["seconds"] > overhead["seconds_in_hooks"] > 0
    json.dumps(summary, allow_nan=False)


def test_a_training_that_records_nothing_says_so(small_summary):
    assert small_summary["recording"] is None


def test_a_finished_run_that_did_not_follow_the_plan_says_so(asked, small_request, small_summary):
    with pytest.raises(MechlabError, match=r"is already trained and did not follow the plan .*plan.yaml"):
        train(replace(small_request, record=asked.record))
    first = train(asked)
    assert train(asked) == first, "one that did is only read"
    assert train(replace(small_request)) == small_summary


class Killed(BaseException):
    """Stands in for a signal."""


def stopped(request, monkeypatch, *, when):
    """Train a request and stop it when a step has ended of which `when` is true."""
    after = watching.Watch.after

    def stop(self, step):
        after(self, step)
        if when(step):
            raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(watching.Watch, "after", stop)
        train(request)


def test_what_was_spent_before_an_interruption_counts(asked, monkeypatch):
    monkeypatch.setattr(tasks, "EVERY_SECONDS", 0.0)
    stopped(asked, monkeypatch, when=lambda step: step.step == 5)
    train(asked)
    with recording.open(folder_of(asked)) as found:
        steps = steps_of(found)
        assert steps == list(range(len(steps))), "each step once"
        assert found.facts["overhead"]["steps"] > len(steps), "the steps that were done again cost as well"


def frozen_later(request, tmp_path):
    """Return a request that records what trains in the first task alone: nothing of it comes later."""
    plan = tmp_path / "frozen.yaml"
    plan.write_text("- {site: flow.0.subnet.t1.base, quantity: row_contribution}")
    return replace(request, record=plan)


def test_what_is_frozen_in_a_later_task_is_recorded_while_it_trains(asked, tmp_path):
    told = train(frozen_later(asked, tmp_path))["recording"]
    with recording.open(told["path"]) as found:
        stages = found["row_contribution/flow.0.subnet.t1.base"].coordinates["stage"]
        assert set(stages.tolist()) == {0}
        assert found.facts["overhead"]["silent"] == []


def test_and_where_the_training_resumes_in_the_later_task(asked, tmp_path, monkeypatch):
    request = frozen_later(asked, tmp_path)
    stopped(request, monkeypatch, when=lambda step: step.task == 1)
    told = train(request)["recording"]
    with recording.open(told["path"]) as found:
        assert set(found["row_contribution/flow.0.subnet.t1.base"].coordinates["stage"].tolist()) == {0}
        assert found.facts["overhead"]["silent"] == []


def test_what_is_silent_in_every_task_is_an_error_at_the_end(asked, tmp_path):
    request = replace(frozen_later(asked, tmp_path), freeze=("flow.0.*",))
    sentence = r"nothing was recorded of row_contribution at 'flow\.0\.subnet\.t1\.base' in (\d+) steps"
    with pytest.raises(MechlabError, match=sentence) as told:
        train(request)
    with recording.open(folder_of(asked)) as found:
        assert found.facts["overhead"]["silent"] == ["row_contribution/flow.0.subnet.t1.base"]
        assert f"in {found.facts['overhead']['steps']} steps" in str(told.value), "those of all tasks"


def test_what_a_broken_training_did_not_record_does_not_hide_the_fault(asked, tmp_path, monkeypatch):
    request = replace(frozen_later(asked, tmp_path), freeze=("flow.0.*",))
    stopped(request, monkeypatch, when=lambda step: step.step == 1)


def test_too_little_disk_is_told_after_the_first_step(asked, monkeypatch):
    monkeypatch.setattr(forecast.shutil, "disk_usage", lambda _: SimpleNamespace(free=20_000))
    sentence = r"would take .* a step × \d+ steps, .* of checkpoints\) and 20.0 kB are free .*; record fewer"
    with pytest.raises(MechlabError, match=sentence):
        train(asked)
    with recording.open(folder_of(asked)) as found:
        assert steps_of(found) == [0]


@pytest.fixture
def full_disk(monkeypatch):
    """Let the disk of recordings be full from the first checkpoint on."""
    monkeypatch.setattr(tasks, "EVERY_SECONDS", 0.0)
    commit, sync = watching.Watch.commit, segment.sync

    def no_space(path):
        if path.suffix == ".part":
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(path)

    def committed(self):
        position = commit(self)
        monkeypatch.setattr(segment, "sync", no_space)
        return position

    monkeypatch.setattr(watching.Watch, "commit", committed)


def test_a_disk_that_fills_up_stops_the_training_which_can_be_resumed(asked, full_disk, monkeypatch):
    with pytest.raises(MechlabError, match="the disk is full; free some space"):
        train(asked)
    with recording.open(folder_of(asked)) as found:
        found.verify()
        kept = steps_of(found)
        assert kept == list(range(len(kept))) and kept
    monkeypatch.undo()
    train(asked)
    with recording.open(folder_of(asked)) as found:
        assert found.is_packed
        steps = steps_of(found)
        assert steps == list(range(len(steps))) and len(steps) > len(kept)


def test_a_run_that_broke_after_its_last_step_is_packed_when_it_is_resumed(asked, monkeypatch):
    plain = session._evaluated

    def broken(plan, system, *, stage, **named):
        if stage == 1:
            raise OSError("pulled out")
        return plain(plan, system, stage=stage, **named)

    with monkeypatch.context() as patch:
        patch.setattr(session, "_evaluated", broken)
        with pytest.raises(OSError, match="pulled out"):
            train(asked)
    with recording.open(folder_of(asked)) as found:
        assert not found.is_packed
        steps = steps_of(found)
    told = train(asked)["recording"]
    with recording.open(folder_of(asked)) as found:
        assert found.is_packed
        assert steps_of(found) == steps == list(range(found.facts["overhead"]["steps"]))
    assert (told["dropped"], told["overhead_ratio"] > 1) == (0, True)


def test_or_lets_it_go_on_without_recording(asked, full_disk, small_summary, caplog):
    summary = train(replace(asked, record_fault="go-on"))
    assert summary["trajectory"] == small_summary["trajectory"], "the training itself is what it always was"
    assert summary["recording"]["dropped"] > 0
    assert caplog.text.count("The loop goes on without recording") == 1
    with recording.open(folder_of(asked)) as found:
        found.verify()
        assert steps_of(found)[-1] < found.facts["overhead"]["steps"] or steps_of(found)
        assert "the disk is full" in found.facts["fault"]["reason"]
        assert found.facts["fault"]["dropped_rows"] == summary["recording"]["dropped"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ({"record_fault": "ignore", "record": "plan.yaml"}, "fault of the recording named 'ignore'"),
        ({"record_fault": "go-on"}, "--record-fault go-on was given without --record"),
    ],
    ids=["unknown", "unused"],
)
def test_an_answer_to_faults_that_is_unknown_or_unused_is_refused(words, sentence):
    from mechlab.runs.request import TrainRequest

    with pytest.raises(MechlabError, match=sentence):
        TrainRequest.read(words)
