"""Laws of chunks: HDF5's own reader accepts them, notices a changed byte, and none is too large."""

import math
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mechlab.recording.chunk import CHUNK_BYTES, chunk_shape, create, fletcher32, write_rows
from mechlab.recording.format import Column

DTYPES = st.sampled_from(["<f2", "<f4", "<f8", "<i1", "<i8", "u1", "S3", "S7"])
ARRAYS = DTYPES.flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=1, max_dims=3, max_side=9), elements=None)
)


def written(path: Path, values: np.ndarray, chunk: tuple[int, ...]) -> None:
    with h5py.File(path, "w", libver=("v110", "v110")) as file:
        data = create(file, "values", Column(values), chunk=chunk, rows=None)
        write_rows(data, 0, values)


@settings(max_examples=60, deadline=None)
@given(values=ARRAYS, data=st.data())
def test_hdf5_reads_back_every_chunk_and_its_checksum(tmp_path_factory, values, data):
    chunk = tuple(data.draw(st.integers(1, side)) for side in values.shape)
    path = tmp_path_factory.mktemp("chunk") / "values.h5"
    written(path, values, chunk)
    with h5py.File(path) as file:
        read = file["values"][()]
    assert read.tobytes() == values.tobytes()


@pytest.mark.parametrize("size", [1, 2, 3, 511, 512, 513, 100_001])
def test_the_checksum_of_zeros_is_zero_and_of_the_largest_words_is_not(size):
    assert fletcher32(np.zeros(size, np.uint8)) == 0
    assert fletcher32(np.full(size, 255, np.uint8)) != 0


def test_a_changed_byte_of_a_chunk_is_noticed_by_any_reader(tmp_path, rng):
    path = tmp_path / "values.h5"
    values = rng.standard_normal((40, 8))
    written(path, values, (10, 8))
    with h5py.File(path) as file:
        place = file["values"].id.get_chunk_info(2)
    content = bytearray(path.read_bytes())
    content[place.byte_offset + 77] ^= 1
    path.write_bytes(content)
    with h5py.File(path) as file:
        assert (file["values"][:20] == values[:20]).all()
        with pytest.raises(OSError, match="read data"):
            file["values"][20:30]


@given(
    shape=st.lists(st.integers(1, 5000), min_size=1, max_size=4).map(tuple),
    itemsize=st.sampled_from([1, 2, 4, 8]),
)
def test_no_chunk_is_larger_than_the_limit_or_the_data(shape, itemsize):
    chunk = chunk_shape(shape, itemsize)
    assert math.prod(chunk) * itemsize <= CHUNK_BYTES
    assert all(1 <= part <= side for part, side in zip(chunk, shape, strict=True))


def test_a_chunk_is_not_needlessly_small():
    assert chunk_shape((100, 4, 4), 8) == (100, 4, 4)
    assert chunk_shape((4096, 512), 4) == (2048, 512)
    assert chunk_shape((2, 4096, 1024), 4) == (1, 1024, 1024)


def test_what_is_missing_of_a_chunk_is_zeros_and_no_remains(tmp_path):
    path = tmp_path / "values.h5"
    written(path, np.full((7, 3), 255, np.uint8), (4, 3))
    with h5py.File(path) as file:
        _, raw = file["values"].id.read_direct_chunk((4, 0))
    assert np.frombuffer(raw[:12], np.uint8).tolist() == [255] * 9 + [0] * 3
