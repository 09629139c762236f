"""The cache of graphs: made once, whole or absent, made anew when damaged or when its grounds change."""

import json
import logging

import numpy as np
import pytest

from mechlab.errors import MechlabError
from reproductions.can_ids import graph_cache, prepare
from reproductions.can_ids.folder import open as open_folder
from reproductions.can_ids.graph_cache import cached
from reproductions.can_ids.graph_set import ARRAYS
from reproductions.can_ids.prepare import prepared


@pytest.fixture
def made(graphs, bus):
    return graphs(bus(seconds=2.0, attack="dos"))


def same(one, two):
    return all(np.array_equal(getattr(one, name), getattr(two, name)) for name in ARRAYS)


def never():
    raise AssertionError("made twice")


def test_graphs_come_back_as_they_were_and_are_made_once(made, tmp_path):
    first, folder = cached(tmp_path, {"logs": 1}, lambda: made)
    again, _ = cached(tmp_path, {"logs": 1}, never)
    for found in (first, again):
        assert same(found, made) and found.sources == made.sources
        assert (found.vocabulary, found.window, found.stride) == (made.vocabulary, made.window, made.stride)
    assert {file.suffix for file in folder.iterdir()} == {".npy", ".json"}
    other, elsewhere = cached(tmp_path, {"logs": 2}, lambda: made.span(0, 3))
    assert elsewhere != folder and len(other) == 3


def test_writes_to_what_was_read_stay_private(made, tmp_path):
    found, _ = cached(tmp_path, {}, lambda: made)
    found.x[:] = 7
    assert same(cached(tmp_path, {}, never)[0], made)


def cut(file):
    file.write_bytes(file.read_bytes()[:-9])


def flip(file):
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(bytes(data))


@pytest.mark.parametrize("damage", [cut, flip, lambda file: file.unlink()], ids=["cut", "flip", "gone"])
@pytest.mark.parametrize("name", ["edge_attr.npy", "node_ptr.npy", "graphs.json"])
def test_a_damaged_folder_is_never_read(made, tmp_path, caplog, damage, name):
    _, folder = cached(tmp_path, {}, lambda: made)
    damage(folder / name)
    with caplog.at_level(logging.WARNING):
        found, _ = cached(tmp_path, {}, lambda: made)
    assert same(found, made)
    assert "are damaged" in caplog.text and "made again" in caplog.text
    cached(tmp_path, {}, never)


def test_what_stops_while_writing_leaves_nothing(made, tmp_path, monkeypatch):
    def stop(*arguments, **words):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(graph_cache, "write_json", stop)
        with pytest.raises(KeyboardInterrupt):
            cached(tmp_path, {}, lambda: made)
    assert not [path for path in tmp_path.iterdir() if not path.name.endswith(".lock")]
    assert same(cached(tmp_path, {}, lambda: made)[0], made)


def test_a_folder_that_may_not_be_written_is_one_sentence(made, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises((MechlabError, NotADirectoryError, FileExistsError)):
        cached(tmp_path / "file", {}, lambda: made)


def test_the_cache_follows_the_contents_of_the_logs_and_every_setting(write_logs, tmp_path):
    root, cache = write_logs(tmp_path / "car", seconds=2.0), tmp_path / "cache"
    places = {
        prepared(open_folder(root), cache=cache, **words)[1]
        for words in ({}, {"window": 50}, {"stride": 50}, {"way": "time"})
    }
    assert len(places) == 4
    before = prepared(open_folder(root), cache=cache)[1]
    log = next((root / "train_01_attack_free").iterdir())
    log.write_text(log.read_text() + log.read_text().splitlines()[-1] + "\n")
    after = prepared(open_folder(root), cache=cache)[1]
    assert before in places and after not in places
    kept = json.loads((after / "graphs.json").read_text())
    assert str(tmp_path) not in json.dumps(kept)


def test_logs_that_were_prepared_are_not_read_again(write_logs, tmp_path, monkeypatch):
    root, told = write_logs(tmp_path / "car", seconds=2.0), []
    first, _ = prepared(open_folder(root), cache=tmp_path, say=told.append)
    assert len(told) == len(open_folder(root).files)
    monkeypatch.setattr(prepare, "read", never)
    assert same(prepared(open_folder(root), cache=tmp_path)[0], first)
