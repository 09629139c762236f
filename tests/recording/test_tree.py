"""Laws of the tree: it names every key with shape, axes and unit, and follows no link."""

import json

import h5py
import numpy as np
import pytest

from mechlab.errors import MechlabError
from mechlab.recording import Writer
from mechlab.recording.tree import lines, tree


@pytest.mark.parametrize("pack", [False, True])
def test_a_recording_is_told_by_quantity_and_site(tmp_path, pack):
    writer = Writer.create(tmp_path / "mini-0", attributes={"run_id": "mini-0", "spec": {"a": 1}})
    for key in ("latent/flow.0", "latent/flow.1", "score/image"):
        writer.append(
            key,
            np.zeros((3, 2), np.float16),
            axes=("item", "dim"),
            coordinates={"item": np.arange(3), "loss": np.array(["a"] * 3)},
            unit="nats",
            attributes={"scale": 2},
        )
    writer.close(pack=pack)
    found = tree(tmp_path / "mini-0")
    assert found["kind"] == "recording"
    assert found["attributes"]["spec"] == {"a": 1}
    assert [(group["name"], [site["name"] for site in group["children"]]) for group in found["children"]] == [
        ("latent", ["flow.0", "flow.1"]),
        ("score", ["image"]),
    ]
    assert found["children"][0]["children"][0] == {
        "name": "flow.0",
        "kind": "data set",
        "attributes": {"scale": 2},
        "shape": [3, 2],
        "axes": ["item", "dim"],
        "dtype": "float16",
        "unit": "nats",
        "bytes": 12,
        "coordinates": {"item": "int64", "loss": "str"},
    }
    json.dumps(found, allow_nan=False)
    assert "    flow.0  [item 3 × dim 2]  float16  nats  by item, loss  12 B" in list(lines(found))


def test_another_hdf5_file_is_told_as_it_is(tmp_path):
    path = tmp_path / "foreign.h5"
    with h5py.File(path, "w") as file:
        file["a/b"] = np.zeros((2, 3), np.int16)
        file["a/b"].attrs["units"] = "seconds"
        file["a"].attrs["number"] = np.float32(1.5)
        file["a"].attrs["pointer"] = file["a/b"].ref
        file["link"] = h5py.ExternalLink("absent.h5", "/x")
        file["text"] = "word"
    found = tree(path)
    nodes = {node["name"]: node for node in found["children"]}
    assert found["kind"] == "HDF5 file"
    assert nodes["a"]["attributes"] == {"number": 1.5, "pointer": "<object>"}
    assert nodes["a"]["children"][0]["shape"] == [2, 3]
    assert nodes["a"]["children"][0]["unit"] == "seconds"
    assert nodes["link"]["kind"] == "link"
    assert nodes["text"]["dtype"] == "str"
    json.dumps(found)
    assert any("b  [2 × 3]  int16  seconds" in line for line in lines(found))


def test_what_cannot_be_read_is_one_sentence(tmp_path):
    (tmp_path / "text.h5").write_text("no HDF5")
    with pytest.raises(MechlabError, match="no HDF5 file"):
        tree(tmp_path / "text.h5")
    with pytest.raises(MechlabError, match="does not exist"):
        tree(tmp_path / "none")
