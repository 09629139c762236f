"""Laws of writing: what was appended comes back, commits come in time, the queue is bounded."""

import errno
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mechlab import recording
from mechlab.errors import MechlabError
from mechlab.recording import Writer, commits, rows, segment
from mechlab.recording.chunk import CHUNK_BYTES
from mechlab.specs import Item

HEAD = {
    "run_id": "moleflow-0123",
    "spec": {"train": "ab"},
    "provenance": {"git": "c0ffee"},
    "losses": ["mean"],
}


def table(count: int) -> list[Item]:
    return [
        Item(
            sha256=f"{number:064x}",
            class_name="gear",
            split="test",
            label=number % 2,
            defect="hole" if number % 2 else "good",
            image=f"gear/{number}.png",
            mask=f"gear/{number}_mask.png" if number % 2 else None,
        )
        for number in range(count)
    ]


def step_rows(writer: Writer, step: int, *, key: str = "loss/total") -> None:
    writer.append(
        key, np.array([step * 1.5]), axes=("step",), coordinates={"step": np.array([step])}, unit="nats"
    )


def segments(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.h5"))


@settings(max_examples=25, deadline=None)
@given(
    batches=st.sampled_from(["<f2", "<f4", "<f8", "<i4", "?", "U4"]).flatmap(
        lambda dtype: st.lists(
            hnp.arrays(
                dtype,
                st.integers(1, 4).map(lambda rows: (rows, 2, 3)),
                elements=st.text("aβ", max_size=4) if dtype == "U4" else None,
            ),
            min_size=1,
            max_size=4,
        )
    ),
    pack=st.booleans(),
)
def test_rows_come_back_bit_by_bit_in_their_order(tmp_path_factory, batches, pack):
    folder = tmp_path_factory.mktemp("recording") / "r"
    writer = Writer.create(folder, attributes=HEAD)
    for step, batch in enumerate(batches):
        loss = np.array(["mean", "tail:0.5"])[np.arange(len(batch)) % 2]
        writer.append(
            "latent/flow.3",
            batch,
            axes=("item", "row", "dim"),
            coordinates={
                "step": np.full(len(batch), step),
                "loss": loss,
                "is_last": np.arange(len(batch)) > 0,
            },
            unit="1",
        )
        writer.commit()
    writer.close(pack=pack)
    with recording.open(folder) as found:
        quantity = found["latent/flow.3"]
        read, whole = quantity.read(), np.concatenate(batches)
        assert quantity.axes == ("item", "row", "dim")
        assert quantity.unit == "1"
        assert quantity.dtype.kind == whole.dtype.kind
        assert (
            (read.tolist() == whole.tolist())
            if whole.dtype.kind == "U"
            else (read.tobytes() == whole.tobytes())
        )
        rows = [len(batch) for batch in batches]
        assert quantity.coordinates["step"].tolist() == np.repeat(np.arange(len(rows)), rows).tolist()
        assert quantity.coordinates["loss"].tolist() == [
            ("mean", "tail:0.5")[i % 2] for n in rows for i in range(n)
        ]
        assert quantity.coordinates["is_last"].tolist() == [i > 0 for n in rows for i in range(n)]


@pytest.mark.parametrize("shape", [(2500, 500), (2, 700, 800), (1, 3)], ids=str)
def test_large_and_small_batches_of_any_count_come_back(tmp_path, rng, shape):
    sizes = (shape[0], shape[0] * 2 // 3 + 1, shape[0], 1)  # not multiples of one another
    batches = [rng.standard_normal((size, *shape[1:])).astype(np.float32) for size in sizes]
    axes = ("item", "row", "dim")[: len(shape)] if len(shape) == 3 else ("item", "dim")
    with Writer.create(tmp_path / "r", attributes=HEAD) as writer:
        for batch in batches:
            writer.append("latent/a", batch, axes=axes, coordinates={}, unit="1")
        writer.commit()
        import h5py

        with h5py.File(tmp_path / "r" / "r0-000000.h5") as file:
            assert np.prod(file["latent/a/values"].chunks) * 4 <= CHUNK_BYTES
        with recording.open(tmp_path / "r") as found:
            assert (found["latent/a"].read() == np.concatenate(batches)).all()
    with recording.open(tmp_path / "r") as found:
        assert (found["latent/a"].read() == np.concatenate(batches)).all()


def test_the_caller_may_reuse_its_arrays(tmp_path):
    values, steps = np.zeros((4, 100_000)), np.zeros(4, np.int64)
    with Writer.create(tmp_path / "r", attributes=HEAD) as writer:
        for step in range(5):
            values[:], steps[:] = step, step
            writer.append("a/b", values, axes=("step", "dim"), coordinates={"step": steps}, unit="1")
        values[:], steps[:] = -1, -1
    with recording.open(tmp_path / "r") as found:
        assert found["a/b"].read().mean(axis=1).tolist() == np.repeat(np.arange(5), 4).tolist()
        assert found["a/b"].coordinates["step"].tolist() == np.repeat(np.arange(5), 4).tolist()


def test_root_attributes_facts_and_attributes_of_a_key_come_back_whatever_their_size(tmp_path):
    big = {"text": "ü" * 100_000}
    for pack in (False, True):
        writer = Writer.create(tmp_path / f"{pack}", attributes=HEAD | {"provenance": big})
        writer.append(
            "a/b", np.ones(1), axes=("step",), coordinates={}, unit="", attributes={"scale": 0.5, "n": [1]}
        )
        writer.note({"overhead": {"ratio": 1.01}})
        writer.note({"losses": ["mean", "tail"]})
        writer.close(pack=pack)
        with recording.open(tmp_path / f"{pack}") as found:
            assert found.attributes == {
                "format": "mechlab recording",
                "version": 1,
                "run_id": "moleflow-0123",
                "spec": {"train": "ab"},
                "provenance": big,
            }
            assert found.facts == {"losses": ["mean", "tail"], "overhead": {"ratio": 1.01}}
            assert found["a/b"].attributes == {"scale": 0.5, "n": [1]}
            assert found.statistics["rows"] == 1
            assert found.name == f"{pack}"


@pytest.mark.parametrize("pack", [False, True])
def test_the_item_table_grows_and_comes_back_once(tmp_path, pack):
    writer = Writer.create(tmp_path / "r", attributes=HEAD)
    for count in (2, 2, 5):
        writer.items(table(count))
        writer.commit()
    with pytest.raises(ValueError, match="must begin with the 5 items"):
        writer.items(table(6)[1:])
    with pytest.raises(ValueError, match="names item 5 of a table of 5"):
        writer.append(
            "score/image", np.ones(1), axes=("item",), coordinates={"item": np.array([5])}, unit="nats"
        )
    writer.close(pack=pack)
    with recording.open(tmp_path / "r") as found:
        assert found.items == tuple(table(5))


def test_committed_rows_are_there_before_the_end_and_uncommitted_ones_are_not(tmp_path):
    with Writer.create(tmp_path / "r", attributes=HEAD, flush_seconds=600.0) as writer:
        step_rows(writer, 0)
        assert recording.open(tmp_path / "r").keys() == ()
        assert writer.position == 0
        writer.commit()
        assert writer.position == 1
        writer.commit()
        assert writer.position == 1, "a commit of nothing makes no segment"
        step_rows(writer, 1)
        assert len(recording.open(tmp_path / "r")["loss/total"]) == 1
        assert segments(tmp_path / "r") == ["r0-000000.h5"]


def test_bytes_are_durable_before_the_name_and_the_name_before_the_manifest_says_so(tmp_path, monkeypatch):
    events: list[str] = []
    plain = Path.rename

    def sync(path: Path) -> None:
        events.append(f"sync {path.name.removeprefix('.')}")

    def rename(path: Path, target: Path) -> Path:
        events.append(f"rename to {target.name}")
        return plain(path, target)

    folder = tmp_path / "r"
    writer = Writer.create(folder, attributes=HEAD)
    monkeypatch.setattr(segment, "sync", sync)
    monkeypatch.setattr(Path, "rename", rename)
    monkeypatch.setattr(commits, "append_segment", lambda *_: events.append("line"))
    step_rows(writer, 0)
    writer.commit()
    assert events == ["sync r0-000000.h5.part", "rename to r0-000000.h5", "sync r", "line"]
    monkeypatch.undo()
    writer.close(pack=False)


def test_rows_are_committed_in_time_without_being_asked(tmp_path):
    with Writer.create(tmp_path / "r", attributes=HEAD, flush_seconds=0.4) as writer:
        step_rows(writer, 0)
        until = time.monotonic() + 5
        began = time.monotonic()
        while writer.position == 0 and time.monotonic() < until:
            time.sleep(0.01)
        assert 0.15 < time.monotonic() - began < 2.0


def test_many_small_rows_are_committed_before_they_fill_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(commits, "HELD_BYTES", 10_000)
    with Writer.create(tmp_path / "r", attributes=HEAD, flush_seconds=600.0) as writer:
        for number in range(100):
            writer.append(f"a/{number}", np.zeros(100), axes=("step",), coordinates={}, unit="1")
        writer.commit()
        assert 7 <= writer.position <= 12


def test_rows_that_went_to_the_file_fill_no_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(commits, "HELD_BYTES", 3 * 1024**2)
    with Writer.create(tmp_path / "r", attributes=HEAD, flush_seconds=600.0) as writer:
        for _ in range(20):
            half = np.zeros((1, 131_072), np.float32)  # of the megabyte that is gathered
            writer.append("a/b", half, axes=("step", "dim"), coordinates={}, unit="1")
        writer.commit()
        assert writer.position == 1


class Slow:
    """A disk that is as slow as it is told, and can be stopped."""

    def __init__(self, monkeypatch) -> None:
        self.may_go = threading.Event()
        self.has_begun = threading.Event()
        plain = segment.Segment.add

        def add(this, batch):
            self.has_begun.set()
            assert self.may_go.wait(20)
            plain(this, batch)

        monkeypatch.setattr(segment.Segment, "add", add)


def fill(writer: Writer, disk: Slow, *, batches: int) -> None:
    """Append batches of 800 bytes; the limit counts a batch until the thread has taken it over."""
    for _ in range(batches):
        writer.append("a/b", np.zeros(100), axes=("step",), coordinates={}, unit="1")
        disk.has_begun.wait(5)


def test_policy_drop_counts_what_it_loses(tmp_path, monkeypatch):
    disk = Slow(monkeypatch)
    with Writer.create(tmp_path / "r", attributes=HEAD, limit_bytes=2000, policy="drop") as writer:
        fill(writer, disk, batches=5)
        assert writer.statistics.dropped_batches == 3
        assert writer.statistics.dropped_rows == 300
        disk.may_go.set()
    with recording.open(tmp_path / "r") as found:
        assert len(found["a/b"]) == 200
        assert found.statistics["dropped_rows"] == 300
        assert found.statistics["rows"] == 200


def test_policy_error_says_what_to_do(tmp_path, monkeypatch):
    disk = Slow(monkeypatch)
    writer = Writer.create(tmp_path / "r", attributes=HEAD, limit_bytes=2000, policy="error")
    with pytest.raises(MechlabError, match=r"queue is full \(1600 of 2000 bytes.*limit_bytes"):
        fill(writer, disk, batches=3)
    disk.may_go.set()
    writer.close()
    assert len(recording.open(tmp_path / "r")["a/b"]) == 200


def test_policy_block_waits_counts_the_seconds_and_loses_nothing(tmp_path, monkeypatch):
    disk = Slow(monkeypatch)
    with Writer.create(tmp_path / "r", attributes=HEAD, limit_bytes=2000) as writer:
        timer = threading.Timer(0.3, disk.may_go.set)
        timer.start()
        fill(writer, disk, batches=5)
        assert 0.2 < writer.statistics.blocked_seconds < 5
        assert writer.statistics.append_seconds >= writer.statistics.blocked_seconds
    assert len(recording.open(tmp_path / "r")["a/b"]) == 500


def test_rows_that_waited_for_a_slow_disk_are_committed_together(tmp_path, monkeypatch):
    disk = Slow(monkeypatch)
    with Writer.create(tmp_path / "r", attributes=HEAD, flush_seconds=0.5) as writer:
        for step in range(200):
            step_rows(writer, step)
        time.sleep(0.6)
        disk.may_go.set()
        writer.commit()
        assert writer.position <= 3
    assert len(recording.open(tmp_path / "r")["loss/total"]) == 200


def test_rows_larger_than_the_whole_queue_still_pass(tmp_path):
    with Writer.create(tmp_path / "r", attributes=HEAD, limit_bytes=10) as writer:
        for _ in range(3):
            writer.append("a/b", np.ones((1, 50)), axes=("step", "dim"), coordinates={}, unit="1")
    assert recording.open(tmp_path / "r")["a/b"].shape == (3, 50)


def no_space(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("module", "where"),
    [(rows, "write_whole"), (segment, "sync"), (segment, "sha256_file"), (segment, "put_json")],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_full_disk_is_one_sentence_and_leaves_committed_rows_only(tmp_path, monkeypatch, module, where):
    before = set(threading.enumerate())
    writer = Writer.create(tmp_path / "r", attributes=HEAD)
    step_rows(writer, 0)
    writer.commit()
    monkeypatch.setattr(module, where, no_space)
    step_rows(writer, 1)
    with pytest.raises(MechlabError, match="the disk is full; free some space"):
        writer.commit()
    with pytest.raises(MechlabError, match="the disk is full"):
        step_rows(writer, 2)
    with pytest.raises(MechlabError, match="the disk is full"):
        writer.close()
    writer.close()
    monkeypatch.undo()
    assert segments(tmp_path / "r") == ["r0-000000.h5"]
    assert not list((tmp_path / "r").glob(".*"))
    assert len(recording.open(tmp_path / "r")["loss/total"]) == 1
    assert set(threading.enumerate()) <= before


def test_a_full_disk_frees_a_caller_that_is_blocked(tmp_path, monkeypatch):
    disk = Slow(monkeypatch)
    writer = Writer.create(tmp_path / "r", attributes=HEAD, limit_bytes=1000, flush_seconds=0.01)
    monkeypatch.setattr(rows, "write_whole", no_space)
    threading.Timer(0.2, disk.may_go.set).start()
    with pytest.raises(MechlabError, match="the disk is full"):
        for _ in range(1000):
            fill(writer, disk, batches=1)
    with pytest.raises(MechlabError, match="the disk is full"):
        writer.close()


def test_a_fault_of_the_program_in_the_thread_is_raised_as_well(tmp_path, monkeypatch):
    monkeypatch.setattr(rows, "write_whole", lambda *_: 1 / 0)
    writer = Writer.create(tmp_path / "r", attributes=HEAD)
    step_rows(writer, 0)
    with pytest.raises(MechlabError, match="the recorder stopped: ZeroDivisionError"):
        writer.close()


def test_an_exception_in_the_loop_is_not_hidden_and_rows_are_kept(tmp_path):
    with pytest.raises(KeyboardInterrupt), Writer.create(tmp_path / "r", attributes=HEAD) as writer:
        step_rows(writer, 0)
        raise KeyboardInterrupt
    assert segments(tmp_path / "r") == ["r0-000000.h5"], "kept, and not packed, so that it can be resumed"
    with Writer.resume(tmp_path / "r", position=1) as writer:
        step_rows(writer, 1)
    assert len(recording.open(tmp_path / "r")["loss/total"]) == 2


def test_a_second_writer_is_refused_while_the_first_is_at_work(tmp_path):
    with Writer.create(tmp_path / "r", attributes=HEAD) as writer:
        with pytest.raises(MechlabError, match="another process is writing this recording"):
            Writer.create(tmp_path / "r", attributes=HEAD)
        with pytest.raises(MechlabError, match="another process is writing this recording"):
            Writer.resume(tmp_path / "r", position=0)
        with pytest.raises(MechlabError, match="another process is writing this recording"):
            recording.pack(tmp_path / "r")
        step_rows(writer, 0)
    assert len(recording.open(tmp_path / "r")["loss/total"]) == 1


@pytest.mark.parametrize("pack", [False, True])
def test_a_recording_is_never_overwritten(tmp_path, pack):
    writer = Writer.create(tmp_path / "r", attributes=HEAD)
    step_rows(writer, 0)
    writer.close(pack=pack)
    before = segments(tmp_path / "r")
    with pytest.raises(MechlabError, match="already holds a recording; record into a new folder"):
        Writer.create(tmp_path / "r", attributes=HEAD)
    assert segments(tmp_path / "r") == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"values": np.zeros((1, 3))}, "changed their form"),
        ({"values": np.zeros((1, 2), np.float32)}, "changed their form"),
        ({"unit": "bits"}, "changed their form"),
        ({"axes": ("item", "dim")}, "changed their form"),
        ({"coordinates": {}}, "changed their form"),
        ({"coordinates": {"step": np.zeros(1)}}, "changed their form"),
        ({"attributes": {"a": 1}}, "changed their form"),
        ({"coordinates": {"step": np.zeros(2, np.int64)}}, "has shape"),
        ({"key": "b/c", "axes": ("step",)}, "for values of 2 dimensions"),
        ({"key": "b/c", "values": np.zeros((1, 0))}, "for values of 2 dimensions"),
        ({"key": "b"}, "is not '<quantity>/<site>'"),
        ({"key": "b/c", "attributes": {"a": float("nan")}}, "not JSON compliant"),
    ],
    ids=lambda value: str(list(value)) if isinstance(value, dict) else value,
)
def test_rows_that_do_not_fit_are_refused_at_once_and_do_no_harm(tmp_path, change, message):
    given_ = {
        "key": "a/b",
        "values": np.zeros((1, 2)),
        "axes": ("step", "dim"),
        "coordinates": {"step": np.zeros(1, np.int64)},
        "unit": "nats",
        "attributes": None,
    }

    def append(**words) -> None:
        writer.append(
            words["key"],
            words["values"],
            axes=words["axes"],
            coordinates=words["coordinates"],
            unit=words["unit"],
            attributes=words["attributes"],
        )

    with Writer.create(tmp_path / "r", attributes=HEAD) as writer:
        append(**given_)
        with pytest.raises(ValueError, match=message):
            append(**(given_ | change))
        append(**given_)
    with recording.open(tmp_path / "r") as found:
        assert found.keys() == ("a/b",)
        assert len(found["a/b"]) == 2


def test_no_rows_are_no_rows(tmp_path):
    with Writer.create(tmp_path / "r", attributes=HEAD) as writer:
        writer.append("a/b", np.zeros((0, 2)), axes=("item", "dim"), coordinates={}, unit="1")
    with recording.open(tmp_path / "r") as found:
        assert found.keys() == ()
        assert found.items == ()


def test_a_closed_writer_takes_no_rows(tmp_path):
    writer = Writer.create(tmp_path / "r", attributes=HEAD)
    writer.close()
    with pytest.raises(ValueError, match="the writer is closed"):
        step_rows(writer, 0)
