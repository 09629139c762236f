"""Laws of following: each commit is seen once and whole, and what a resume dropped is told, not shown."""

import numpy as np
import pytest

from mechlab import recording
from mechlab.errors import MechlabError
from mechlab.recording import Writer
from mechlab.recording.following import follow, has_writer, told
from mechlab.recording.reader import Rewound

HEAD = {"run_id": "r", "spec": None}


def write(writer, steps, *, factor=1.0):
    """Commit one segment a step."""
    for step in steps:
        writer.append(
            "loss/total",
            np.full(2, step * factor),
            axes=("step",),
            coordinates={"step": np.full(2, step)},
            unit="nats",
        )
        writer.commit()


def steps_of(found):
    quantity = found["loss/total"]
    return quantity.coordinates["step"].tolist()[::2]


def test_a_reader_follows_a_writer_in_another_process_to_its_packed_end(tmp_path, process):
    process.start(tmp_path / "r", until=60, every=1, pause=0.002, pack=True)
    process.until("committed")
    with recording.open(tmp_path / "r") as found:
        seen = [segment.name for segment in found.segments]
        while not found.is_packed:
            new = found.refresh()
            seen += [segment.name for segment in new]
            try:
                check_rows(found)
            except MechlabError as packed:
                assert "is gone: the recording was packed" in str(packed)  # while it was read: look again
        assert steps_of_rows(found) == list(range(60))
        assert found.refresh() == ()
    process.until("gone")
    assert seen == [f"r0-{number:06d}.h5" for number in range(len(seen))], "each commit once, in order"
    assert len(seen) >= 60


def check_rows(found):
    for key in found:
        quantity = found[key]
        steps = quantity.coordinates["step"]
        assert (quantity.read() == steps[:, None]).all(), "no torn row"
        assert steps.tolist() == np.repeat(np.arange(len(steps) // 3), 3).tolist()
        assert len(quantity) == sum(segment.rows.get(key, 0) for segment in found.segments)


def steps_of_rows(found):
    return found["latent/a"].coordinates["step"].tolist()[::3]


def test_follow_gives_each_commit_once_and_ends_with_the_writer(tmp_path, process):
    process.start(tmp_path / "r", until=25, every=1, pause=0.002, pack=False)
    process.until("committed")
    names = [event.name for event in follow(tmp_path / "r", poll_seconds=0.01)]
    process.until("gone")
    assert names == [f"r0-{number:06d}.h5" for number in range(len(names))]
    assert len(names) >= 25
    assert not has_writer(tmp_path / "r")
    assert [event.name for event in follow(tmp_path / "r")] == names, "a writer that has ended is not awaited"


def test_follow_ends_when_the_writer_is_killed(tmp_path, process):
    process.start(tmp_path / "r", every=1)
    process.until("committed")
    events = follow(tmp_path / "r", poll_seconds=0.01)
    names = [next(events).name]
    assert has_writer(tmp_path / "r")
    process.kill()
    names += [event.name for event in events]
    with recording.open(tmp_path / "r") as found:
        assert names == [segment.name for segment in found.segments]


def test_a_quantity_keeps_its_rows_and_the_recording_gives_the_new_ones(tmp_path):
    with Writer.create(tmp_path, attributes=HEAD) as writer:
        write(writer, range(2))
        found = recording.open(tmp_path)
        before = found["loss/total"]
        write(writer, range(2, 3))
        assert len(found["loss/total"]) == 4
        assert [segment.steps for segment in found.refresh()] == [(2, 2)]
        assert (len(before), len(found["loss/total"])) == (4, 6)
        assert before.read().tolist() == [0, 0, 1, 1]
    found.close()


def test_new_items_and_facts_are_seen_as_well(tmp_path):
    from mechlab.specs import Item

    items = [
        Item(sha256=f"{i:064x}", class_name="a", split="test", label=0, defect="good", image=f"{i}")
        for i in range(3)
    ]
    with Writer.create(tmp_path, attributes=HEAD) as writer:
        writer.items(items[:1])
        writer.commit()
        found = recording.open(tmp_path)
        assert len(found.items) == 1
        writer.items(items)
        writer.note({"a": 1})
        writer.commit()
        assert len(found.refresh()) == 1
        assert found.items == tuple(items)
        assert found.facts == {"a": 1}
    found.close()


@pytest.mark.parametrize("is_packed", [False, True], ids=["segments", "packed in between"])
def test_rows_that_a_resume_dropped_are_told_and_not_shown(tmp_path, is_packed):
    writer = Writer.create(tmp_path, attributes=HEAD)
    write(writer, range(4))
    found = recording.open(tmp_path)
    before = found["loss/total"]
    assert before.read().tolist() == np.repeat(np.arange(4.0), 2).tolist()
    writer.close(pack=is_packed)
    with Writer.resume(tmp_path, position=2) as writer:
        write(writer, range(2, 4), factor=-1.0)
    sentence = r"4 rows that were read before \(steps 2 to 3\) were dropped by a resume; take every"
    with pytest.raises(Rewound, match=sentence) as rewound:
        found.refresh()
    assert [segment.steps for segment in rewound.value.new] == [(2, 2), (3, 3)]
    assert found["loss/total"].read().tolist() == [0, 0, 1, 1, -2, -2, -3, -3]
    with pytest.raises(MechlabError, match=r"dropped by a resume|is gone: the recording was packed"):
        before.read()
    assert found.refresh() == ()
    found.close()


def test_a_resume_from_a_packed_recording_uses_no_number_again(tmp_path):
    for position, steps in ((0, range(3)), (1, range(1, 3)), (2, range(2, 3))):
        with Writer.resume(tmp_path, position=position, attributes=HEAD) as writer:
            write(writer, steps)
    with recording.open(tmp_path) as found:
        assert [segment.number for segment in found.segments] == [0, 3, 5]
        assert steps_of(found) == [0, 1, 2]


def test_a_packed_recording_that_was_resumed_and_packed_again_is_seen_again(tmp_path):
    with Writer.create(tmp_path, attributes=HEAD) as writer:
        write(writer, range(2))
    with recording.open(tmp_path) as found:
        assert found["loss/total"].read().tolist() == [0, 0, 1, 1]
        with Writer.resume(tmp_path, position=2) as writer:
            write(writer, range(2, 3))
        assert [segment.steps for segment in found.refresh()] == [(2, 2)]
        assert found["loss/total"].read().tolist() == [0, 0, 1, 1, 2, 2]


def test_follow_tells_a_rewind_and_what_came_after_it(tmp_path):
    writer = Writer.create(tmp_path, attributes=HEAD)
    write(writer, range(3))
    events = follow(tmp_path, poll_seconds=0.0)
    seen = [next(events) for _ in range(3)]
    writer.close(pack=False)
    with Writer.resume(tmp_path, position=1) as writer:
        write(writer, range(1, 2))
        seen += [next(events), next(events)]
    lines = [told(event) for event in seen + list(events)]
    assert lines[3].startswith("rewound: 4 rows that were read before (steps 1 to 2) were dropped")
    assert lines[4].startswith("r0-000003  2 rows  steps 1 to 1  ")
    assert len(lines) == 5


def test_another_recording_in_the_same_place_is_refused(tmp_path):
    writer = Writer.create(tmp_path / "r", attributes=HEAD)
    write(writer, range(1))
    found = recording.open(tmp_path / "r")
    writer.close()
    for path in (tmp_path / "r").iterdir():
        path.unlink()
    with Writer.create(tmp_path / "r", attributes=HEAD | {"run_id": "other"}) as writer:
        write(writer, range(1))
    with pytest.raises(MechlabError, match=r"another recording stands at .* by now; open it instead"):
        found.refresh()
    found.close()


def test_a_rewind_between_two_looks_mixes_nothing(tmp_path, monkeypatch):
    from mechlab.recording import folder

    writer = Writer.create(tmp_path, attributes=HEAD)
    write(writer, range(4))
    writer.close(pack=False)
    plain, kept = folder._numbers, {path.name: path.read_bytes() for path in tmp_path.glob("*.h5")}

    def late(place):
        monkeypatch.undo()
        with monkeypatch.context() as patch:
            patch.setattr("mechlab.recording.commits.append_segment", lambda *_: None)
            again = Writer.resume(tmp_path, position=1)
            write(again, range(1, 2))
            again.close(pack=False)
        for name, content in kept.items():  # the reader had looked at them before they were removed
            (tmp_path / name).write_bytes(content)
        return plain(place)

    monkeypatch.setattr(folder, "_numbers", late)
    with recording.open(tmp_path) as found:
        assert steps_of(found) == [0, 1]


def test_a_lock_whose_file_was_removed_meanwhile_is_taken_on_the_new_one(tmp_path):
    import threading
    import time

    from mechlab.files import is_locked, lock

    path, is_held, may_end = tmp_path / "lock", threading.Event(), threading.Event()

    def wait_for_it():
        with lock(path):
            is_held.set()
            may_end.wait(20)

    with lock(path):
        waiter = threading.Thread(target=wait_for_it)
        waiter.start()
        time.sleep(0.2)  # until it waits at the file that is removed now
        path.unlink()  # as packing does
    assert is_held.wait(20)
    assert is_locked(path)
    may_end.set()
    waiter.join()


def test_a_file_lock_can_be_looked_at_without_taking_it(tmp_path):
    from mechlab.files import is_locked, lock

    path = tmp_path / "lock"
    assert not is_locked(path)
    with lock(path):
        assert is_locked(path)
    assert path.exists()
    assert not is_locked(path)
