"""Files are whole or absent."""

import errno
import json
import os

import pytest

from mechlab.errors import MechlabError, unknown
from mechlab.files import (
    canonical_json,
    lock,
    read_json,
    remove_folder,
    sha256_bytes,
    sha256_file,
    staged_folder,
    sweep_parts,
    write_json,
    write_text,
)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})

    def full(_):
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(MechlabError, match=r"disk is full; free some space"):
        write_json(path, {"a": 2})
    assert read_json(path) == {"a": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]


def test_nan_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"a": float("nan")})
    assert not (tmp_path / "a.json").exists()


def test_a_staged_folder_is_absent_when_its_body_fails(tmp_path):
    with pytest.raises(RuntimeError), staged_folder(tmp_path / "x") as stage:
        write_text(stage / "half", "half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_a_staged_folder_replaces_the_one_before(tmp_path):
    for text in ("one", "two"):
        with staged_folder(tmp_path / "x") as stage:
            write_text(stage / text, text)
    assert [file.name for file in (tmp_path / "x").iterdir()] == ["two"]
    assert [file.name for file in tmp_path.iterdir()] == ["x"]


def test_leftovers_of_a_killed_process_are_swept(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / ".a.json.xyz.part").write_text("half")
    (tmp_path / ".folder.xyz.part").mkdir()
    (tmp_path / ".folder.xyz.part" / "inner").write_text("half")
    (tmp_path / "whole.json").write_text("{}")
    sweep_parts(tmp_path)
    assert sorted(file.name for file in tmp_path.rglob("*")) == ["deep", "whole.json"]


def test_a_removed_folder_is_gone(tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "file").write_text("1")
    remove_folder(tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


def test_a_second_holder_of_a_lock_is_refused(tmp_path):
    with (
        lock(tmp_path / "lock", wait=False, what="run"),
        pytest.raises(MechlabError, match="another process is writing this run"),
        lock(tmp_path / "lock", wait=False, what="run"),
    ):
        pass
    with lock(tmp_path / "lock", wait=False):
        assert True


@pytest.mark.parametrize("text", ["{", "\x00", '{"a": 1} x'])
def test_a_damaged_json_file_is_one_sentence(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(MechlabError, match="is not valid JSON"):
        read_json(tmp_path / "a.json")


def test_a_missing_json_file_is_one_sentence(tmp_path):
    with pytest.raises(MechlabError, match="does not exist"):
        read_json(tmp_path / "a.json")


def test_the_canonical_text_does_not_depend_on_the_order_of_keys():
    assert (
        canonical_json({"b": 1, "a": [1, 2]}) == canonical_json({"a": [1, 2], "b": 1}) == '{"a":[1,2],"b":1}'
    )


def test_hashes_of_bytes_and_files_agree(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256_file(tmp_path / "a") == sha256_bytes(b"abc")
    assert sha256_bytes(b"abc").startswith("ba7816bf")
    assert json.loads(canonical_json({"a": 1})) == {"a": 1}


def test_an_unknown_name_gets_the_nearest_known_one():
    error = unknown("probe", "efective-rank", ["effective_rank", "gaussianity"])
    assert str(error) == (
        "no probe named 'efective-rank'. Did you mean 'effective_rank'? Known: effective_rank, gaussianity."
    )
    assert "Did you mean" not in str(unknown("probe", "zzz", ["gaussianity"]))
