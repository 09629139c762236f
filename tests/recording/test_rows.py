"""Equal coordinates of a segment are stored once, and every key reads its own."""

import h5py
import numpy as np
import pytest

from mechlab import recording
from mechlab.recording import Writer

HEAD = {"run_id": "a"}


def put(writer: Writer, key: str, **coordinates: np.ndarray) -> None:
    rows = len(coordinates["step"])
    writer.append(key, np.arange(rows, dtype=np.float64), axes=("step",), coordinates=coordinates, unit="1")


def address(file: h5py.File, name: str) -> int:
    return int(h5py.h5o.get_info(file[name].id).addr)


def same(file: h5py.File, one: str, other: str) -> bool:
    return address(file, one) == address(file, other)


def test_equal_coordinates_are_one_data_set_with_many_names(tmp_path):
    with Writer.create(tmp_path / "r", attributes=HEAD) as writer:
        put(writer, "loss/a", step=np.array([3, 4]), overflow=np.array([0, 0]), underflow=np.array([0, 0]))
        put(writer, "loss/b", step=np.array([3, 4]), overflow=np.array([0, 1]), underflow=np.array([0, 0]))
        writer.close(pack=False)
    with h5py.File(tmp_path / "r" / "r0-000000.h5") as file:
        assert same(file, "loss/a/step", "loss/b/step")
        assert same(file, "loss/a/overflow", "loss/b/underflow"), "the name does not matter"
        assert not same(file, "loss/a/overflow", "loss/b/overflow")
        assert not same(file, "loss/a/values", "loss/b/values")
    with recording.open(tmp_path / "r") as found:
        assert found["loss/b"].coordinates["overflow"].tolist() == [0, 1]
        assert found["loss/b"].coordinates["step"].tolist() == [3, 4]


@pytest.mark.parametrize(
    "other",
    [np.zeros(2, np.float64), np.zeros(2, np.uint64), np.zeros(2, np.bool_), np.array(["", ""])],
    ids=lambda value: value.dtype.name,
)
def test_equal_bytes_of_another_type_are_not_equal(tmp_path, other):
    zeros = np.zeros(2, np.uint8 if other.dtype == np.bool_ else np.int64)
    with Writer.create(tmp_path / "r", attributes=HEAD) as writer:
        put(writer, "loss/a", step=np.arange(2), flag=zeros)
        put(writer, "loss/b", step=np.arange(2), flag=other)
        writer.close(pack=False)
    with recording.open(tmp_path / "r") as found:
        flags = found["loss/b"].coordinates["flag"]
        assert flags.dtype.kind == other.dtype.kind and flags.tolist() == other.tolist()


@pytest.mark.parametrize("pack", [False, True])
def test_each_key_reads_its_own_coordinates_over_segments(tmp_path, pack):
    long = np.arange(20_000)  # too long to be looked for among the equal ones
    with Writer.create(tmp_path / "r", attributes=HEAD) as writer:
        for start in (0, 1):
            put(writer, "loss/a", step=np.array([start]))
            put(writer, "loss/b", step=np.array([start + 1]))
            put(writer, "loss/c", step=long + start)
            writer.commit()
        writer.close(pack=pack)
    with recording.open(tmp_path / "r") as found:
        assert found["loss/a"].coordinates["step"].tolist() == [0, 1]
        assert found["loss/b"].coordinates["step"].tolist() == [1, 2]
        assert np.array_equal(found["loss/c"].coordinates["step"], np.concatenate([long, long + 1]))
