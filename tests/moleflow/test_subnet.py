"""Low-rank branches and context inside the subnets."""

import pytest
import torch
from torch import nn

from reproductions.moleflow.flow.subnet import ContextSubnet, LoRALinear, PlainSubnet, SubnetShape


def linear_of(*, rank: int = 3, alpha: float = 6.0) -> LoRALinear:
    return LoRALinear(5, 4, rank=rank, alpha=alpha, name="layer", seed=0)


def context_of(*, place: int = 0) -> ContextSubnet:
    shape = SubnetShape(passive=5, active=4, place=place, hidden=8, rank=2, alpha=2.0)
    return ContextSubnet(shape, kernel=3, initial=0.1, limit=0.2, name="flow.0", seed=0)


def test_branch_changes_nothing_at_the_start():
    linear, x = linear_of(), torch.randn(7, 5)
    linear.add_task(1)
    assert torch.equal(linear(x, task=1), linear.base(x))
    assert torch.equal(linear(x, task=0), linear.base(x))


@pytest.mark.parametrize(("rank", "alpha", "scaling"), [(64, 1.0, 1 / 64), (32, 1.0, 1 / 32), (3, 6.0, 2.0)])
def test_branch_is_scaled_by_alpha_over_rank_and_its_bias_is_not(rank, alpha, scaling):
    linear, x = linear_of(rank=rank, alpha=alpha), torch.randn(7, 5)
    linear.add_task(0)
    with torch.no_grad():
        linear.up["0"].weight.normal_()
        linear.up["0"].bias.normal_()
    product = linear.up["0"].weight @ linear.down["0"].weight
    expected = linear.base(x) + scaling * x @ product.T + linear.up["0"].bias
    torch.testing.assert_close(linear(x, task=0), expected, rtol=1e-4, atol=1e-4)


def test_rank_zero_has_no_branch():
    linear = linear_of(rank=0)
    linear.add_task(0)
    assert not linear.up
    assert not linear.down


@pytest.mark.parametrize("kind", ["plain", "context"])
def test_hooks_on_linears_see_every_product(kind):
    shape = SubnetShape(passive=5, active=4, place=0, hidden=8, rank=2, alpha=2.0)
    subnet = PlainSubnet(shape, name="flow.0", seed=0) if kind == "plain" else context_of()
    subnet.add_task(0)
    subnet.add_task(1)
    called = set()
    for path, module in subnet.named_modules():
        if isinstance(module, nn.Linear):
            module.register_forward_hook(lambda *_, path=path: called.add(path))
    subnet(torch.randn(2, 3, 3, 5), None, task=1)
    linears = {path for path, module in subnet.named_modules() if isinstance(module, nn.Linear)}
    assert called == {path for path in linears if path.endswith(("base", ".1"))}
    assert len(called) == 3 * (2 if kind == "plain" else 4)


def test_context_is_bounded_and_starts_where_asked():
    subnet = context_of()
    assert float(subnet.strength.detach()) == pytest.approx(0.1, rel=1e-5)
    with torch.no_grad():
        subnet.level.fill_(50.0)
    assert float(subnet.strength.detach()) <= 0.2 + 1e-7


def test_scale_sees_neighbours_and_shift_does_not():
    subnet, x = context_of().double(), torch.randn(1, 4, 4, 5, dtype=torch.float64)
    near = x.clone()
    near[0, 1, 1] += 1.0
    at_start = [subnet(value, None, task=0) for value in (x, near)]
    assert torch.equal(at_start[0][0][0, 2, 2], at_start[1][0][0, 2, 2])  # the convolution starts at zero
    with torch.no_grad():
        subnet.context.weight.normal_(generator=torch.Generator().manual_seed(0))
    (scale, shift), (near_scale, near_shift) = (subnet(value, None, task=0) for value in (x, near))
    assert not torch.allclose(scale[0, 2, 2], near_scale[0, 2, 2])
    assert torch.equal(scale[0, 3, 3], near_scale[0, 3, 3])  # out of the kernel's reach
    assert torch.equal(shift[0, 2, 2], near_shift[0, 2, 2])


def test_place_moves_the_coefficients():
    subnet, x = context_of(place=4), torch.randn(1, 2, 2, 5)
    one, two = (subnet(x, value.expand(1, 2, 2, 4), task=0)[0] for value in (torch.zeros(4), torch.ones(4)))
    assert not torch.allclose(one, two)
