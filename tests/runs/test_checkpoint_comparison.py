"""Laws of comparing checkpoints: norms in closed form, bits as they are, the most changed first."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from mechlab.runs.checkpoint_comparison import checkpoint_difference


def written(folder, **tensors):
    folder.mkdir()
    save_file({name: np.asarray(value) for name, value in tensors.items()}, folder / "weights.safetensors")
    return folder


def test_norms_are_those_of_the_difference_and_the_most_changed_comes_first(tmp_path, rng):
    base = rng.standard_normal((30, 40)).astype(np.float32)
    step = rng.standard_normal((30, 40)).astype(np.float32)
    one = written(tmp_path / "a", small=base, large=base, same=base, zero=np.zeros(3, np.float32))
    two = written(
        tmp_path / "b", small=base + 0.01 * step, large=base + step, same=base, zero=np.ones(3, np.float32)
    )
    found = checkpoint_difference(one, two)
    assert [row["name"] for row in found["parameters"]] == ["zero", "large", "small", "same"]
    rows = {row["name"]: row for row in found["parameters"]}
    exact = np.linalg.norm((base + step).astype(np.float64) - base.astype(np.float64))
    assert rows["large"]["norm"] == pytest.approx(exact, rel=1e-12)
    assert rows["large"]["relative"] == pytest.approx(exact / np.linalg.norm(base.astype(np.float64)))
    assert (rows["zero"]["norm"], rows["zero"]["relative"]) == (pytest.approx(3**0.5), None)
    assert rows["same"] | {"identical": True, "norm": 0.0, "relative": 0.0} == rows["same"]
    assert not found["identical"]
    assert checkpoint_difference(one, one)["identical"]
    json.dumps(found, allow_nan=False)


def test_the_direction_does_not_change_the_norm(tmp_path, rng):
    one = written(tmp_path / "a", w=rng.standard_normal(50))
    two = written(tmp_path / "b", w=rng.standard_normal(50))
    ahead, back = checkpoint_difference(one, two), checkpoint_difference(two, one)
    assert ahead["parameters"][0]["norm"] == back["parameters"][0]["norm"] > 0


def test_one_bit_is_enough_to_differ(tmp_path):
    values = np.ones(5, np.float32)
    other = values.copy()
    other.view(np.uint32)[3] ^= 1
    negative = np.array([0.0, -0.0], np.float32)
    one = written(tmp_path / "a", w=values, sign=np.zeros(2, np.float32))
    two = written(tmp_path / "b", w=other, sign=negative)
    rows = {row["name"]: row for row in checkpoint_difference(one, two)["parameters"]}
    assert not rows["w"]["identical"]
    assert rows["w"]["norm"] == pytest.approx(2**-23)
    assert (rows["sign"]["identical"], rows["sign"]["norm"]) == (False, 0.0)


def test_what_cannot_be_compared_is_told_first_and_is_still_json(tmp_path):
    one = written(
        tmp_path / "a", shape=np.ones((2, 3)), nan=np.array([1.0, np.nan]), gone=np.ones(1), w=np.ones(2)
    )
    two = written(
        tmp_path / "b", shape=np.ones((3, 2)), nan=np.array([2.0, np.nan]), new=np.ones(4), w=np.zeros(2)
    )
    found = checkpoint_difference(one, two)
    assert [row["name"] for row in found["parameters"]] == ["nan", "shape", "w"]
    assert [row["norm"] for row in found["parameters"][:2]] == [None, None]
    assert found["only_first"] == [{"name": "gone", "shape": [1], "dtype": "F64"}]
    assert found["only_second"] == [{"name": "new", "shape": [4], "dtype": "F64"}]
    json.dumps(found, allow_nan=False)
