"""A file that is damaged, foreign or unsafe is one sentence through the commands, and exit status 1."""

import h5py
import numpy as np
import pytest

from mechlab.recording import Writer
from mechlab.specs import Item

KEY = "latent/latent"
ROWS = 8


def write(folder, *, pack=True):
    """Record latents as the probe of Gaussianity reads them."""
    rng = np.random.default_rng(0)
    with Writer.create(folder, attributes={"run_id": "r", "spec": {}, "provenance": {}}) as writer:
        items = [
            Item(sha256=f"{i:064x}", class_name="gear", split="test", label=0, defect="good", image=f"{i}")
            for i in range(ROWS)
        ]
        writer.items(items)
        rows = {
            "item": np.arange(ROWS),
            "adapter": np.zeros(ROWS, np.int32),
            "stage": np.zeros(ROWS, np.int32),
        }
        values = rng.standard_normal((ROWS, 6, 6, 8)).astype(np.float32)
        writer.append(KEY, values, axes=("item", "row", "column", "dim"), coordinates=rows, unit="1")
        writer.commit()
        if not pack:
            writer.close(pack=False)
    return folder


def replaced(file, name, make):
    group = file[KEY]
    del group[name]
    make(group, name)


def virtual(group, name):
    layout = h5py.VirtualLayout((ROWS,), "i8")
    layout[:] = h5py.VirtualSource("other.h5", "x", (ROWS,))
    group.create_virtual_dataset(name, layout)


def linked(kind):
    def make(group, name):
        group[name] = kind("other.h5", "/x") if kind is h5py.ExternalLink else kind("/items/label")

    return make


TAMPERED = {
    "external link": (linked(h5py.ExternalLink), "is a link of kind external"),
    "soft link": (linked(h5py.SoftLink), "is a link of kind soft"),
    "objects": (
        lambda group, name: group.create_dataset(name, (ROWS,), dtype=h5py.vlen_dtype(np.int32)),
        "only numbers and UTF-8 text are read",
    ),
    "references": (
        lambda group, name: group.create_dataset(name, (ROWS,), dtype=h5py.ref_dtype),
        "only numbers and UTF-8 text are read",
    ),
    "virtual data set": (virtual, "keeps its data in other files"),
    "external storage": (
        lambda group, name: group.create_dataset(name, (ROWS,), "i8", external=[("raw", 0, ROWS * 8)]),
        "keeps its data in other files",
    ),
    "length": (
        lambda group, name: group.create_dataset(name, data=np.arange(ROWS - 1)),
        "the file is damaged",
    ),
}
VERBS = (("inspect",), ("probe", "gaussianity"))


def refused(mechlab, *words):
    status, out, err = mechlab(*words)
    assert (status, out) == (1, ""), (out, err)
    said = [line for line in err.splitlines() if not line.startswith("  ")]  # without the probe's progress
    assert len(said) == 1 and said[0].startswith("Error: "), err
    return said[0]


def test_the_recording_that_the_others_spoil_is_read(mechlab, tmp_path):
    write(tmp_path / "r")
    for verb in VERBS:
        status, _, err = mechlab(*verb, tmp_path / "r")
        assert status == 0, err


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
@pytest.mark.parametrize("how", TAMPERED)
def test_a_recording_that_is_tampered_with_is_refused(mechlab, tmp_path, verb, how):
    make, sentence = TAMPERED[how]
    with h5py.File(write(tmp_path / "r") / "recording.h5", "r+") as file:
        replaced(file, "item", make)
    err = refused(mechlab, *verb, tmp_path / "r")
    assert sentence in err
    assert "recording.h5" in err and "item" in err, "file and key are named"


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
@pytest.mark.parametrize("pack", [True, False], ids=["packed", "segment"])
def test_a_truncated_file_is_refused(mechlab, tmp_path, verb, share, pack):
    write(tmp_path / "r", pack=pack)
    path = tmp_path / "r" / ("recording.h5" if pack else "r0-000000.h5")
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    assert "truncated" in refused(mechlab, *verb, tmp_path / "r")


@pytest.mark.parametrize("pack", [True, False], ids=["packed", "segment"])
def test_a_flipped_bit_of_the_values_is_noticed_by_who_reads_them(mechlab, tmp_path, pack):
    write(tmp_path / "r", pack=pack)
    path = tmp_path / "r" / ("recording.h5" if pack else "r0-000000.h5")
    with h5py.File(path) as file:
        place = file[KEY]["values"].id.get_chunk_info(0).byte_offset
    data = bytearray(path.read_bytes())
    data[place + 100] ^= 8
    path.write_bytes(data)
    err = refused(mechlab, "probe", "gaussianity", tmp_path / "r")
    assert f"cannot read '{KEY}' in '{path}': the file is damaged" in err


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_a_changed_line_of_the_manifest_is_noticed(mechlab, tmp_path, verb):
    write(tmp_path / "r", pack=False)
    path = tmp_path / "r" / "manifest.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"rank":0', b'"rank":1', 1))
    assert "manifest.jsonl' is damaged" in refused(mechlab, *verb, tmp_path / "r")


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_what_is_no_recording_is_refused(mechlab, tmp_path, verb):
    with h5py.File(tmp_path / "foreign.h5", "w") as file:
        file["x"] = np.arange(3)
    assert "is an HDF5 file but no recording" in refused(mechlab, *verb, tmp_path / "foreign.h5")
    (tmp_path / "text.h5").write_text("words")
    assert "no HDF5 file" in refused(mechlab, *verb, tmp_path / "text.h5")
    write(tmp_path / "r", pack=False)
    assert "is one segment; give its folder" in refused(mechlab, *verb, tmp_path / "r" / "r0-000000.h5")
