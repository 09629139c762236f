"""The writer's thread leaves the interpreter to the caller between keys, unless the caller waits for it."""

import time
from types import SimpleNamespace

import numpy as np
import pytest

from mechlab.recording import Writer, commits
from mechlab.recording.backlog import Backlog
from mechlab.recording.batch import Batch
from mechlab.recording.format import Column

KEYS = ("loss/a", "loss/b", "loss/c")


@pytest.fixture
def pauses(monkeypatch):
    """Return the list that grows by each pause of the thread."""
    taken: list[float] = []
    monkeypatch.setattr(commits, "time", SimpleNamespace(sleep=taken.append, monotonic=time.monotonic))
    monkeypatch.setattr(commits, "PAUSE_EVERY", 0.0)
    return taken


def append(writer: Writer, *, size: int = 1) -> None:
    for key in KEYS:
        writer.append(
            key, np.zeros((1, size)), axes=("step", "dim"), coordinates={"step": np.array([0])}, unit="1"
        )


def until(condition) -> None:
    limit = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.005)


def test_a_commit_that_is_due_pauses_after_each_key(tmp_path, pauses):
    with Writer.create(tmp_path, attributes={}, flush_seconds=0.4) as writer:
        append(writer)
        until(lambda: writer.position == 1)
        assert len(pauses) == 2 * len(KEYS), "once for the rows and once for the commit of each key"


def test_a_caller_that_waits_for_a_commit_is_not_paused_for(tmp_path, pauses):
    with Writer.create(tmp_path, attributes={}, flush_seconds=1000.0) as writer:
        append(writer)
        writer.commit()
        assert len(pauses) == len(KEYS), "for the rows, which were taken before"
        append(writer)
        writer.commit()
        assert len(pauses) == 2 * len(KEYS), "the first flush is over"


def test_little_work_is_not_interrupted(tmp_path, pauses, monkeypatch):
    monkeypatch.setattr(commits, "PAUSE_EVERY", 1e9)
    with Writer.create(tmp_path, attributes={}, flush_seconds=0.4) as writer:
        append(writer)
        until(lambda: writer.position == 1)
    assert pauses == []


def test_a_queue_that_fills_up_is_emptied_without_a_pause(tmp_path, pauses, monkeypatch):
    monkeypatch.setattr(Backlog, "is_pressing", property(lambda self: True))
    with Writer.create(tmp_path, attributes={}, flush_seconds=0.4) as writer:
        append(writer)
        until(lambda: writer.position == 1)
    assert pauses == []


def test_a_queue_presses_from_a_quarter_on():
    values = Column(np.zeros((1, 3)))
    rows = Batch(key="loss/a", values=values, axes=("step", "dim"), coordinates={}, unit="1", attributes={},
                 nbytes=24)  # fmt: skip
    queue = Backlog(limit_bytes=90, policy="block")
    assert not queue.is_pressing
    assert queue.put(rows)
    assert queue.is_pressing
    queue.written(rows)
    assert not queue.is_pressing


def test_a_slow_disk_makes_the_next_commits_begin_earlier_but_not_before_half_the_time(tmp_path, monkeypatch):
    plain = commits.Segment.commit

    def slow(segment, **named):
        clock[0] += spent
        return plain(segment, **named)

    clock, spent = [0.0], 100.0
    monkeypatch.setattr(commits.Segment, "commit", slow)
    monkeypatch.setattr(commits.time, "monotonic", lambda: clock[0])
    with Writer.create(tmp_path, attributes={}, flush_seconds=1000.0) as writer:
        assert writer._commits._due_seconds == 750.0
        append(writer)
        writer.commit()
        assert writer._commits._due_seconds == 650.0
        spent = 900.0
        append(writer)
        writer.commit()
        assert writer._commits._due_seconds == 500.0
