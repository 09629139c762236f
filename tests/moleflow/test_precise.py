"""Products in bfloat16: log-dets stay those of the Jacobian, maps stay invertible, and numbers do move."""

from functools import partial

import numpy as np
import pytest
import torch

from mechlab.train.loop import Progress, run_task
from mechlab.train.scopes import apply, optimizer
from reproductions.moleflow.system import MoLEFlow

GRID, DIM = (3, 2), 8
TINY = {
    "blocks": 2,
    "lora_rank": 3,
    "dia_blocks": 0,
    "context_kernel": 3,
    "adapter": "none",
    "mixer": "none",
    "tail_weight": 0.0,
}  # a tail of other patches would have another gradient
KINDS = {
    "context": {},
    "plain": {"subnet": "plain"},
    "condition": {"position": "condition", "position_dim": 8},
    "gated": {"subnet": "gated"},
    "cpcf": {"subnet": "cpcf", "neighbourhood": "conv"},
    "sc-lora": {"branch": "sc-lora"},
    "spectral": {"spectral_norm": True},
    "global affine": {"global_affine": True},
    "FrEIA": {"coupling": "freia"},
    "DIA alone": {"blocks": 0, "dia_blocks": 2},
    "with DIA": {"dia_blocks": 2},
    "fused context": {"products": "fused"},
    "fused without branches": {"products": "fused", "lora_rank": 0, "dia_blocks": 1},
    "fused plain": {"products": "fused", "subnet": "plain"},
    "fused condition": {"products": "fused", "position": "condition", "position_dim": 8},
}


def system_of(kind, precision="bf16"):
    """Return a system off the identity, in float32."""
    system = MoLEFlow.create(TINY | KINDS[kind] | {"precision": precision}, dim=DIM, grid=GRID, seed=0)
    for task in range(2):
        system.add_task(task)
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in system.named_parameters():
            if "freia" not in name.rpartition(".")[0].rpartition(".")[2]:  # its permutation and global scale
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=draw))
    return system


def features(count=2):
    return torch.randn(count, *GRID, DIM, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("kind", KINDS)
def test_log_dets_are_those_of_the_jacobian_block_by_block(kind):
    """Of each block apart: through several, the Jacobian's own products would be rounded once more."""
    system, z = system_of(kind).eval(), features(1)
    place = system.grids.condition(1, task=1)
    couplings = [partial(block, place=place, task=1) for block in system.blocks(1)]
    for block in (*couplings, *system.dia["1"]):
        jacobian = torch.autograd.functional.jacobian(partial(flat, block), z.flatten()).double()
        with torch.no_grad():
            z, log_det = block(z)
        assert log_det.dtype is torch.float32
        expected = float(torch.linalg.slogdet(jacobian).logabsdet)
        assert float(log_det.sum()) == pytest.approx(expected, abs=2e-5) and abs(expected) > 1e-3


def flat(block, x):
    return block(x.view(1, *GRID, DIM))[0].flatten()


@pytest.mark.parametrize("kind", KINDS)
def test_the_inverse_makes_the_same_products(kind):
    system = system_of(kind).eval()
    with torch.no_grad():
        found = system.inverse(system.to_latent(features(), task=1).latent, task=1)
    torch.testing.assert_close(found, features(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_move_by_a_per_cent_and_no_more(kind):
    found = {}
    for precision in ("float32", "bf16"):
        system = system_of(kind, precision)
        apply(system, system.stage(1))
        loss = system.loss(features(32), task=1).total  # of fewer, one kink of a ReLU would count
        loss.backward()
        gradients = {name: value.grad for name, value in system.named_parameters() if value.grad is not None}
        assert {gradient.dtype for gradient in gradients.values()} == {torch.float32}
        found[precision] = (system(features(), task=1).latent, gradients)
    (latent, gradients), (moved, others) = found["float32"], found["bf16"]
    assert 1e-4 < (latent - moved).norm() / latent.norm() < 1e-2
    assert gradients.keys() == others.keys()
    length = torch.cat([value.flatten() for value in gradients.values()]).norm()
    away = torch.cat([(gradients[name] - others[name]).flatten() for name in gradients]).norm()
    assert 1e-4 < away / length < 3e-2


@pytest.mark.parametrize("precision", ["float32", "tf32"])
def test_a_step_makes_its_products_in_the_precision_of_the_stage_both_ways(precision):
    system, seen = system_of("context", precision), {}
    system.requires_grad_(True)

    def look(name):
        seen[name] = torch.get_float32_matmul_precision()

    linear = system.flow[0].subnet.s2.base
    linear.register_forward_hook(lambda *_: look("forward"))
    linear.weight.register_hook(lambda _: look("backward"))
    stage = system.stage(0)
    apply(system, stage)
    run_task(system, np.asarray(features(4)), task=0, seed=0, stage=stage, device=torch.device("cpu"),
             optimizer=optimizer(system, stage), start=Progress(epoch=stage.epochs - 1), observers=(),
             after_epoch=lambda _: None)  # fmt: skip
    asked = "high" if precision == "tf32" else "highest"
    assert seen == {"forward": asked, "backward": asked}
    assert torch.get_float32_matmul_precision() == "highest"


def test_each_precision_is_a_run_of_its_own_and_float32_keeps_its_name(small_request):
    from dataclasses import replace

    from mechlab.train.resolution import resolve

    names = {
        word: resolve(replace(small_request, settings=small_request.settings | given)).run.name
        for word, given in {
            "usual": {},
            "float32": {"precision": "float32"},
            "tf32": {"precision": "tf32"},
            "bf16": {"precision": "bf16"},
        }.items()
    }
    assert names["usual"] == names["float32"]
    assert len(set(names.values())) == 3
