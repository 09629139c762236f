"""Half precision with a power-of-two scale: exact to its digits, honest about what is lost."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mechlab.instrument.half import halved


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
