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
    } | ({"not_finite": 0} if pack else {})
    assert found["value_bytes"] == 36
    assert found["bytes"] == sum(path.stat().st_size for path in (tmp_path / "mini-0").glob("*.h5"))
    json.dumps(found, allow_nan=False)
    assert any("values 36 B; " in line and "0 rows dropped" in line for line in lines(found))
    assert "    flow.0  [item 3 × dim 2]  float16  nats  by item, loss  12 B" in list(lines(found))


def test_what_fp16_could_not_hold_is_told_by_key(tmp_path):
    writer = Writer.create(tmp_path, attributes={"run_id": "r", "spec": None})
    values = np.array([1, np.inf, -np.inf, np.nan], np.float16)
    steps = {"step": np.arange(4)}
    counts = {"scale": np.full(4, 2.0), "overflow": np.array([0, 3, 1, 0]), "underflow": np.zeros(4, int)}
    writer.append("activation/a", values, axes=("step",), coordinates=steps, unit="1")
    writer.append("update/b", values, axes=("step",), coordinates=steps | counts, unit="1")
    writer.append("weight/c", values.astype(np.float32), axes=("step",), coordinates=steps, unit="1")
    writer.close()
    found = tree(tmp_path)
    a, b, c = (group["children"][0] for group in found["children"])
    assert a["not_finite"] == 3
    assert (b["overflow"], b["underflow"], "not_finite" in b) == (3, 0, False)
    assert not {"not_finite", "overflow", "underflow"} & c.keys()
    told = "\n".join(lines(found))
    assert "by step  3 not finite  8 B" in told and "underflow  up to 3 overflow a row  8 B" in told


OVERHEAD = {
    "seconds": 10.0,
    "seconds_in_hooks": 0.5,
    "seconds_blocked": 1.5,
    "steps": 3,
    "bytes": 4,
    "silent": [],
}


def test_what_recording_cost_is_told_as_numbers_and_as_a_line(tmp_path):
    writer = Writer.create(tmp_path, attributes={"run_id": "r", "spec": None})
    writer.note({"overhead": OVERHEAD, "fault": {"reason": "the disk is full", "dropped_rows": 7}})
    writer.close()
    found = tree(tmp_path)["cost"]
    assert found["overhead_ratio"] == 10 / 8
    assert (found["seconds_in_hooks"], found["seconds_blocked"]) == (0.5, 1.5)
    assert (found["dropped_rows"], found["blocked_seconds"]) == (0, 0)
    line = next(line for line in lines(tree(tmp_path)) if "overhead ratio" in line)
    assert "overhead ratio 1.250 (0.50 s in hooks, 1.50 s blocked, of 10.00 s)" in line
    assert "ended early: the disk is full" in line


@pytest.mark.parametrize("missing", ["seconds", "seconds_in_hooks", None])
def test_what_nobody_measured_is_null(tmp_path, missing):
    writer = Writer.create(tmp_path, attributes={"run_id": "r", "spec": None})
    overhead = {name: value for name, value in OVERHEAD.items() if name != missing}
    writer.note({"overhead": overhead if missing else OVERHEAD | {"seconds": 2.0}})
    writer.close()
    assert tree(tmp_path)["cost"]["overhead_ratio"] is None


def test_what_cannot_be_read_is_one_sentence(tmp_path):
    (tmp_path / "text.h5").write_text("no HDF5")
    with pytest.raises(MechlabError, match="no HDF5 file"):
        tree(tmp_path / "text.h5")
    with pytest.raises(MechlabError, match="does not exist"):
        tree(tmp_path / "none")
    with h5py.File(tmp_path / "foreign.h5", "w") as file:
        file["a/b"] = np.zeros((2, 3))
    with pytest.raises(
        MechlabError, match=r"foreign.h5' is an HDF5 file but no recording; give a file written"
    ):
        tree(tmp_path / "foreign.h5")
