"""Freed memory goes back inside a phase, and seldom enough."""

from mechlab.train import heap


def test_a_heap_is_tidied_at_most_once_a_pause(monkeypatch):
    given, now = [], [100.0]
    monkeypatch.setattr(heap, "give_back", lambda: given.append(now[0]))
    monkeypatch.setattr(heap, "monotonic", lambda: now[0])
    one = heap.Heap()
    for seconds in (0.01, 0.1, 0.2, 0.01, 0.1, 0.5):
        now[0] += seconds
        one.tidy()
    assert given == [100.31, 100.92]
