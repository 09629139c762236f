"""The queue: few rows do not wake the thread, enough of them do, and a full one always does."""

import threading

import numpy as np
import pytest

from mechlab.recording import backlog
from mechlab.recording.backlog import Backlog
from mechlab.recording.batch import Batch
from mechlab.recording.format import Column


def batch(nbytes):
    values = Column(np.zeros(1))
    return Batch(
        key="a/b", values=values, axes=("step",), coordinates={}, unit="1", attributes={}, nbytes=nbytes
    )


class Sleeper(threading.Thread):
    """A thread that takes one order."""

    def __init__(self, queue, *, timeout):
        super().__init__(daemon=True)
        self.queue, self.timeout, self.order = queue, timeout, None
        self.start()
        while queue._wakes_at is None and self.is_alive():
            pass  # until it sleeps

    def run(self):
        self.order = self.queue.take(timeout=self.timeout)

    def woke(self, *, within=10.0):
        self.join(within)
        return not self.is_alive()


@pytest.fixture(autouse=True)
def deep_sleep(monkeypatch):
    """The thread does not look by itself."""
    monkeypatch.setattr(backlog, "WAKE_SECONDS", 60.0)


@pytest.mark.parametrize("policy", ["block", "drop", "error"])
def test_a_thread_that_holds_nothing_wakes_for_the_first_row(policy):
    queue = Backlog(limit_bytes=2**28, policy=policy)
    sleeper = Sleeper(queue, timeout=None)
    assert queue.put(batch(8))
    assert sleeper.woke() and sleeper.order.nbytes == 8


def test_a_thread_that_holds_rows_sleeps_until_many_wait():
    queue = Backlog(limit_bytes=2**28, policy="block")
    sleeper = Sleeper(queue, timeout=60.0)
    for _ in range(3):
        assert queue.put(batch(2**20))
    assert not sleeper.woke(within=0.2)
    assert queue.put(batch(2**20))
    assert sleeper.woke()


@pytest.mark.parametrize("policy", ["block", "drop", "error"])
def test_a_small_queue_wakes_the_thread_before_it_is_full(policy):
    queue = Backlog(limit_bytes=1000, policy=policy)
    sleeper = Sleeper(queue, timeout=60.0)
    assert queue.put(batch(600))
    assert sleeper.woke()
    queue.written(sleeper.order)
    assert queue.put(batch(600)), "nothing is given up while the thread is idle"


def test_a_thread_that_holds_rows_wakes_when_they_are_due():
    sleeper = Sleeper(Backlog(limit_bytes=1000, policy="block"), timeout=0.05)
    assert sleeper.woke() and sleeper.order is None
