"""Log-dets are determinants: image sums of every block and of the whole equal the autograd Jacobian."""

import pytest
import torch

from reproductions.moleflow.presets import PRESETS
from reproductions.moleflow.system import MoLEFlow

GRID = (3, 4)
PLAIN = {
    "position": "none",
    "adapter": "none",
    "blocks": 2,
    "context_kernel": 3,
    "context_initial": 5.0,  # far above any preset, so that neighbours matter
    "context_limit": 10.0,
    "lora_rank": 2,
}
ARMS = {
    "context": {},
    "plain": {"subnet": "plain"},
    "cpcf-conv": {"subnet": "cpcf", "neighbourhood": "conv"},
    "cpcf-attention": {"subnet": "cpcf", "neighbourhood": "attention"},
    "cpcf-mean": {"subnet": "cpcf", "neighbourhood": "mean"},
    "gated": {"subnet": "gated", "gate_hidden": 3},
    "gated-published": {"subnet": "gated-published", "gate_hidden": 3},
    "global-affine": {"global_affine": True},
    "freia": {"coupling": "freia"},
    "freia-affine": {"coupling": "freia", "global_affine": True},
    "condition": {"position": "condition", "position_dim": 4},
    "no-lora": {"lora_rank": 0},
    "sc-lora": {"branch": "sc-lora"},
    "linear": {"branch": "linear", "lora_rank": 0},
    "separated": {"base": "per-task"},
    "spectral": {"spectral_norm": True},
    "no-dia": {"dia_blocks": 0},
    "dia-alone": {"blocks": 0, "dia_blocks": 3},
}

DENSITIES = [preset.name for preset in PRESETS if preset.parts.get("subnet") != "cpcf-sketch"]


def perturbed(parts: dict, *, dim: int, scale: float = 0.4) -> MoLEFlow:
    """Return a float64 system with two tasks whose every parameter is off its start."""
    system = MoLEFlow.create(parts, dim=dim, grid=GRID, seed=0)
    for task in range(2):
        system.add_task(task)
    system.double()
    draw = torch.Generator().manual_seed(5)
    scopes = [system.stage(task).scopes for task in range(2)]
    with torch.no_grad():
        for name, parameter in system.named_parameters():
            if all(stage[name] == "frozen" for stage in scopes):
                continue  # a permutation, which is no permutation any more once it is perturbed
            parameter.add_(scale * torch.randn(parameter.shape, generator=draw, dtype=torch.float64))
    return system


def features(dim: int, *, images: int = 1) -> torch.Tensor:
    return torch.randn(images, *GRID, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


def jacobian_log_det(function, x: torch.Tensor) -> float:
    size = x.numel()
    matrix = torch.autograd.functional.jacobian(function, x, vectorize=False).reshape(size, size)
    return float(torch.linalg.slogdet(matrix).logabsdet)


@pytest.mark.parametrize("dim", [4, 5], ids=["even", "odd"])
@pytest.mark.parametrize("arm", ARMS)
def test_total_log_det_is_the_jacobian_of_the_whole_map(arm, dim):
    system, x = perturbed(PLAIN | ARMS[arm], dim=dim), features(dim)
    for task in range(2):
        flowed = system.to_latent(x, task=task)
        expected = jacobian_log_det(lambda value, task=task: system.to_latent(value, task=task).latent, x)
        assert float(flowed.log_det.sum().detach()) == pytest.approx(expected, abs=1e-9)
        assert abs(expected) > 0.1
        blocks = flowed.block_log_dets.sum(dim=-1)
        torch.testing.assert_close(blocks, flowed.log_det, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dim", [4, 5], ids=["even", "odd"])
def test_each_blocks_log_det_is_the_jacobian_of_that_block(dim):
    system, x = perturbed(PLAIN, dim=dim), features(dim)
    steps = [lambda value, block=block: block(value, None, task=1) for block in system.flow]
    steps += list(system.dia["1"])
    reported = system.to_latent(x, task=1).block_log_dets
    assert reported.shape[-1] == len(steps) == 4
    for number, step in enumerate(steps):
        expected = jacobian_log_det(lambda value, step=step: step(value).latent, x)
        assert float(reported[..., number].sum().detach()) == pytest.approx(expected, abs=1e-9)
        x = step(x).latent.detach()


@pytest.mark.parametrize("name", DENSITIES)
def test_every_presets_log_det_is_exact_from_adapted_features_on(name):
    parts = dict(next(preset.parts for preset in PRESETS if preset.name == name))
    system = perturbed(parts | {"lora_rank": min(2, parts["lora_rank"])}, dim=4, scale=0.2)
    adapted = system.adapt(features(4), task=1).detach()
    expected = jacobian_log_det(lambda value: system.to_latent(value, task=1).latent, adapted)
    assert float(system.to_latent(adapted, task=1).log_det.sum().detach()) == pytest.approx(
        expected, abs=1e-9
    )


def test_context_makes_only_the_image_sum_a_determinant():
    system, x = perturbed(PLAIN, dim=4), features(4)

    rows = x.reshape(-1, 4)

    def centre(value: torch.Tensor) -> torch.Tensor:
        whole = torch.cat([rows[:5], value, rows[6:]]).reshape(x.shape)
        return system.to_latent(whole, task=0).latent.reshape(-1, 4)[5:6]

    alone = jacobian_log_det(centre, rows[5:6])
    reported = float(system.to_latent(x, task=0).log_det.reshape(-1)[5].detach())
    assert abs(alone - reported) > 1e-6  # a thousand times what the image sums are held to


@pytest.mark.parametrize("dim", [4, 5], ids=["even", "odd"])
@pytest.mark.parametrize("arm", ARMS)
def test_inverse_undoes_the_map(arm, dim):
    system, x = perturbed(PLAIN | ARMS[arm], dim=dim), features(dim, images=2)
    for task in range(2):
        latent = system.to_latent(x, task=task).latent
        assert float((system.inverse(latent, task=task) - x).abs().max().detach()) < 1e-10


def test_inverse_holds_in_single_precision_at_the_size_of_mini():
    parts = dict(next(preset.parts for preset in PRESETS if preset.name == "mini"))
    system = perturbed(parts, dim=128, scale=0.03).float()
    x = features(128, images=2).float()
    back = system.inverse(system.to_latent(x, task=1).latent, task=1)
    assert float((back - x).abs().max().detach() / x.abs().max()) < 1e-6


def test_flow_without_its_dia_undone_first_is_not_undone():
    system, x = perturbed(PLAIN, dim=4), features(4)
    latent = system.to_latent(x, task=0).latent
    for block in reversed(system.flow):  # the order of the published code: base first, then DIA
        latent = block.inverse(latent, None, task=0)
    for block in reversed(system.dia["0"]):
        latent = block.inverse(latent)
    assert float((latent - x).abs().max().detach()) > 1e-2
