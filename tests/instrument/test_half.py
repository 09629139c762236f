"""Half precision with a power-of-two scale: exact to its digits, honest about what is lost."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mechlab.instrument.half import halved, scratch


@settings(deadline=None, max_examples=50)
@given(st.integers(-100, 100), st.integers(0, 2**16))
def test_values_of_any_size_come_back_to_eleven_bits(power, seed):
    values = torch.randn(20, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2.0**power
    half = halved(values)
    near = values.abs() > values.abs().max() * 2.0**-20
    torch.testing.assert_close((half.stored.double() / half.scale)[near], values[near], rtol=2**-10, atol=0)
    assert half.overflow == half.underflow == 0


@pytest.mark.parametrize(
    ("values", "overflow", "underflow"),
    [
        pytest.param([1.0, float("inf"), float("nan")], 2, 0, id="not finite"),
        pytest.param([1.0, 1e-20, 0.0], 0, 1, id="too far below the largest"),
        pytest.param([0.0, 0.0], 0, 0, id="zeros"),
        pytest.param([float("inf")], 1, 0, id="nothing finite"),
    ],
)
def test_what_fp16_cannot_hold_is_counted(values, overflow, underflow):
    half = halved(torch.tensor(values))
    assert (half.overflow, half.underflow) == (overflow, underflow)


@pytest.mark.parametrize("guess", [-3, 0, 9, 40])
@pytest.mark.parametrize("planted", [None, float("inf"), float("nan")])
def test_a_guess_of_the_power_changes_nothing(guess, planted):
    values = torch.randn(300_000, generator=torch.Generator().manual_seed(0)) * 1e-3  # several blocks
    values[::7] = -0.0
    values[5] = 1e-30
    if planted is not None:
        values[140_000] = planted
    plain, guessed = halved(values), halved(values, guess=guess)
    assert plain.stored.numpy().tobytes() == guessed.stored.numpy().tobytes()
    counts = (plain.scale, plain.overflow, plain.underflow)
    assert counts == (guessed.scale, guessed.overflow, guessed.underflow)
    assert counts[1:] == (int(planted is not None), 1)


def test_dense_and_scattered_values_are_halved_alike():
    values = torch.randn(40, 30, generator=torch.Generator().manual_seed(0)) * 1e-9
    dense, scattered = halved(values.T.contiguous()), halved(values.T)
    torch.testing.assert_close(dense.stored, scattered.stored, rtol=0, atol=0)
    assert (dense.scale, dense.overflow, dense.underflow) == (
        scattered.scale,
        scattered.overflow,
        scattered.underflow,
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64], ids=str)
@pytest.mark.parametrize("is_dense", [True, False], ids=["dense", "scattered"])
def test_values_of_every_type_are_halved_like_single_precision(dtype, is_dense):
    values = (torch.randn(30, 40, generator=torch.Generator().manual_seed(0)) * 1e-2).to(dtype)
    values = values if is_dense else values.T
    found, expected = halved(values, guess=3), halved(values.float().contiguous())
    assert torch.equal(found.stored, expected.stored)
    assert (found.scale, found.overflow, found.underflow) == (expected.scale, 0, expected.underflow)


def test_memory_to_work_in_may_hold_remains_and_be_used_again():
    work, values = scratch().fill_(float("nan")), torch.randn(700_000) * 1e-6  # more than one block
    expected = halved(values)
    for _ in range(2):
        into = torch.full((700_000,), float("nan"), dtype=torch.float16)
        found = halved(values, into=into, work=work)
        assert found.stored is into and torch.equal(into, expected.stored)
        assert found.power == expected.power


@pytest.mark.parametrize("power", [-30, -14, 0, 9, 40])
@pytest.mark.parametrize("is_dense", [True, False], ids=["dense", "scattered"])
def test_the_largest_magnitude_ends_just_below_the_end_of_fp16(power, is_dense):
    values = torch.tensor([[1.0, -1.999], [0.5, 0.0]]) * 2.0**power
    half = halved(values if is_dense else values.T)
    assert half.power == 14 - power
    assert 2**14 <= half.stored.abs().max() < 2**15


@pytest.mark.parametrize(("largest", "power"), [(1e-60, 120), (1e60, -120)])
def test_a_scale_stays_within_single_precision(largest, power):
    half = halved(torch.tensor([largest, 0.0], dtype=torch.float64))
    assert half.power == power
    assert (half.overflow, half.underflow) == (int(largest > 1), int(largest < 1))


def test_a_guess_that_fits_the_last_block_alone_is_wrong():
    values = torch.ones(600_000)
    values[:10] = 1000.0  # in the first block, beyond fp16 under the last one's power
    half = halved(values, guess=halved(values[600_000 - 10 :]).power)
    assert (half.power, half.overflow) == (halved(values).power, 0)
    assert half.stored.isfinite().all()


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_sign_of_the_largest_and_of_what_is_lost_does_not_matter(sign):
    values = sign * torch.tensor([3.0, 2.0**-60, 1.0, 2.0**-70])
    guess = halved(values).power
    found = halved(values, guess=guess)
    assert (found.power, found.overflow, found.underflow) == (13, 0, 2)
    assert halved(values, guess=guess + 1).power == guess, "a wrong guess is found out"
