"""Two checkpoints side by side, parameter by parameter: how far each moved, and whether a bit of it did."""

from math import isfinite, sqrt
from pathlib import Path
from typing import Any

import numpy as np

from mechlab.runs.weights import Tensor, read_tensors

WEIGHTS = "weights.safetensors"


def checkpoint_difference(first: Path, second: Path) -> dict[str, Any]:
    """Return what `mechlab diff --json` prints for two folders (or files) of weights.

    Each parameter has `norm` (L2, of second minus first), `relative` (norm over the first one's norm) and
    `identical` (same type, shape and bits), the most changed first. Numbers are None where there is none:
    shapes differ, values are not finite, or the first is zero (relative only).
    """
    one, two = (read_tensors(path / WEIGHTS if path.is_dir() else path) for path in (first, second))
    common = [_parameter(name, one[name], two[name]) for name in one if name in two]
    return {
        "kind": "checkpoints",
        "first": str(first),
        "second": str(second),
        "identical": one.keys() == two.keys() and all(row["identical"] for row in common),
        "parameters": sorted(common, key=_change),
        "only_first": [_alone(name, one[name]) for name in one if name not in two],
        "only_second": [_alone(name, two[name]) for name in two if name not in one],
    }


def _parameter(name: str, one: Tensor, two: Tensor) -> dict[str, Any]:
    norm = relative = None
    identical = (one.shape, one.dtype) == (two.shape, two.dtype) and _same_bits(one, two)
    if one.shape == two.shape:
        norm, scale = _norms(one, two)
        relative = 0.0 if norm == 0 else norm / scale if scale else None
    return {
        "name": name,
        "shape": list(one.shape),
        "shape_second": list(two.shape),
        "dtype": one.dtype,
        "dtype_second": two.dtype,
        "norm": _finite(norm),
        "relative": _finite(relative),
        "identical": identical,
    }


def _norms(one: Tensor, two: Tensor) -> tuple[float, float]:
    """Return the norms of the difference and of the first, summed in float64."""
    change = size = 0.0
    for before, after in zip(one.blocks(), two.blocks(), strict=True):
        with np.errstate(invalid="ignore", over="ignore"):  # infinities are told as None
            step = after - before
            change, size = change + float(step @ step), size + float(before @ before)
    return sqrt(change), sqrt(size)


def _same_bits(one: Tensor, two: Tensor) -> bool:
    step = 8 * 1024**2  # bytes
    return all(
        np.array_equal(one.raw[at : at + step], two.raw[at : at + step])
        for at in range(0, len(one.raw), step)
    )


def _change(row: dict[str, Any]) -> tuple[int, float, str]:
    """Sort what cannot be compared first, then by relative change, greatest first."""
    if row["identical"]:
        return 2, 0.0, row["name"]
    return (0, 0.0, row["name"]) if row["relative"] is None else (1, -row["relative"], row["name"])


def _alone(name: str, tensor: Tensor) -> dict[str, Any]:
    return {"name": name, "shape": list(tensor.shape), "dtype": tensor.dtype}


def _finite(value: float | None) -> float | None:
    return value if value is not None and isfinite(value) else None
