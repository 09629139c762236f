"""The graph of a window: every feature against plain loops over messages, and laws of all windows."""

from itertools import pairwise

import numpy as np
import pytest

from mechlab.errors import MechlabError
from reproductions.can_ids import windows
from reproductions.can_ids.log import Log
from reproductions.can_ids.vocabulary import Vocabulary


def a_log(ids, *, time=None, payload=None, attack=None):
    size = len(ids)
    return Log(
        time=np.arange(size, dtype=np.float64) if time is None else np.asarray(time, dtype=np.float64),
        ids=np.array(ids, dtype=np.uint32),
        payload=np.zeros((size, 8), dtype=np.uint8) if payload is None else payload,
        length=np.full(size, 8, dtype=np.uint8),
        attack=None if attack is None else np.array(attack, dtype=bool),
    )


def by_loops(log, first, window, vocabulary):
    """The nodes and edges of one window, message by message."""
    ids, times = log.ids[first : first + window].tolist(), log.time[first : first + window]
    names = sorted(set(ids))
    counts = [ids.count(name) for name in names]
    width = max(counts) - min(counts)
    nodes = []
    for name, count in zip(names, counts, strict=True):
        places = [place for place, each in enumerate(ids) if each == name]
        index = vocabulary.known.index(name) if name in vocabulary.known else len(vocabulary.known)
        mean = log.payload[first : first + window][places].mean(axis=0) / 255
        share = (count - min(counts)) / width if width else 0.0
        nodes.append([index, *mean, share, places[-1] / (window - 1)])
    pairs = list(pairwise(ids))
    edges = {}
    for source, target in sorted(set(pairs)):
        places = [place for place, pair in enumerate(pairs) if pair == (source, target)]
        steps = np.diff(places)
        from_, to = (sum(name in pair for pair in pairs) for name in (source, target))
        deviation = float(np.std(steps)) if len(steps) else 0.0
        edges[names.index(source), names.index(target)] = [
            len(places), len(places) / window, float(np.mean(steps)) if len(steps) else 0.0, deviation,
            1 / (1 + deviation) if len(steps) else 0.0, places[0] / window, places[-1] / window,
            (places[-1] - places[0]) / window, float((target, source) in pairs), from_ * to, from_ / to,
        ]  # fmt: skip
    shortest = [
        min(np.diff([time for time, each in zip(times, ids, strict=True) if each == name]), default=np.inf)
        for name in names
    ]
    return names, nodes, counts, shortest, edges


@pytest.mark.parametrize(
    ("kinds", "window", "stride"),
    [(12, 100, 100), (90, 100, 100), (3, 20, 7), (1, 5, 5), (2, 2, 3), (40, 64, 100)],
)
def test_every_feature_is_that_of_plain_loops(graphs, rng, kinds, window, stride):
    size = 5 * max(window, stride) + 3
    log = a_log(
        rng.integers(0, kinds, size) * 0x11, time=np.cumsum(rng.exponential(0.001, size)),
        payload=rng.integers(0, 256, (size, 8)).astype(np.uint8),
    )  # fmt: skip
    vocabulary = Vocabulary(tuple(range(0, kinds * 0x11, 0x22)))
    found = graphs(log, vocabulary=vocabulary, window=window, stride=stride)
    firsts = range(0, size - window + 1, stride)
    assert len(found) == len(firsts)
    for number, first in enumerate(firsts):
        one = found.span(number, number + 1)
        names, nodes, counts, shortest, edges = by_loops(log, first, window, vocabulary)
        assert one.can_ids.tolist() == names and one.counts.tolist() == counts
        assert np.allclose(one.x, nodes, atol=1e-6)
        assert np.allclose(one.shortest, shortest, rtol=1e-5)
        assert [tuple(pair) for pair in one.edge_index.T.tolist()] == list(edges)
        assert np.allclose(one.edge_attr, list(edges.values()), rtol=1e-6, atol=1e-6)
        assert (one.start[0], one.end[0]) == (log.time[first], log.time[first + window - 1])


def test_a_window_by_hand(graphs):
    found = graphs(a_log([0xA, 0xB, 0xA, 0xB, 0xC, 0xA]), window=6, stride=6)
    assert found.edge_index.T.tolist() == [[0, 1], [1, 0], [1, 2], [2, 0]]  # A-B, B-A, B-C, C-A
    assert found.edge_attr[0].tolist() == pytest.approx([2, 2 / 6, 2, 0, 1, 0, 2 / 6, 2 / 6, 1, 16, 1])
    assert found.edge_attr[2].tolist() == pytest.approx([1, 1 / 6, 0, 0, 0, 3 / 6, 3 / 6, 0, 0, 8, 2])
    assert found.x[:, 9].tolist() == [1, 0.5, 0] and found.x[:, 10].tolist() == pytest.approx([1, 0.6, 0.8])


def test_no_pair_of_a_window_is_lost(graphs, bus):
    found = graphs(bus(attack="fuzzing"), window=100)
    pairs = np.add.reduceat(found.edge_attr[:, 0], found.edge_ptr[:-1])
    assert (pairs == 99).all()
    assert (np.add.reduceat(found.counts, found.node_ptr[:-1]) == 100).all()


@pytest.mark.parametrize("block", [1, 3, 10**6])
def test_how_many_windows_are_made_at_a_time_does_not_matter(graphs, bus, monkeypatch, block):
    log = bus(attack="fuzzing")
    whole = graphs(log, stride=30)
    monkeypatch.setattr(windows, "_BLOCK", block)
    again = graphs(log, stride=30)
    for name in windows.GraphSet.__dataclass_fields__:
        assert np.array_equal(getattr(whole, name), getattr(again, name)), name


def test_moving_time_moves_nothing_else_and_turning_bytes_turns_their_columns(graphs, bus):
    log = bus()
    order = np.array([3, 1, 0, 2, 7, 6, 5, 4])
    moved = Log(time=log.time + 4096.0, ids=log.ids, payload=log.payload[:, order], length=log.length,
                attack=log.attack)  # fmt: skip
    one, two = graphs(log), graphs(moved)
    assert np.array_equal(one.x[:, 1 + order], two.x[:, 1:9])
    assert np.array_equal(one.x[:, [0, 9, 10]], two.x[:, [0, 9, 10]])
    assert np.array_equal(one.edge_attr, two.edge_attr)
    assert np.allclose(two.start - one.start, 4096.0) and np.allclose(one.shortest, two.shortest, atol=1e-6)


def test_unknown_ids_share_an_index_and_stay_nodes_of_their_own(graphs):
    log = a_log([1, 7, 2, 9, 7, 1])
    found = graphs(log, vocabulary=Vocabulary((1, 2)), window=6)
    assert found.can_ids.tolist() == [1, 2, 7, 9]
    assert found.ids.tolist() == [0, 1, 2, 2] == found.x[:, 0].tolist()
    assert found.vocabulary.size == 3


def test_one_attack_message_makes_a_window_an_attack(graphs):
    attack = np.zeros(40, dtype=bool)
    attack[[19, 39]] = True
    found = graphs(a_log([1, 2] * 20, attack=attack), window=10, stride=10)
    assert found.y.tolist() == [0, 1, 0, 1]
    assert found.attacks == ("none", "dos", "none", "dos")


def test_a_log_without_labels_is_normal_only_if_its_name_says_so(graphs):
    log = a_log([1, 2] * 20)
    assert graphs(log, window=10, attack="none").labelled().y.tolist() == [0]
    with pytest.raises(MechlabError, match=r"log 'drive' has no labels .*train_01_attack_free"):
        graphs(log, window=10).labelled()


@pytest.mark.parametrize(
    ("window", "stride", "told"),
    [(1, 1, "window of 1 messages"), (1025, 1, "--window 2 to 1024"), (10, 0, "--stride 1 or more"),
     (60, 60, "has 40 messages, fewer than the 60 of a window")],
)  # fmt: skip
def test_windows_that_cannot_be_are_refused(graphs, window, stride, told):
    with pytest.raises(MechlabError, match=told):
        graphs(a_log([1, 2] * 20), window=window, stride=stride)


def test_a_vocabulary_has_the_ids_of_its_logs_alone():
    found = Vocabulary.of([np.array([5, 3, 5], dtype=np.uint32), np.array([9], dtype=np.uint32)])
    assert found.known == (3, 5, 9) and found.unknown == 3
    assert found.index(np.array([9, 4, 3, 100, 0], dtype=np.uint32)).tolist() == [2, 3, 0, 3, 3]
    assert found.digest != Vocabulary((3, 5)).digest
    with pytest.raises(MechlabError, match="at least one message"):
        Vocabulary.of([np.zeros(0, dtype=np.uint32)])
