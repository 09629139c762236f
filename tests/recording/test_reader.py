"""Laws of reading: an index is NumPy's, nothing is read before it is needed, damage is one sentence."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mechlab import recording
from mechlab.errors import MechlabError
from mechlab.recording import Writer, quantity
from mechlab.specs import Item

HEAD = {"run_id": "moleflow-0123", "spec": {"train": "ab"}, "provenance": {}}
ROWS = 23
VALUES = np.arange(ROWS * 6, dtype=np.float32).reshape(ROWS, 2, 3)
KINDS = ["segments", "packed"]


def record(folder: Path, *, pack: bool) -> Path:
    writer = Writer.create(folder, attributes=HEAD)
    writer.items(
        [
            Item(
                sha256=f"{i:064x}",
                class_name="gear",
                split="test",
                label=i % 2,
                defect="good",
                image=f"{i}.png",
            )
            for i in range(ROWS)
        ]
    )
    for rows in np.split(np.arange(ROWS), [1, 8, 9, 20]):
        for key in ("latent/flow.10", "latent/flow.2", "log_det/flow.2"):
            writer.append(
                key,
                VALUES[rows],
                axes=("item", "row", "dim"),
                coordinates={"item": rows, "loss": np.array(["mean", "tail"])[rows % 2]},
                unit="1",
                attributes={"a": 1},
            )
        names = np.array([f"patch {row}" for row in rows])
        writer.append("name/text", names, axes=("item",), coordinates={}, unit="1")
        writer.commit()
    writer.close(pack=pack)
    return folder


@pytest.fixture(scope="module", params=KINDS)
def folder(request, tmp_path_factory) -> Path:
    return record(tmp_path_factory.mktemp("reader") / "mini-0", pack=request.param == "packed")


def rows_or_slices() -> st.SearchStrategy:
    row = st.integers(-ROWS, ROWS - 1)
    return st.one_of(
        row,
        row.map(np.int32),
        st.slices(ROWS),
        st.lists(row, max_size=40),
        st.lists(row, max_size=40).map(lambda rows: np.array(rows, dtype=np.int64)),
        st.lists(st.booleans(), min_size=ROWS, max_size=ROWS).map(np.array),
    )


@settings(max_examples=40, deadline=None)
@given(index=rows_or_slices(), block=st.sampled_from([1, 60, 8 * 1024**2]))
def test_an_index_means_what_it_means_in_numpy(folder, index, block):
    whole = np.array([f"patch {row}" for row in range(ROWS)])
    plain = np.array(index, dtype=np.int64) if isinstance(index, list) else index
    with pytest.MonkeyPatch.context() as patch, recording.open(folder) as found:
        patch.setattr(quantity, "_BLOCK_BYTES", block)
        read = found["latent/flow.2"][index]
        assert read.shape == VALUES[plain].shape
        assert (read == VALUES[plain]).all()
        assert (found["name/text"][index] == whole[plain]).all()


@pytest.mark.parametrize("rows", [1, 4, ROWS, 100])
def test_chunks_put_together_are_the_whole(folder, rows):
    with recording.open(folder) as found:
        out = np.zeros_like(VALUES)
        for place, values in found["latent/flow.2"].chunks(rows):
            assert len(values) <= rows
            out[place] = values
    assert (out == VALUES).all()


def test_indices_that_numpy_refuses_are_refused(folder):
    with recording.open(folder) as found:
        latent = found["latent/flow.2"]
        for index in (ROWS, -ROWS - 1, [0, ROWS], np.array([-ROWS - 1])):
            with pytest.raises(IndexError, match=f"of {ROWS} rows"):
                latent[index]
        with pytest.raises(IndexError, match="a mask of shape"):
            latent[np.ones(3, bool)]
        with pytest.raises(TypeError, match="along the first axis only"):
            latent[(0, 1)]  # type: ignore[index]
        with pytest.raises(TypeError, match="row numbers or booleans"):
            latent[np.zeros(2)]
        with pytest.raises(ValueError, match="give 1 or more"):
            list(latent.chunks(0))


@pytest.mark.parametrize(
    "index", [slice(1, None), [3, 0], np.array([2, -1]), np.array([True, False] * 2)], ids=str
)
@pytest.mark.parametrize("pack", [False, True])
def test_exact_values_are_those_before_the_scale(tmp_path, index, pack):
    exact, scale = (
        np.array([[1e-9, 2e-9], [3.0, 5.0], [1e7, -1e7], [0.5, 0.0]]),
        2.0 ** np.array([40, 2, -9, 14]),
    )
    writer = Writer.create(tmp_path, attributes=HEAD)
    stored = (exact * scale[:, None]).astype(np.float16)
    writer.append("update/a", stored, axes=("step", "dim"), coordinates={"scale": scale}, unit="1")
    writer.append("update/b", stored, axes=("step", "dim"), coordinates={}, unit="1")
    text = np.array(["a", "b", "c", "d"])
    writer.append("name/c", text, axes=("step",), coordinates={"scale": scale}, unit="")
    writer.close(pack=pack)
    with recording.open(tmp_path) as found:
        np.testing.assert_allclose(found["update/a"].exact(index), exact[index], rtol=2**-10)
        np.testing.assert_array_equal(found["update/b"].exact(index), stored[index])
        assert found["update/a"].exact(index).dtype == found["update/b"].exact(index).dtype == np.float64
        assert found["name/c"].exact(index).tolist() == text[index].tolist()


def test_keys_come_in_natural_order_and_match_patterns(folder):
    with recording.open(folder) as found:
        assert found.keys() == ("latent/flow.2", "latent/flow.10", "log_det/flow.2", "name/text")
        assert found.keys("*/flow.2") == ("latent/flow.2", "log_det/flow.2")
        assert found.keys("score/*") == ()
        assert "latent/flow.2" in found
        assert len(found) == len(list(found)) == 4


def test_a_quantity_says_what_it_is(folder):
    with recording.open(str(folder)) as found:
        latent = found["latent/flow.10"]
        assert repr(latent) == "Quantity('latent/flow.10': item 23, row 2, dim 3; float32, 1)"
        assert (latent.shape, latent.dtype, latent.nbytes) == (VALUES.shape, np.float32, VALUES.nbytes)
        assert latent.attributes == {"a": 1}
        assert latent.coordinates["item"].tolist() == list(range(ROWS))
        assert latent.coordinates["loss"].tolist() == [
            "mean" if row % 2 == 0 else "tail" for row in range(ROWS)
        ]
        assert found.name == "mini-0"
        assert [item.label for item in found.items] == [row % 2 for row in range(ROWS)]
        found.verify()


def test_a_key_that_is_not_there_gets_the_nearest(folder):
    with (
        recording.open(folder) as found,
        pytest.raises(
            MechlabError, match=r"nothing is recorded under 'latent/flow2'. Did you mean 'latent/flow.2'"
        ),
    ):
        found["latent/flow2"]


def test_a_few_rows_of_a_large_recording_are_read_without_the_rest(tmp_path):
    import tracemalloc

    with Writer.create(tmp_path, attributes=HEAD) as writer:
        for _ in range(12):
            writer.append(
                "a/b", np.ones((40, 25_000), np.float32), axes=("item", "dim"), coordinates={}, unit="1"
            )
    tracemalloc.start()
    with recording.open(tmp_path) as found:
        assert found["a/b"].nbytes == 48_000_000
        assert found["a/b"][[0, 479]].sum() == 50_000
        assert sum(float(rows.sum()) for _, rows in found["a/b"].chunks(20)) == 12_000_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000


def test_many_segments_need_few_open_files(tmp_path):
    writer = Writer.create(tmp_path, attributes=HEAD)
    for step in range(40):
        writer.append("a/b", np.full(1, step), axes=("step",), coordinates={}, unit="1")
        writer.commit()
    before = len(list(Path("/proc/self/fd").iterdir()))
    found = recording.open(tmp_path)
    assert found["a/b"].read().tolist() == list(range(40))
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 16
    found.close()
    assert len(list(Path("/proc/self/fd").iterdir())) <= before
    writer.close(pack=False)


def test_a_reader_sees_what_was_committed_since_when_it_opens_again(tmp_path):
    with Writer.create(tmp_path, attributes=HEAD, flush_seconds=600.0) as writer:
        for step in range(3):
            writer.append("a/b", np.full(1, step), axes=("step",), coordinates={}, unit="1")
            writer.commit()
            assert recording.open(tmp_path)["a/b"].read().tolist() == list(range(step + 1))


def test_what_is_not_there_or_no_recording_is_one_sentence(tmp_path):
    with pytest.raises(MechlabError, match="does not exist; give the path of a recording"):
        recording.open(tmp_path / "none")
    with pytest.raises(MechlabError, match="holds no recording"):
        recording.open(tmp_path)
    (tmp_path / "text.h5").write_text("no HDF5")
    with pytest.raises(MechlabError, match=r"text.h5' is truncated, damaged or no HDF5 file"):
        recording.open(tmp_path / "text.h5")
    with h5py.File(tmp_path / "foreign.h5", "w") as file:
        file["x"] = 1
    with pytest.raises(MechlabError, match=r"foreign.h5' is an HDF5 file but no recording"):
        recording.open(tmp_path / "foreign.h5")


def test_one_segment_is_not_taken_for_a_recording(tmp_path):
    record(tmp_path, pack=False)
    with pytest.raises(MechlabError, match="is one segment; give its folder"):
        recording.open(tmp_path / "r0-000001.h5")


@pytest.mark.parametrize("version", [0, 2, "one"], ids=str)
def test_another_version_is_refused(tmp_path, version):
    record(tmp_path, pack=True)
    with h5py.File(tmp_path / "recording.h5", "r+") as file:
        file.attrs["version"] = version
    with pytest.raises(MechlabError, match=f"recording of version {version}; this mechlab reads version 1"):
        recording.open(tmp_path)


@pytest.mark.parametrize("keep", [0, 1, 100, 0.5, -1])
@pytest.mark.parametrize("kind", KINDS)
def test_a_truncated_file_is_one_sentence(tmp_path, kind, keep):
    record(tmp_path, pack=kind == "packed")
    path = tmp_path / ("recording.h5" if kind == "packed" else "r0-000001.h5")
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data)) if 0 < keep < 1 else keep])
    with pytest.raises(MechlabError, match=rf"'{path}'.*truncated"):
        recording.open(tmp_path)


def content(path: Path) -> str:
    with recording.open(path) as found:
        keys = [
            (
                key,
                found[key].read().tolist(),
                found[key].axes,
                found[key].unit,
                found[key].attributes,
                str(found[key].coordinates),
            )
            for key in found
        ]
        return repr((found.attributes, found.facts, found.items, keys))


def flip(tmp_path: Path, *, kind: str, flips: int) -> tuple[int, int]:
    """Flip bits at random places of a file; count refusals and flips without effect."""
    record(tmp_path, pack=kind == "packed")
    path = tmp_path / ("recording.h5" if kind == "packed" else "r0-000001.h5")
    whole, before = path.read_bytes(), content(tmp_path)
    dice = np.random.default_rng(1)
    refused = same = 0
    for place in dice.choice(len(whole), flips, replace=False):
        data = bytearray(whole)
        data[place] ^= 1 << int(dice.integers(8))
        path.write_bytes(data)
        try:
            after = content(tmp_path)
        except MechlabError as fault:
            assert path.name in str(fault)
            refused += 1
        else:
            assert after == before, f"byte {place} changed the content silently"
            same += 1
    return refused, same


@pytest.mark.parametrize("kind", KINDS)
def test_a_flipped_bit_never_changes_what_is_read(tmp_path, kind):
    refused, _ = flip(tmp_path, kind=kind, flips=25)
    assert refused > 3


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_none_of_many_flipped_bits_changes_what_is_read(tmp_path, kind):
    refused, _ = flip(tmp_path, kind=kind, flips=600)
    assert refused > 100


def test_verify_finds_what_a_reader_of_other_rows_would_not(tmp_path):
    record(tmp_path, pack=False)
    path = tmp_path / "r0-000003.h5"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with (
        pytest.raises(MechlabError, match=r"r0-000003.h5' does not match its SHA-256"),
        recording.open(tmp_path) as found,
    ):
        found.verify()


def tampered(folder: Path, how: str) -> None:
    other = folder / "other.h5"
    with h5py.File(other, "w") as file:
        file["x"] = np.arange(ROWS)
    with h5py.File(folder / "recording.h5", "r+") as file:
        group = file["log_det/flow.2"]
        if how == "external":
            del group["item"]
            group["item"] = h5py.ExternalLink(str(other), "/x")
        elif how == "soft":
            del group["item"]
            group["item"] = h5py.SoftLink("/latent/flow.2/item")
        elif how == "object":
            del group["item"]
            group.create_dataset("item", (ROWS,), dtype=h5py.vlen_dtype(np.int32))
        elif how == "reference":
            del group["item"]
            group.create_dataset("item", (ROWS,), dtype=h5py.ref_dtype)
        elif how == "compound":
            del group["item"]
            group.create_dataset("item", (ROWS,), dtype=[("a", "i4")])
        elif how == "virtual":
            del group["item"]
            layout = h5py.VirtualLayout((ROWS,), "i8")
            layout[:] = h5py.VirtualSource(str(other), "x", (ROWS,))
            group.create_virtual_dataset("item", layout)
        elif how == "storage":
            del group["item"]
            group.create_dataset(
                "item", (ROWS,), "i8", external=[(str(folder / "raw"), 0, h5py.h5f.UNLIMITED)]
            )
        elif how == "length":
            del group["item"]
            group["item"] = np.arange(ROWS - 1)
        elif how == "group":
            file["log_det"].move("flow.2", "flow.3")
            file["log_det/flow.2"] = h5py.ExternalLink(str(other), "/")
        elif how == "axes":
            group["values"].attrs["axes"] = '["item"]'
        elif how == "no axes":
            del group["values"].attrs["axes"]
        elif how == "missing":
            del group["values"]


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("external", "log_det/flow.2/item' in .*recording.h5' is a link of kind external"),
        ("no axes", "cannot read 'log_det/flow.2' in .*recording.h5'.*its values have no axes"),
        ("soft", "log_det/flow.2/item' in .*recording.h5' is a link of kind soft"),
        ("group", "log_det/flow.2' in .*recording.h5' is a link of kind external"),
        ("object", "log_det/flow.2/item' in .*recording.h5' holds object"),
        ("reference", "log_det/flow.2/item' in .*recording.h5' holds object .references"),
        ("compound", "log_det/flow.2/item' in .*recording.h5' holds"),
        ("virtual", "log_det/flow.2/item' in .*recording.h5' keeps its data in other files"),
        ("storage", "log_det/flow.2/item' in .*recording.h5' keeps its data in other files"),
        ("length", "cannot read coordinate 'item' of 'log_det/flow.2' in .*recording.h5'"),
        ("axes", "cannot read 'log_det/flow.2' in .*recording.h5'"),
        ("missing", "cannot read 'log_det/flow.2' in .*recording.h5'.*no 'values' in it"),
    ],
)
def test_what_a_recording_must_not_hold_is_refused_with_file_and_key(tmp_path, how, message):
    record(tmp_path, pack=True)
    tampered(tmp_path, how)
    with pytest.raises(MechlabError, match=message), recording.open(tmp_path) as found:
        found["log_det/flow.2"].read()
        _ = found["log_det/flow.2"].coordinates


def test_variable_length_text_of_other_writers_is_read(tmp_path):
    record(tmp_path, pack=True)
    with h5py.File(tmp_path / "recording.h5", "r+") as file:
        group = file["log_det/flow.2"]
        del group["loss"]
        group["loss"] = np.array(["mean", "täil", ""] * 7 + ["a", "b"], dtype=object)
    with recording.open(tmp_path) as found:
        assert found["log_det/flow.2"].coordinates["loss"].tolist()[:3] == ["mean", "täil", ""]


def test_segments_that_disagree_are_refused(tmp_path, monkeypatch):
    writer = Writer.create(tmp_path, attributes=HEAD)
    for dim in (2, 3):
        writer._forms.clear()
        writer.append("a/b", np.ones((1, dim)), axes=("step", "dim"), coordinates={}, unit="1")
        writer.commit()
    writer.close(pack=False)
    with pytest.raises(MechlabError, match=r"cannot read 'a/b' in '.*r0-000001.h5'.*instead of"):
        recording.open(tmp_path)["a/b"].read()
