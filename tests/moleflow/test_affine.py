"""The affine step as one operation: its formula, every derivative of it, and what it keeps."""

import pytest
import torch

from reproductions.moleflow.flow.affine import Affine, Order, affine_step

# What torch loads for forward mode speaks of a deprecated name of its own.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:FutureWarning")

DIM = 5
STEPS = {
    "coupling": Affine(start=3, stop=DIM, bound=1.9, gain=0.1, damping=0.1),
    "dia": Affine(start=2, stop=DIM, bound=1.9, gain=1 / 1.9, damping=1.0),
    "flipped": Affine(start=0, stop=2, bound=1.9, gain=1 / 1.9, damping=1.0),
}


def given(step: Affine) -> tuple[torch.Tensor, ...]:
    draw = torch.Generator().manual_seed(0)
    widths = (DIM, step.stop - step.start, step.stop - step.start)
    return tuple(
        torch.randn(2, 3, 2, width, generator=draw, dtype=torch.float64, requires_grad=True)
        for width in widths
    )


def orders() -> list[Order | None]:
    order = torch.tensor([2, 0, 4, 1, 3])
    return [None, Order(order, order.argsort())]


@pytest.mark.parametrize("order", orders(), ids=["as they are", "reordered"])
@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
def test_a_step_is_its_formula_and_its_inverse_undoes_it(step, order):
    x, raw, shift = given(step)
    before = x.detach().clone()
    y, log_det = affine_step(x, raw, shift, step, order)
    logarithm = step.bound * torch.tanh(step.gain * raw)
    expected = x.clone()
    inside = slice(step.start, step.stop)
    expected[..., inside] = x[..., inside] * torch.exp(logarithm) + step.damping * shift
    if order is not None:
        expected = expected[..., order.order]
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(log_det, logarithm.sum(dim=-1))
    straight = y if order is None else y[..., order.back]
    torch.testing.assert_close(step.inverse(straight, raw, shift), x)
    assert torch.equal(x, before)


@pytest.mark.parametrize("order", orders(), ids=["as they are", "reordered"])
@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
def test_a_step_has_first_and_second_derivatives_and_those_along_a_direction(step, order):
    def found(x, raw, shift):
        return affine_step(x, raw, shift, step, order)

    # Score matching takes a directional derivative and then its gradient.
    assert torch.autograd.gradcheck(found, given(step), check_forward_ad=True)
    assert torch.autograd.gradgradcheck(found, given(step), check_fwd_over_rev=False, check_rev_over_rev=True)


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
def test_the_gradient_of_a_directional_derivative_is_that_of_the_formula(step):
    x, raw, shift = given(step)
    direction = torch.randn(x.shape, generator=torch.Generator().manual_seed(1), dtype=x.dtype)

    def plain(x, raw, shift):
        logarithm = step.log_scale(raw)
        y = x.clone()
        inside = slice(step.start, step.stop)
        y[..., inside] = x[..., inside] * torch.exp(logarithm) + step.damping * shift
        return y, logarithm.sum(dim=-1)

    def slopes(step_of):
        with torch.autograd.forward_ad.dual_level():
            dual = torch.autograd.forward_ad.make_dual(x, direction)
            # raw and shift follow x, as a subnet of its passive part makes them do
            y, log_det = step_of(dual, raw * dual.square().mean(), shift * dual.sum())
            along = [torch.autograd.forward_ad.unpack_dual(each).tangent for each in (y, log_det)]
        return torch.autograd.grad(sum(each.square().sum() for each in along), (x, raw, shift))

    ours = slopes(lambda *inputs: affine_step(*inputs, step))
    for found, expected in zip(ours, slopes(plain), strict=True):
        torch.testing.assert_close(found, expected)


def test_a_step_keeps_its_inputs_for_the_backward_pass_and_nothing_else():
    step = STEPS["coupling"]
    x, raw, shift = given(step)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda t: t):
        affine_step(x, raw, shift, step)
    assert {tensor.data_ptr() for tensor in kept} == {x.data_ptr(), raw.data_ptr()}
