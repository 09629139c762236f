"""Lent buffers: what is handed over comes back bit by bit, and none is lent again before it is written.

Every buffer is scribbled over when it is given back, so that whoever still reads it shows.
"""

import threading

import h5py
import numpy as np
import pytest

from mechlab import recording
from mechlab.errors import MechlabError
from mechlab.recording import Writer, segment
from mechlab.recording.chunk import CHUNK_BYTES
from mechlab.recording.rooms import SPARE_BYTES, Rooms

HEAD = {"run_id": "r", "spec": None}
KEYS = ("latent/a", "latent/b")
SHAPES = {
    "64 KiB, sixteen to a chunk": (1, 128, 128),
    "300 kB, four to a chunk": (1, 300, 250),
    "a chunk of many rows": (64, 90, 50),
    "a chunk of one row": (1, 1024, 1024),
    "a row larger than a chunk": (1, 1500, 1024),
    "rows that are not a whole number of chunks": (7, 500, 500),
}


@pytest.fixture(autouse=True)
def scribbled(monkeypatch):
    plain, count = Rooms.give_back, []

    def give_back(this, room):
        room[:] = 0xA5
        count.append(len(room))
        plain(this, room)

    monkeypatch.setattr(Rooms, "give_back", give_back)
    return count


@pytest.fixture
def disk(monkeypatch):
    """A disk that writes nothing until it is set free."""
    may_go, plain = threading.Event(), segment.Segment.add

    def add(this, batch):
        assert may_go.wait(20)
        plain(this, batch)

    monkeypatch.setattr(segment.Segment, "add", add)
    return may_go


def hand_over(writer, key, values, *, step, room_bytes=None):
    room = writer.lend(room_bytes or values.nbytes)
    array = room[: values.nbytes].view(values.dtype).reshape(values.shape)
    array[...] = values
    steps = {"step": np.full(len(values), step)}
    writer.append(key, array, axes=("item", "row", "dim"), coordinates=steps, unit="1", room=room)


def draws(rng, shape, *, steps, dtype=np.float32):
    return {key: [rng.standard_normal(shape).astype(dtype) for _ in range(steps)] for key in KEYS}


def contents(folder, given):
    """Return bytes and steps of each key that was given, as they are read back."""
    with recording.open(folder) as found:
        found.verify()
        return {key: (found[key].read().tobytes(), found[key].coordinates["step"].tolist()) for key in given}


def expected(given):
    """Return the same of what was handed over."""
    steps = {key: [at for at, rows in enumerate(batches) for _ in rows] for key, batches in given.items()}
    return {key: (np.concatenate(batches).tobytes(), steps[key]) for key, batches in given.items()}


@pytest.mark.parametrize("pack", [True, False], ids=["packed", "segments"])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_rows_in_lent_buffers_come_back_bit_by_bit(tmp_path, rng, scribbled, shape, pack):
    given = draws(rng, shape, steps=9)
    writer = Writer.create(tmp_path / "r", attributes=HEAD)
    for step in range(9):
        for key in KEYS:
            hand_over(writer, key, given[key][step], step=step)
        if step == 4:
            writer.commit()
    writer.close(pack=pack)
    assert contents(tmp_path / "r", given) == expected(given)
    assert len(scribbled) == 18, "each buffer is given back once"


def test_halves_and_copies_share_a_key_with_lent_rows(tmp_path, rng):
    given = draws(rng, (2, 200, 400), steps=8, dtype=np.float16)
    with Writer.create(tmp_path / "r", attributes=HEAD) as writer:
        for step in range(8):
            hand_over(writer, KEYS[0], given[KEYS[0]][step], step=step)
            rows, axes = given[KEYS[1]][step], ("item", "row", "dim")
            if step % 2:
                hand_over(writer, KEYS[1], rows, step=step)
            else:
                writer.append(KEYS[1], rows, axes=axes, coordinates={"step": np.full(2, step)}, unit="1")
    assert contents(tmp_path / "r", given) == expected(given)


@pytest.mark.parametrize("rows", [1, 8], ids=["one row", "eight rows"])
def test_a_buffer_larger_than_its_rows_is_written_without_the_rest(tmp_path, rng, rows):
    given = draws(rng, (rows, 512, 512), steps=3)
    with Writer.create(tmp_path / "r", attributes=HEAD) as writer:
        for step in range(3):
            for key in KEYS:
                hand_over(writer, key, given[key][step], step=step, room_bytes=CHUNK_BYTES * 3)
    assert contents(tmp_path / "r", given) == expected(given)


def test_a_changed_byte_of_a_chunk_that_was_lent_is_noticed(tmp_path, rng):
    writer = Writer.create(tmp_path / "r", attributes=HEAD)
    hand_over(writer, KEYS[0], rng.standard_normal((1, 512, 512)), step=0)
    writer.close(pack=False)
    path = tmp_path / "r" / "r0-000000.h5"
    with h5py.File(path) as file:
        values = file[KEYS[0]]["values"]
        assert values.chunks == values.shape, "the buffer was written as it lay"
        place, filters = values.id.get_chunk_info(0).byte_offset, values.id.get_chunk_info(0).filter_mask
        assert filters == 0, "readers are told to check"
    content = bytearray(path.read_bytes())
    content[place + 99] ^= 1
    path.write_bytes(content)
    with h5py.File(path) as file, pytest.raises(OSError, match="read data"):
        file[KEYS[0]]["values"][()]


def test_buffers_that_wait_are_not_lent_again(tmp_path, rng, disk):
    given = draws(rng, (1, 300, 250), steps=10)
    with Writer.create(tmp_path / "r", attributes=HEAD) as writer:
        for step in range(10):
            for key in KEYS:
                hand_over(writer, key, given[key][step], step=step)
        disk.set()
    assert contents(tmp_path / "r", given) == expected(given)


def test_dropped_rows_give_their_buffer_back_and_harm_no_others(tmp_path, rng, disk, scribbled):
    given = draws(rng, (1, 512, 256), steps=9)[KEYS[0]]
    with Writer.create(tmp_path / "r", attributes=HEAD, limit_bytes=2_200_000, policy="drop") as writer:
        for step in range(9):
            hand_over(writer, KEYS[0], given[step], step=step)
        dropped = writer.statistics.dropped_batches
        assert dropped >= 4
        assert len(scribbled) == dropped
        disk.set()
        writer.commit()
        hand_over(writer, KEYS[0], given[0], step=99)
    with recording.open(tmp_path / "r") as found:
        steps = found[KEYS[0]].coordinates["step"].tolist()
        assert steps == [*range(9 - dropped), 99]
        kept = [given[step % 99] for step in steps]
        assert found[KEYS[0]].read().tobytes() == np.concatenate(kept).tobytes()


def test_rows_that_the_policy_refuses_harm_no_others(tmp_path, rng, disk):
    given = draws(rng, (1, 512, 256), steps=9)[KEYS[0]]
    writer, taken = (
        Writer.create(tmp_path / "r", attributes=HEAD, limit_bytes=2_200_000, policy="error"),
        [],
    )
    with pytest.raises(MechlabError, match="queue is full"):
        for step in range(9):
            hand_over(writer, KEYS[0], given[step], step=step)
            taken.append(given[step])
    disk.set()
    writer.commit()
    hand_over(writer, KEYS[0], given[-1], step=len(taken))
    writer.close()
    assert contents(tmp_path / "r", {KEYS[0]: [*taken, given[-1]]}) == expected(
        {KEYS[0]: [*taken, given[-1]]}
    )


def test_a_buffer_goes_round_to_who_asks_for_its_size():
    rooms = Rooms(limit_bytes=250)
    first, second, third = (rooms.lend(100) for _ in range(3))
    assert {len(room) for room in (first, second, third)} == {100 + SPARE_BYTES}
    assert not any(np.shares_memory(first, room) for room in (second, third))
    for room in (first, second, third):
        rooms.give_back(room)
    assert rooms.lend(90).nbytes == 90 + SPARE_BYTES
    again = [rooms.lend(100) for _ in range(3)]
    assert {id(room) for room in again} >= {id(first), id(second)}
    assert not any(room is third for room in again), "beyond the limit a buffer is let go"


def test_a_buffer_goes_round_for_as_long_as_it_is_asked_for():
    rooms = Rooms(limit_bytes=100)
    room = rooms.lend(100)
    for _ in range(3):
        rooms.give_back(room)
        assert rooms.lend(100) is room


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda room: room[8:808].view(np.float64), id="not at the start"),
        pytest.param(lambda room: np.zeros(100), id="elsewhere"),
        pytest.param(lambda room: room[:800].view(">f8"), id="big-endian"),
        pytest.param(lambda room: room[:800].view(np.float64)[::2], id="with gaps"),
        pytest.param(lambda room: room[:100].view(np.bool_), id="booleans"),
        pytest.param(lambda room: room[:800].view("c16"), id="complex"),
        pytest.param(lambda room: room[:800].view("S8"), id="text"),
    ],
)
def test_values_that_do_not_lie_in_their_buffer_are_refused(tmp_path, make):
    with Writer.create(tmp_path / "r", attributes=HEAD) as writer:
        room = writer.lend(1600)
        with pytest.raises(ValueError, match="do not lie at the start of their room"):
            writer.append("a/b", make(room), axes=("step",), coordinates={}, unit="1", room=room)
