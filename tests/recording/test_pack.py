"""Laws of packing: the same content, at once or not at all, and open to netCDF tools."""

import errno
from importlib import import_module
from pathlib import Path

import h5py
import numpy as np
import pytest

from mechlab import recording
from mechlab.errors import MechlabError
from mechlab.recording import Writer
from mechlab.specs import Item

packing = import_module("mechlab.recording.pack")  # the package exports a function of the same name
HEAD = {"run_id": "moleflow-0123", "spec": {"train": "ab"}, "provenance": {}}


def content(path: Path) -> dict[str, object]:
    with recording.open(path) as found:
        quantities = {
            key: (
                found[key].read().tobytes(),
                found[key].shape,
                found[key].axes,
                found[key].dtype.name,
                found[key].unit,
                found[key].attributes,
                {name: values.tolist() for name, values in found[key].coordinates.items()},
            )
            for key in found
        }
        return {
            "attributes": found.attributes,
            "facts": found.facts,
            "items": found.items,
            "keys": quantities,
        }


def record(folder: Path, rng: np.random.Generator, *, rank: int = 0) -> Writer:
    """Two segments of several keys; left open."""
    writer = Writer.create(folder, attributes=HEAD | {"grid": [4, 3]}, rank=rank)
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
            for i in range(5)
        ]
    )
    for step in range(2):
        coordinates = {
            "step": np.full(5, step),
            "item": np.arange(5),
            "stage": np.zeros(5, np.int32),
            "loss": np.array(["mean", "tail:0.5", "mean", "µ", ""]),
            "is_own": np.arange(5) > 2,
        }
        latent = rng.standard_normal((5, 4, 3, 8)).astype(np.float16)
        writer.append(
            "latent/flow.3", latent, axes=("item", "row", "column", "dim"), coordinates=coordinates, unit="1"
        )
        scores = rng.standard_normal(5)
        writer.append("score/image", scores, axes=("item",), coordinates=coordinates, unit="nats")
        weight = rng.standard_normal((1, 6, 7)).astype(np.float32)
        writer.append(
            "weight/flow.0.subnet.s1.base",
            weight,
            axes=("stage", "fan_out", "fan_in"),
            coordinates={"stage": np.array([step])},
            unit="1",
            attributes={"parts": ["base", "up"]},
        )
        writer.append("weight/bias", weight[0, :1], axes=("stage", "fan_out"), coordinates={}, unit="1")
        writer.append(
            "flag/own", np.array([step > 0]), axes=("step",), coordinates={"step": np.array([step])}, unit="1"
        )
        writer.commit()
    return writer


def test_packing_changes_nothing_and_leaves_one_file(tmp_path, rng):
    record(tmp_path, rng).close(pack=False)
    before = content(tmp_path)
    assert recording.pack(tmp_path) == tmp_path / "recording.h5"
    assert [path.name for path in tmp_path.iterdir()] == ["recording.h5"]
    assert content(tmp_path) == before
    assert content(tmp_path / "recording.h5") == before


def test_packing_twice_is_packing_once(tmp_path, rng):
    record(tmp_path, rng).close()
    before = (tmp_path / "recording.h5").read_bytes()
    recording.pack(tmp_path)
    assert (tmp_path / "recording.h5").read_bytes() == before


def test_large_arrays_are_packed_in_small_chunks(tmp_path, rng):
    values = rng.standard_normal((900, 2000))
    with Writer.create(tmp_path, attributes=HEAD) as writer:
        writer.append("a/b", values[:500], axes=("item", "dim"), coordinates={}, unit="1")
        writer.append("a/b", values[500:], axes=("item", "dim"), coordinates={}, unit="1")
        writer.append(
            "a/c", values.reshape(1, 900, 2000), axes=("item", "row", "dim"), coordinates={}, unit="1"
        )
    with recording.open(tmp_path) as found:
        assert (found["a/b"].read() == values).all()
        assert (found["a/c"].read()[0] == values).all()
    with h5py.File(tmp_path / "recording.h5") as file:
        assert all(np.prod(file[f"a/{name}/values"].chunks) * 8 <= 2**20 for name in "bc")


def test_xarray_opens_each_quantity_with_its_axes_and_coordinates(tmp_path, rng):
    import xarray

    record(tmp_path, rng).close()
    path = tmp_path / "recording.h5"
    with recording.open(path) as found:
        for key in found:
            with xarray.open_dataset(path, engine="h5netcdf", group=key) as opened:
                assert opened["values"].dims == found[key].axes
                assert opened["values"].dtype == found[key].dtype
                assert (opened["values"].to_numpy() == found[key].read()).all()
                assert set(opened.coords) == set(found[key].coordinates)
                assert opened["values"].attrs["unit"] == found[key].unit
                for name, values in found[key].coordinates.items():
                    assert opened[name].dims == found[key].axes[:1]
                    assert opened[name].to_numpy().tolist() == values.tolist()


def test_axes_of_equal_length_are_told_apart(tmp_path):
    import xarray

    with Writer.create(tmp_path, attributes=HEAD) as writer:
        square = np.arange(9.0).reshape(3, 3)
        steps = {"step": np.arange(3), "loss": np.array(["a", "b", "c"])}
        writer.append("a/b", square, axes=("item", "dim"), coordinates=steps, unit="1")
    with h5py.File(tmp_path / "recording.h5") as file:
        for name in ("values", "step", "loss"):
            assert file["a/b"][name].dims[0][0].name == "/a/b/item"
    with xarray.open_dataset(tmp_path / "recording.h5", engine="h5netcdf", group="a/b") as opened:
        assert opened["values"].isel(dim=1).to_numpy().tolist() == [1, 4, 7]


def test_xarray_opens_the_whole_tree(tmp_path, rng):
    import xarray

    record(tmp_path, rng).close()
    with xarray.open_datatree(tmp_path / "recording.h5", engine="h5netcdf") as tree:
        assert tree["latent/flow.3"]["values"].sizes == {"item": 10, "row": 4, "column": 3, "dim": 8}
        assert tree["items"]["label"].to_numpy().tolist() == [0, 1, 0, 1, 0]
        assert tree["latent/flow.3"]["values"].sel(item=3).sizes["item"] == 2


def test_the_tree_that_xarray_opens_has_dims_coordinates_units_and_values_of_every_quantity(tmp_path, rng):
    import xarray

    record(tmp_path, rng).close()
    path = tmp_path / "recording.h5"
    with recording.open(path) as found, xarray.open_datatree(path, engine="h5netcdf") as tree:
        groups = {group.removeprefix("/") for group in tree.groups if "values" in tree[group].data_vars}
        assert groups == set(found.keys())
        for key in found:
            quantity, values = found[key], tree[key]["values"]
            assert values.dims == quantity.axes
            assert values.dtype == quantity.dtype
            assert (values.to_numpy() == quantity.read()).all()
            assert values.attrs["unit"] == quantity.unit
            assert set(tree[key].coords) == set(quantity.coordinates)
            for name, column in quantity.coordinates.items():
                assert tree[key][name].dims == quantity.axes[:1]
                assert tree[key][name].to_numpy().tolist() == column.tolist()
        assert tree.attrs["run_id"] == found.attributes["run_id"]
        own = {
            name: [getattr(item, name) for item in found.items] for name in ("sha256", "class_name", "defect")
        }
        assert {name: tree["items"][name].to_numpy().tolist() for name in own} == own


@pytest.mark.parametrize(
    "dtype", ["int8", "uint16", "int32", "int64", "float16", "float32", "float64", "bool", "U5"]
)
def test_xarray_reads_every_type_that_is_recorded(tmp_path, dtype):
    import xarray

    values = np.array([[0, 1], [2, 3], [1, 0]]).astype(dtype)
    with Writer.create(tmp_path, attributes=HEAD) as writer:
        names = {"step": np.arange(3), "note": values[:, 0]}
        writer.append("a/b.c", values, axes=("step", "dim"), coordinates=names, unit="nats")
    with xarray.open_datatree(tmp_path / "recording.h5", engine="h5netcdf") as tree:
        found = tree["a/b.c"]["values"]
        assert found.dims == ("step", "dim")
        assert found.attrs["unit"] == "nats"
        assert found.to_numpy().tolist() == values.tolist()
        assert tree["a/b.c"]["note"].to_numpy().tolist() == values[:, 0].tolist()
        assert found.sel(step=1).to_numpy().tolist() == values[1].tolist()


def test_a_full_disk_while_packing_leaves_the_segments(tmp_path, rng, monkeypatch):
    record(tmp_path, rng).close(pack=False)
    before, names = content(tmp_path), sorted(path.name for path in tmp_path.iterdir())

    def no_space(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    for where in ("write_rows", "write_whole", "sync"):
        monkeypatch.setattr(packing, where, no_space)
        with pytest.raises(MechlabError, match=r"recording.h5': the disk is full"):
            packing.pack(tmp_path)
        monkeypatch.undo()
        assert sorted(path.name for path in tmp_path.iterdir()) == names
        assert content(tmp_path) == before


def test_a_kill_between_the_rename_and_the_removal_does_no_harm(tmp_path, rng, monkeypatch):
    record(tmp_path, rng).close(pack=False)
    before = content(tmp_path)

    def killed(*_: object) -> None:
        raise SystemExit

    monkeypatch.setattr(packing, "remove_segments", killed)
    with pytest.raises(SystemExit):
        packing.pack(tmp_path)
    monkeypatch.undo()
    assert len(list(tmp_path.glob("*.h5"))) == 3
    with recording.open(tmp_path) as found:
        assert found.is_packed, "from the rename on, the file is the recording"
    assert content(tmp_path) == before
    packing.pack(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["recording.h5"]
    assert content(tmp_path) == before


def test_a_changed_segment_is_not_packed(tmp_path, rng):
    record(tmp_path, rng).close(pack=False)
    path = tmp_path / "r0-000001.h5"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(MechlabError, match=r"r0-000001.h5' does not match its SHA-256"):
        recording.pack(tmp_path)
    assert not (tmp_path / "recording.h5").exists()


def test_an_empty_recording_is_packed_too(tmp_path):
    Writer.create(tmp_path, attributes=HEAD).close()
    with recording.open(tmp_path) as found:
        assert found.keys() == ()
        assert found.attributes["run_id"] == "moleflow-0123"


def test_what_is_no_recording_is_not_packed(tmp_path):
    with pytest.raises(MechlabError, match="holds no recording"):
        recording.pack(tmp_path)
    with pytest.raises(MechlabError, match="is no folder"):
        recording.pack(tmp_path / "none")


@pytest.mark.parametrize("pack", [False, True])
def test_ranks_write_side_by_side_into_one_recording(tmp_path, rng, pack):
    first, second = record(tmp_path, rng), record(tmp_path, rng, rank=1)
    with pytest.raises(MechlabError, match="another process is writing this recording"):
        recording.pack(tmp_path)
    second.close()
    assert not (tmp_path / "recording.h5").exists(), "only rank 0 packs"
    first.close(pack=pack)
    with recording.open(tmp_path) as found:
        assert found["score/image"].shape == (20,)
        assert len(found.items) == 5
        assert found.statistics["segments"] == 4
    with pytest.raises(MechlabError, match="already holds a recording"):
        Writer.create(tmp_path, attributes=HEAD, rank=1)


def test_another_run_is_no_rank_of_this_one(tmp_path):
    with (
        Writer.create(tmp_path, attributes=HEAD),
        pytest.raises(MechlabError, match="a recording with another run_id"),
    ):
        Writer.create(tmp_path, attributes=HEAD | {"run_id": "other"}, rank=1)


@pytest.mark.parametrize("planted", [np.inf, -np.inf, np.nan, -np.nan], ids=str)
@pytest.mark.parametrize("block", [64, 8 * 1024**2])
def test_values_that_fp16_cannot_hold_are_counted_and_told_once(
    tmp_path, planted, block, caplog, monkeypatch
):
    monkeypatch.setattr(packing, "_COPY_BYTES", block)
    monkeypatch.setattr(packing, "_CHUNK_BYTES", block)
    values = np.full((40, 5), -65504, np.float16)
    values[::2] = 65504
    worse = values.copy()
    values[7, 1] = worse[3, 3] = worse[39, 4] = planted
    with Writer.create(tmp_path, attributes=HEAD) as writer:
        for key, rows in (("latent/a", values), ("latent/b", worse), ("latent/c", np.zeros_like(values))):
            writer.append(key, rows, axes=("item", "dim"), coordinates={}, unit="1")
    with recording.open(tmp_path) as found:
        assert [found[key].not_finite for key in found] == [1, 2, 0]
    said = [message for message in caplog.messages if "float16" in message]
    assert said == [
        "2 values of 'latent/b', and some of 1 other key, are infinite or NaN in float16, which ends at "
        "65504; record them as float32, or look for what makes them so large."
    ]


def test_nothing_is_said_of_values_that_fp16_holds(tmp_path, rng, caplog):
    record(tmp_path, rng).close()
    with recording.open(tmp_path) as found:
        assert found["latent/flow.3"].not_finite == 0
        assert found["score/image"].not_finite is None  # float64
    assert not caplog.messages
