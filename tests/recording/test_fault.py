"""Laws of a fault in mid-run: the loop stops or goes on as asked, commits stay, losses are told."""

import errno
import logging
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest

from mechlab import recording
from mechlab.errors import MechlabError
from mechlab.recording import Writer, fault, rows, segment

packing = __import__("importlib").import_module("mechlab.recording.pack")  # the package exports a function
HEAD = {"run_id": "r", "spec": None}


def no_space(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def append(writer: Writer, step: int, *, size: int = 1) -> None:
    writer.append(
        "loss/total",
        np.full((1, size), step, np.float64),
        axes=("step", "dim"),
        coordinates={"step": np.array([step])},
        unit="nats",
    )


def steps_of(folder: Path) -> list[int]:
    with recording.open(folder) as found:
        found.verify()
        assert (found["loss/total"].read() == found["loss/total"].coordinates["step"][:, None]).all()
        return found["loss/total"].coordinates["step"].tolist()


def broken(folder: Path, monkeypatch, **words: object) -> Writer:
    """Commit steps 0 and 1, then let the disk be full for steps 2 and 3."""
    writer = Writer.create(folder, attributes=HEAD, **words)
    for step in range(2):
        append(writer, step)
    writer.commit()
    monkeypatch.setattr(segment, "sync", no_space)
    append(writer, 2)
    append(writer, 3)
    return writer


def test_the_loop_goes_on_and_the_loss_is_counted_told_and_noted(tmp_path, monkeypatch, caplog):
    with broken(tmp_path, monkeypatch, on_fault="go-on") as writer:
        writer.commit()
        assert "the disk is full" in str(writer.fault)
        assert writer.position == 1
        monkeypatch.undo()  # the disk has room again: nothing is recorded all the same
        for step in range(4, 7):
            append(writer, step)
        writer.items([])
        writer.note({"after": 1})
        writer.commit()
        assert writer.position == 1
        assert writer.statistics.dropped_rows == 5
    warned = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warned) == 1
    assert "the disk is full" in warned[0] and "The loop goes on without recording" in warned[0]
    assert steps_of(tmp_path) == [0, 1]
    with recording.open(tmp_path) as found:
        assert not found.is_packed, "what ended early can be resumed"
        assert found.facts["fault"]["dropped_rows"] == 5
        assert "the disk is full" in found.facts["fault"]["reason"]
        assert found.statistics["dropped_rows"] == 5
        assert found.statistics["rows"] == 4


def test_by_default_the_loop_stops_and_what_was_committed_stays(tmp_path, monkeypatch):
    writer = broken(tmp_path, monkeypatch)
    with pytest.raises(MechlabError, match="the disk is full; free some space"):
        writer.commit()
    with pytest.raises(MechlabError, match="the disk is full"):
        append(writer, 4)
    with pytest.raises(MechlabError, match="the disk is full"):
        writer.close()
    monkeypatch.undo()
    assert steps_of(tmp_path) == [0, 1]
    with Writer.resume(tmp_path, position=1) as writer:
        append(writer, 2)
    assert steps_of(tmp_path) == [0, 1, 2]


def test_a_caller_that_is_blocked_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(rows, "write_rows", no_space)
    with Writer.create(tmp_path, attributes=HEAD, on_fault="go-on", limit_bytes=10) as writer:
        for step in range(50):
            append(writer, step, size=200_000)
        assert writer.fault is not None
    assert writer.statistics.dropped_rows == 50


@pytest.mark.parametrize("where", ["note_end", "note"])
def test_a_disk_that_takes_no_line_either_leaves_the_warning(tmp_path, monkeypatch, caplog, where):
    writer = broken(tmp_path, monkeypatch, on_fault="go-on")
    writer.commit()
    if where == "note_end":
        monkeypatch.setattr(fault, "append_line", no_space)
    else:
        monkeypatch.setattr("mechlab.recording.writer.append_line", no_space)
        writer.note({"a": 1})
    writer.close()
    assert ("could not be noted" in caplog.text) == (where == "note_end")
    assert steps_of(tmp_path) == [0, 1]
    with recording.open(tmp_path) as found:
        assert ("fault" in found.facts) == (where == "note")


def test_a_disk_that_is_too_full_to_pack_leaves_the_segments(tmp_path, monkeypatch, caplog):
    writer = Writer.create(tmp_path, attributes=HEAD, on_fault="go-on")
    append(writer, 0)
    monkeypatch.setattr(packing, "sync", no_space)
    writer.close()
    assert "recording.h5': the disk is full" in caplog.text
    assert steps_of(tmp_path) == [0]
    assert writer.statistics.dropped_rows == 0


def test_a_fact_that_cannot_be_written_stops_the_loop_unless_asked(tmp_path, monkeypatch):
    before = set(threading.enumerate())
    for on_fault in ("stop", "go-on"):
        writer = Writer.create(tmp_path / on_fault, attributes=HEAD, on_fault=on_fault)
        append(writer, 0)
        with monkeypatch.context() as patch:
            patch.setattr("mechlab.recording.writer.append_line", no_space)
            if on_fault == "stop":
                with pytest.raises(MechlabError, match="the disk is full"):
                    writer.note({"a": 1})
                with pytest.raises(MechlabError, match="the disk is full"):
                    writer.close()
            else:
                writer.note({"a": 1})
                writer.close()
        assert set(threading.enumerate()) <= before, "the writer's thread has ended"


def test_a_disk_that_is_full_only_when_hdf5_closes_a_file_is_told_alike(tmp_path):
    text = "Disable slist failed (file write failed: time = Wed\n, errno = 28, error = ''"
    with pytest.raises(MechlabError, match="the disk is full; free some space"), segment.writing(tmp_path):
        raise RuntimeError(text)
    with (
        pytest.raises(MechlabError, match=r"cannot write .*: no numbers; nothing"),
        segment.writing(tmp_path),
    ):
        raise RuntimeError("no numbers\nof errors")


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 3 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a small tmpfs cannot be mounted here (this needs root)")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.parametrize("on_fault", ["stop", "go-on"])
def test_a_real_disk_that_fills_up_keeps_what_was_committed(small_disk, on_fault):
    folder, committed = small_disk / "r", -1
    writer = Writer.create(folder, attributes=HEAD, on_fault=on_fault)
    try:
        for step in range(40):
            append(writer, step, size=20_000)  # 160 kB
            writer.commit()
            committed = step if writer.fault is None else committed
        writer.close()
    except MechlabError as full:
        assert on_fault == "stop"
        assert "the disk is full" in str(full)
    else:
        assert on_fault == "go-on"
    assert 5 < committed < 20
    assert steps_of(folder) == list(range(committed + 1))
    with recording.open(folder) as found:
        dropped = found.statistics.get("dropped_rows")
    assert dropped in (None, 39 - committed)
