"""Laws after a crash: what was committed is there, whole and once; what was not is not."""

import json
from pathlib import Path

import numpy as np
import pytest

from mechlab import recording
from mechlab.errors import MechlabError
from mechlab.recording import Writer, commits
from mechlab.recording.manifest import MANIFEST, append_line, read_manifest

HEAD = {"run_id": "moleflow-0123", "spec": None, "provenance": {}}


def record(folder: Path, *, steps: range, writer: Writer | None = None) -> Writer:
    """Commit one segment a step."""
    writer = writer or Writer.create(folder, attributes=HEAD)
    for step in steps:
        writer.append(
            "loss/total",
            np.array([step * 1.5]),
            axes=("step",),
            coordinates={"step": np.array([step])},
            unit="nats",
        )
        writer.commit()
    return writer


def steps_of(folder: Path) -> list[int]:
    with recording.open(folder) as found:
        quantity = found["loss/total"]
        assert (quantity.read() == 1.5 * quantity.coordinates["step"]).all()
        return quantity.coordinates["step"].tolist()


@pytest.mark.parametrize("cut", [1, 2, 20, 150])
def test_a_torn_last_line_is_ignored_and_its_segment_adopted(tmp_path, cut):
    record(tmp_path, steps=range(3)).close(pack=False)
    lines = (tmp_path / MANIFEST).read_bytes().splitlines(keepends=True)[:4]  # without the statistics
    (tmp_path / MANIFEST).write_bytes(b"".join(lines)[:-cut])
    assert steps_of(tmp_path) == [0, 1, 2]
    with Writer.resume(tmp_path, position=3) as writer:
        record(tmp_path, steps=range(3, 5), writer=writer)
        assert [segment.number for segment in read_manifest(tmp_path).segments] == [0, 1, 2, 3, 4]
    assert steps_of(tmp_path) == [0, 1, 2, 3, 4]


def test_zeros_at_the_end_of_the_manifest_are_a_torn_line(tmp_path):
    record(tmp_path, steps=range(2)).close(pack=False)
    with (tmp_path / MANIFEST).open("ab") as stream:
        stream.write(b"\0" * 64 + b"\n")
    assert steps_of(tmp_path) == [0, 1]
    with Writer.resume(tmp_path, position=2) as writer:
        record(tmp_path, steps=range(2, 3), writer=writer)
    assert steps_of(tmp_path) == [0, 1, 2]


@pytest.mark.parametrize("line", [0, 1, 2])
def test_a_changed_line_before_the_last_is_damage(tmp_path, line):
    record(tmp_path, steps=range(3)).close(pack=False)
    lines = (tmp_path / MANIFEST).read_bytes().splitlines(keepends=True)
    lines[line] = lines[line].replace(b"0", b"1", 1)
    (tmp_path / MANIFEST).write_bytes(b"".join(lines))
    with pytest.raises(MechlabError, match=rf"manifest.jsonl' is damaged: line {line + 1} does not match"):
        recording.open(tmp_path)


def test_a_line_is_appended_after_a_torn_one(tmp_path):
    record(tmp_path, steps=range(1)).close(pack=False)
    whole = (tmp_path / MANIFEST).read_bytes()
    (tmp_path / MANIFEST).write_bytes(whole + b'{"kind":"segm')
    append_line(tmp_path, "facts", {"facts": {"a": 1}})
    assert (tmp_path / MANIFEST).read_bytes().startswith(whole)
    assert read_manifest(tmp_path).attributes["facts"] == {"a": 1}


def test_every_line_carries_what_a_reader_needs(tmp_path):
    record(tmp_path, steps=range(7, 9)).close(pack=False)
    line = json.loads((tmp_path / MANIFEST).read_text().splitlines()[2])
    content = (tmp_path / "r0-000001.h5").read_bytes()
    import hashlib

    assert line["name"] == "r0-000001.h5"
    assert line["sha256"] == hashlib.sha256(content).hexdigest()
    assert line["bytes"] == len(content)
    assert line["rows"] == {"loss/total": 1}
    assert line["steps"] == [8, 8]


def test_a_segment_without_a_line_is_adopted_when_it_is_the_next(tmp_path, monkeypatch):
    writer = record(tmp_path, steps=range(2))

    def killed(*_: object) -> None:
        raise SystemExit

    monkeypatch.setattr(commits, "append_segment", killed)
    with pytest.raises(MechlabError, match="the recorder stopped"):
        record(tmp_path, steps=range(2, 3), writer=writer)
    with pytest.raises(MechlabError):
        writer.close()
    monkeypatch.undo()
    assert len(read_manifest(tmp_path).segments) == 2
    assert steps_of(tmp_path) == [0, 1, 2]
    with Writer.resume(tmp_path, position=3) as again:
        assert again.position == 3
        record(tmp_path, steps=range(3, 4), writer=again)
    assert steps_of(tmp_path) == [0, 1, 2, 3]


def test_a_temporary_file_is_no_segment_and_the_next_writer_removes_it(tmp_path):
    record(tmp_path, steps=range(2)).close(pack=False)
    part = tmp_path / ".r0-000002.h5.part"
    part.write_bytes(b"half")
    assert steps_of(tmp_path) == [0, 1]
    Writer.resume(tmp_path, position=2).close(pack=False)
    assert not part.exists()


def test_a_gap_and_a_foreign_segment_are_refused(tmp_path):
    record(tmp_path / "a", steps=range(3)).close(pack=False)
    last = tmp_path / "a" / "r0-000002.h5"
    last.rename(tmp_path / "a" / "r0-000005.h5")
    with pytest.raises(MechlabError, match=r"r0-000002.h5' is missing although the manifest names it"):
        recording.open(tmp_path / "a")
    (tmp_path / "a" / "r0-000005.h5").rename(last)
    (tmp_path / "a" / "r0-000004.h5").write_bytes(last.read_bytes())
    with pytest.raises(MechlabError, match=r"lacks r0-000003.h5 but holds r0-000004.h5"):
        recording.open(tmp_path / "a")
    (tmp_path / "a" / "r0-000004.h5").rename(tmp_path / "a" / "r0-000003.h5")
    with pytest.raises(MechlabError, match="belongs to another recording"):
        recording.open(tmp_path / "a")


@pytest.mark.parametrize("position", [0, 1, 3])
def test_a_resume_drops_what_came_after_the_checkpoint(tmp_path, position):
    record(tmp_path, steps=range(3)).close(pack=False)
    with Writer.resume(tmp_path, position=position) as writer:
        assert writer.position == position
        assert len(list(tmp_path.glob("*.h5"))) == position
        record(tmp_path, steps=range(position, 4), writer=writer)
        assert steps_of(tmp_path) == [0, 1, 2, 3]
    assert steps_of(tmp_path) == [0, 1, 2, 3]


def test_dropped_segments_stay_dropped_when_the_resume_itself_is_killed(tmp_path):
    record(tmp_path, steps=range(4)).close(pack=False)
    kept = {path.name: path.read_bytes() for path in tmp_path.glob("*.h5")}
    Writer.resume(tmp_path, position=1).close(pack=False)
    for name, content in kept.items():  # as if it had died before it removed the files
        (tmp_path / name).write_bytes(content)
    assert steps_of(tmp_path) == [0]
    with Writer.resume(tmp_path, position=1) as writer:
        record(tmp_path, steps=range(10, 12), writer=writer)
    assert steps_of(tmp_path) == [0, 10, 11]


def test_an_earlier_checkpoint_can_be_resumed_after_a_later_one(tmp_path):
    record(tmp_path, steps=range(4)).close(pack=False)
    for position in (3, 1):
        writer = Writer.resume(tmp_path, position=position)
        record(tmp_path, steps=range(position, position + 2), writer=writer).close(pack=False)
    assert steps_of(tmp_path) == [0, 1, 2]


def test_a_resume_keeps_the_item_table_and_the_form_of_keys(tmp_path):
    record(tmp_path, steps=range(1)).close(pack=False)
    with Writer.resume(tmp_path, position=1) as writer:
        with pytest.raises(ValueError, match="changed their form"):
            writer.append("loss/total", np.ones(1), axes=("step",), coordinates={}, unit="nats")
        record(tmp_path, steps=range(1, 2), writer=writer)
    assert steps_of(tmp_path) == [0, 1]


def test_a_resume_says_what_does_not_fit(tmp_path):
    with pytest.raises(MechlabError, match="does not exist; give the folder"):
        Writer.resume(tmp_path / "none", position=0)
    assert not (tmp_path / "none").exists()
    record(tmp_path / "r", steps=range(2)).close(pack=False)
    with pytest.raises(MechlabError, match="has 2 segments of rank 0 but the checkpoint says 3"):
        Writer.resume(tmp_path / "r", position=3)
    with pytest.raises(MechlabError, match="holds a recording with another run_id"):
        Writer.resume(tmp_path / "r", position=0, attributes=HEAD | {"run_id": "other"})
    assert steps_of(tmp_path / "r") == [0, 1]


def test_a_resume_at_the_beginning_may_create(tmp_path):
    with Writer.resume(tmp_path / "r", position=0, attributes=HEAD) as writer:
        record(tmp_path / "r", steps=range(2), writer=writer)
    assert steps_of(tmp_path / "r") == [0, 1]


@pytest.mark.parametrize("position", [0, 2, 3])
def test_a_packed_recording_can_be_resumed(tmp_path, position):
    record(tmp_path, steps=range(3)).close()
    assert [path.name for path in tmp_path.iterdir()] == ["recording.h5"]
    with Writer.resume(tmp_path, position=position, attributes=HEAD) as writer:
        assert writer.position == position
        record(tmp_path, steps=range(position, 4), writer=writer)
    assert steps_of(tmp_path) == [0, 1, 2, 3]


def test_a_packed_recording_with_fewer_segments_than_the_checkpoint_is_left_alone(tmp_path):
    record(tmp_path, steps=range(2)).close()
    with pytest.raises(MechlabError, match="has 2 segments but the checkpoint says 3"):
        Writer.resume(tmp_path, position=3)
    assert steps_of(tmp_path) == [0, 1]


def test_a_killed_writer_loses_nothing_that_it_committed(tmp_path, survive):
    counted = survive(tmp_path / "r", kills=10, seed=0)
    assert (counted.kills, counted.inside) == (10, 5)


@pytest.mark.parametrize(
    ("instant", "is_there"), [("sync", False), ("rename", False), ("folder", True), ("line", True)]
)
def test_a_kill_inside_a_commit_leaves_all_of_it_or_nothing(
    tmp_path, process, check_steps, instant, is_there
):
    process.start(tmp_path / "r", stop=instant, count=3, every=1, flush_seconds=600.0)
    process.until("at")
    process.kill()
    step, position, _ = process.commits[-1]
    assert (step, position) == (1, 2)
    assert check_steps(tmp_path / "r", at_least=1) == (2 if is_there else 1)


def test_a_second_writer_is_refused_while_the_first_lives_and_allowed_when_it_was_killed(tmp_path, process):
    process.start(tmp_path / "r", every=1)
    process.until("committed")
    with pytest.raises(MechlabError, match="another process is writing this recording"):
        Writer.resume(tmp_path / "r", position=0)
    process.kill()
    position = process.commits[-1][1]
    with Writer.resume(tmp_path / "r", position=position) as writer:
        assert writer.position == position
