"""Products made together: the same numbers, log-dets and gradients; what watches inside is told."""

import pytest
import torch

from mechlab.errors import MechlabError
from mechlab.train.scopes import apply
from reproductions.moleflow.flow.fused import Depthwise, LowRank, merged
from reproductions.moleflow.system import MoLEFlow

GRID = (5, 4)
TINY = {"blocks": 2, "lora_rank": 3, "dia_blocks": 1, "context_kernel": 3, "adapter": "none", "mixer": "none"}
KINDS = {
    "context": {},
    "plain": {"subnet": "plain"},
    "condition": {"position": "condition", "position_dim": 8},
    "plain condition": {"subnet": "plain", "position": "condition", "position_dim": 8},
    "no branch": {"lora_rank": 0},
    "none at first": {"lora_first_task": False},
    "linear": {"branch": "linear", "lora_rank": 0},
    "spectral": {"spectral_norm": True},
    "FrEIA": {"coupling": "freia"},
}


def pair(kind, *, dim=9, tasks=2):
    """Return two equal systems of float64 numbers off the identity, apart and fused."""
    found = []
    dim += 3 if "condition" not in kind else 0  # a sine position needs a multiple of 4
    for products in ("apart", "fused"):
        system = MoLEFlow.create(TINY | KINDS[kind] | {"products": products}, dim=dim, grid=GRID, seed=0)
        for task in range(tasks):
            system.add_task(task)
        draw = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for parameter in system.parameters():
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=draw))
        found.append(system.double())
    return found


def features(system, count=3):
    draw = torch.Generator().manual_seed(2)
    return torch.randn(count, *GRID, system.dim, generator=draw, dtype=torch.float64)


@pytest.mark.parametrize("task", [0, 1])
@pytest.mark.parametrize("kind", KINDS)
def test_latents_log_dets_losses_and_gradients_are_the_same(kind, task):
    apart, fused = pair(kind)
    gradients = []
    for system in (apart, fused):
        apply(system, system.stage(task))  # after the first task the bases are frozen
        system.loss(features(system), task=task).total.backward()
        gradients.append({name: value.grad for name, value in system.named_parameters()})
    one, two = (system(features(system), task=task) for system in (apart, fused))
    torch.testing.assert_close(one.latent, two.latent, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(one.block_log_dets, two.block_log_dets, rtol=1e-11, atol=1e-11)
    reached = {name for name, gradient in gradients[0].items() if gradient is not None}
    assert reached and reached == {name for name, gradient in gradients[1].items() if gradient is not None}
    for name in reached:
        torch.testing.assert_close(gradients[0][name], gradients[1][name], rtol=1e-9, atol=1e-11)


def test_the_inverse_undoes_it():
    _, fused = pair("condition")
    with torch.no_grad():
        adapted = features(fused)
        found = fused.inverse(fused.to_latent(adapted, task=1).latent, task=1)
    torch.testing.assert_close(found, adapted, rtol=1e-9, atol=1e-9)


def test_scores_do_not_depend_on_what_requires_gradients():
    _, fused = pair("condition")
    fused.eval()
    with torch.inference_mode():
        before = fused.patch_scores(features(fused), task=1)
    fused.requires_grad_(False)
    with torch.no_grad():
        assert torch.equal(fused.patch_scores(features(fused), task=1), before)


def test_a_place_of_each_image_is_not_taken_for_one_that_they_share():
    apart, fused = (system.flow[0].subnet for system in pair("condition"))
    passive = torch.randn(2, *GRID, apart.context.in_channels, dtype=torch.float64)
    place = torch.randn(2, *GRID, 8, dtype=torch.float64)
    for one, two in zip(apart(passive, place, task=0), fused(passive, place, task=0), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-11, atol=1e-11)


def test_a_branch_is_merged_as_its_formula_says():
    _, fused = pair("plain")
    linear = fused.flow[0].subnet.first
    weight, bias = merged(linear, task=1)
    expected = linear.base.weight + linear.scaling * linear.up["1"].weight @ linear.down["1"].weight
    torch.testing.assert_close(weight, expected)
    torch.testing.assert_close(bias, linear.base.bias + linear.up["1"].bias)


def test_both_functions_have_first_and_second_derivatives():
    draw = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(*shape, generator=draw, dtype=torch.float64, requires_grad=True)

    base, bias, down, up = normal(3, 6).detach(), normal(3), normal(2, 6), normal(3, 2)

    def low_rank(bias, down, up, *parts):
        return LowRank.apply(base + up @ down, bias, down, up, *parts)

    one, two = normal(5, 4), normal(5, 2)
    joined = torch.cat([one, two], dim=1)
    torch.testing.assert_close(low_rank(bias, down, up, one, two), low_rank(bias, down, up, joined))
    torch.testing.assert_close(low_rank(bias, down, up, joined), joined @ (base + up @ down).T + bias)
    for parts in ((one, two), (normal(5, 6),)):
        assert torch.autograd.gradcheck(low_rank, (bias, down, up, *parts))
        assert torch.autograd.gradgradcheck(low_rank, (bias, down, up, *parts))
    channels, weight = normal(2, 3, 5, 4), normal(3, 1, 3, 3)
    assert torch.autograd.gradcheck(Depthwise.apply, (channels, weight))
    assert torch.autograd.gradgradcheck(Depthwise.apply, (channels, weight))


def test_what_watches_inside_is_refused_in_training_and_served_apart_otherwise():
    apart, fused = pair("context")
    seen = []
    for system in (apart, fused):
        system.flow[1].subnet.s1.up["0"].register_forward_hook(lambda *_: seen.append(1))
    fused.train()
    with pytest.raises(MechlabError, match=r"watches 's1\.up\.0' inside it.*products=apart"):
        fused(features(fused), task=0)
    one, two = (system.eval()(features(system), task=0) for system in (apart, fused))
    assert len(seen) == 2
    torch.testing.assert_close(one.latent, two.latent, rtol=1e-11, atol=1e-11)


def test_what_is_outside_the_subnets_can_be_watched_in_training():
    _, fused = pair("context")
    seen = []
    fused.flow[0].register_forward_hook(lambda *_: seen.append(1))
    fused.train()(features(fused), task=0)
    assert seen == [1]


@pytest.mark.parametrize("parts", [{"subnet": "gated"}, {"subnet": "cpcf"}, {"branch": "sc-lora"}])
def test_what_cannot_be_merged_is_refused(parts):
    with pytest.raises(MechlabError, match="set products=apart"):
        MoLEFlow.create(TINY | {"products": "fused"} | parts, dim=8, grid=GRID, seed=0)
