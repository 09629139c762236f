"""Laws of reading weights without torch: what safetensors wrote comes back, damage is one sentence."""

import json
import struct

import numpy as np
import pytest

from mechlab.errors import MechlabError
from mechlab.runs.weights import BLOCK, read_tensors


def values(tensor):
    blocks = list(tensor.blocks())
    return np.concatenate(blocks).reshape(tensor.shape) if blocks else np.empty(tensor.shape)


@pytest.mark.parametrize(
    "dtype", ["float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"]
)
def test_every_type_that_a_checkpoint_holds_comes_back(tmp_path, dtype):
    import torch
    from safetensors.torch import save_file

    written = (torch.arange(-6, 6).reshape(3, 4) * 1.3).to(getattr(torch, dtype))
    save_file({"a.weight": written, "b": torch.tensor(2.5), "none": torch.zeros(0, 3)}, tmp_path / "w")
    found = read_tensors(tmp_path / "w")
    assert (values(found["a.weight"]) == written.double().numpy()).all()
    assert (found["b"].shape, values(found["b"])) == ((), 2.5)
    assert found["none"].shape == (0, 3)


def test_large_tensors_come_in_blocks(tmp_path):
    from safetensors.numpy import save_file

    save_file({"a": np.arange(2 * BLOCK + 3, dtype=np.float32)}, tmp_path / "w")
    assert [len(block) for block in read_tensors(tmp_path / "w")["a"].blocks()] == [BLOCK, BLOCK, 3]


def header(entry):
    text = json.dumps({"a": entry}).encode()
    return struct.pack("<Q", len(text)) + text + bytes(8)


GOOD = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "no safetensors file or is damaged"),
        (b"abc", "its header does not fit the file"),
        (struct.pack("<Q", 10**12) + b"{}", "its header does not fit the file"),
        (struct.pack("<Q", 4) + b"abcd", "Expecting value"),
        (struct.pack("<Q", 2) + b"[]", "no safetensors file or is damaged"),
        (header(GOOD | {"data_offsets": [0, 16]}), "does not fit its 16 bytes"),
        (header(GOOD | {"data_offsets": [-8, 0]}), "does not fit its 8 bytes"),
        (header(GOOD | {"shape": [3]}), "does not fit its 8 bytes"),
        (header(GOOD | {"shape": [-1, -2]}), "does not fit its 8 bytes"),
        (header(GOOD | {"dtype": "F4"}), "type F4 is none of F64"),
        (header({"dtype": "F32"}), "data_offsets"),
        (header(GOOD)[:-1], "does not fit its 8 bytes"),
    ],
    ids=str,
)
def test_a_damaged_file_is_one_sentence(tmp_path, data, reason):
    (tmp_path / "w.safetensors").write_bytes(data)
    with pytest.raises(MechlabError, match=rf"w.safetensors' is no safetensors file.*{reason}|{reason}"):
        read_tensors(tmp_path / "w.safetensors")


def test_a_missing_file_is_one_sentence(tmp_path):
    with pytest.raises(MechlabError, match="does not exist; give a checkpoint"):
        read_tensors(tmp_path / "none")
