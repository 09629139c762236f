"""Norms are those of double precision, for any size, layout and magnitude."""

import numpy as np
import pytest
import torch

from mechlab.instrument.norm import norm, norm_along, norms


@pytest.mark.parametrize("count", [0, 1, 63, 2**14, 2**14 + 64, 2**14 + 127, 300_001])
def test_a_norm_is_that_of_double_precision(count):
    values = torch.randn(count, generator=torch.Generator().manual_seed(0))
    assert norm(values).dtype == torch.float64
    np.testing.assert_allclose(norm(values), np.linalg.norm(values.double().numpy()), rtol=1e-7)


@pytest.mark.parametrize("scale", [1e-30, 1e-20, 1e-10, 1e10, 1e20, 1e30])
def test_no_square_leaves_the_range(scale):
    values = torch.full((2**16,), scale)
    np.testing.assert_allclose(norm(values), float(values[0]) * 256, rtol=1e-7)


@pytest.mark.parametrize("planted", [float("inf"), float("nan")])
def test_what_is_not_finite_stays_so(planted):
    values = torch.ones(2**16)
    values[7] = planted
    np.testing.assert_equal(float(norm(values)), planted)


def test_the_layout_does_not_matter():
    values = torch.randn(4, 300, 20, 3)
    swapped = values.movedim(1, -1)
    np.testing.assert_allclose(norm(swapped), norm(values), rtol=1e-7)
    for axis in range(4):
        expected = np.linalg.norm(values.double().numpy(), axis=axis)
        np.testing.assert_allclose(norm_along(values, axis), expected, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_lose_nothing_of_theirs(dtype):
    values = torch.randn(50, 700).to(dtype)
    np.testing.assert_allclose(norm(values), np.linalg.norm(values.double().numpy()), rtol=1e-12)
    assert norm_along(values, 0).dtype == (dtype if dtype == torch.float64 else torch.float32)


def test_norms_of_several_are_those_of_each_whatever_their_sizes():
    given = [
        torch.randn(7),
        torch.empty(0),
        torch.randn(300, 300),
        torch.randn(20).bfloat16(),
        torch.zeros(3),
    ]
    for found, values in zip(norms(given), given, strict=True):
        assert found.dtype == torch.float64
        assert torch.equal(found, norm(values))
    assert norms([]) == []


@pytest.mark.parametrize("room", [4, 30, 10_000])  # of the squares: less than an image, one or two, all
def test_lent_memory_does_not_change_a_norm_along_channels(room):
    values = torch.randn(5, 3, 4, 2)
    work = torch.full((room,), torch.nan)
    assert torch.equal(norm_along(values, 1, work=work), norm_along(values, 1))
