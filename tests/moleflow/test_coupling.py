"""The functional block against FrEIA's on shared weights, and what it must not touch."""

import warnings

import numpy as np
import pytest
import torch
from torch import nn

from reproductions.moleflow.flow.affine import Affine, Permute
from reproductions.moleflow.flow.coupling import CouplingBlock, softplus_scale
from reproductions.moleflow.flow.subnet import PlainSubnet, SubnetShape


def block_of(dim: int, *, seed: int = 0, global_affine: bool = True, name: str = "flow.0") -> CouplingBlock:
    shape = SubnetShape(passive=dim - dim // 2, active=dim // 2, place=0, hidden=11, rank=0, alpha=1.0)
    subnet = PlainSubnet(shape, name=name, seed=seed)
    return CouplingBlock(dim, subnet=subnet, clamp=1.9, global_affine=global_affine, name=name, seed=seed)


def perturb(module: nn.Module, *, scale: float = 0.5) -> None:
    draw = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(scale * torch.randn(parameter.shape, generator=draw, dtype=parameter.dtype))


def freia_twin(block: CouplingBlock, dim: int) -> nn.Module:
    """Return FrEIA's block with the weights, scales and permutation of ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from FrEIA.modules import AllInOneBlock

    def network(fan_in: int, fan_out: int) -> nn.Module:
        return nn.Sequential(nn.Linear(fan_in, 11), nn.ReLU(), nn.Linear(11, fan_out))

    twin = AllInOneBlock(
        [(dim,)],
        subnet_constructor=network,
        affine_clamping=1.9,
        global_affine_type="SOFTPLUS",
        permute_soft=False,
    ).double()
    with torch.no_grad():
        for number, layer in ((0, block.subnet.first), (2, block.subnet.second)):
            twin.subnet[number].load_state_dict(layer.base.state_dict())
        twin.global_scale.copy_(block.raw_scale[None])
        twin.global_offset.copy_(block.offset[None])
        one_hot = torch.eye(dim, dtype=torch.float64)[block.order]
        twin.w_perm.copy_(one_hot)
        twin.w_perm_inv.copy_(one_hot.T)
    return twin


@pytest.mark.parametrize("dim", [6, 7], ids=["even", "odd"])
def test_block_equals_freia_on_shared_weights(dim):
    block = block_of(dim).double()
    perturb(block)
    twin = freia_twin(block, dim)
    x = torch.randn(2, 3, 4, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    ours = block(x, None, task=0)
    (theirs,), log_det = twin([x.reshape(-1, dim)])
    torch.testing.assert_close(ours.latent.reshape(-1, dim), theirs, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(ours.log_det.reshape(-1), log_det, rtol=1e-12, atol=1e-12)
    (back,), _ = twin([theirs], rev=True)
    torch.testing.assert_close(
        block.inverse(ours.latent, None, task=0).reshape(-1, dim), back, rtol=1e-12, atol=1e-12
    )


def test_log_scale_stays_below_the_clamp():
    raw = torch.tensor([[[[-1e6, -1.0, 0.0, 1.0, 1e6]]]])
    found = Affine(start=0, stop=5, bound=1.9, gain=0.1, damping=0.1).log_scale(raw)[0, 0, 0]
    assert found.abs().max() <= 1.9
    assert found[0] == -1.9
    assert found[2] == 0
    assert float(found[3]) == pytest.approx(1.9 * np.tanh(0.1))


def test_global_scale_starts_at_one():
    block = block_of(6)
    assert torch.allclose(softplus_scale(block.raw_scale), torch.ones(6))
    assert torch.equal(block.offset, torch.zeros(6))
    assert block_of(6, global_affine=False).raw_scale is None


def test_permutation_reorders_and_its_gradient_reorders_back():
    order = torch.tensor([2, 0, 3, 1])
    x = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.equal(Permute.apply(x, order, order.argsort()), x[..., order])
    assert torch.autograd.gradcheck(lambda y: Permute.apply(y, order, order.argsort()) ** 2, (x,))


def test_start_depends_on_seed_and_name_and_touches_no_global_generator():
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    first, again, other, named = block_of(16), block_of(16), block_of(16, seed=1), block_of(16, name="flow.1")
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], numpy_before)  # noqa: NPY002
    for key, value in first.state_dict().items():
        assert torch.equal(value, again.state_dict()[key]), key
    weight = "subnet.first.base.weight"
    for different in (other, named):
        assert not torch.equal(first.order, different.order)
        assert not torch.equal(first.state_dict()[weight], different.state_dict()[weight])
