"""Norms of rows: read once for sharers, again after a change, into places that are filled anew each step."""

import numpy as np
import pytest
import torch

from mechlab.instrument.row_norms import RowNorms


def test_a_tensor_that_is_shared_is_read_once():
    norms, rows = RowNorms(), torch.randn(4, 3)
    assert norms.of(rows) is norms.of(rows)
    assert norms.used == 1
    assert norms.of(rows.clone()) is not norms.of(rows)


def test_a_tensor_that_was_changed_in_place_is_read_again():
    norms, rows = RowNorms(), torch.randn(4, 3)
    before = norms.of(rows).clone()
    rows.mul_(2)
    np.testing.assert_allclose(norms.of(rows), 2 * before, rtol=1e-6)


def test_another_tensor_at_the_same_address_is_not_mistaken():
    norms, memory = RowNorms(), torch.randn(4, 3)
    first = norms.of(memory[:]).clone()
    with torch.no_grad():
        memory.data.mul_(3)
    np.testing.assert_allclose(norms.of(memory[:]), 3 * first, rtol=1e-6)


def test_no_tensor_is_kept_alive():
    norms, gone = RowNorms(), []

    class Watched(torch.Tensor):
        def __del__(self):
            gone.append(True)

    norms.of(torch.randn(4, 3).as_subclass(Watched))
    assert gone


def test_places_are_filled_again_after_clearing_and_grow_with_the_batch():
    norms = RowNorms()
    place = norms.of(torch.randn(4, 3))
    norms.clear()
    assert norms.of(torch.ones(4, 3)) is place
    norms.clear()
    assert norms.of(torch.ones(6, 3)).shape == (6,)
    norms.clear()
    assert norms.of(torch.ones(6, 3, dtype=torch.float64)).dtype == torch.float64


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["fp16", "bf16"])
def test_norms_of_half_precision_are_taken_in_single(dtype):
    rows = torch.full((2, 4096), 8.0, dtype=dtype)  # the sum of squares is beyond fp16
    np.testing.assert_allclose(RowNorms().of(rows), [512.0, 512.0], rtol=1e-6)
