"""Cross-patch coupling: what the context sees, and what becomes of the sketch that is no coupling.

That the corrected form has an exact log-det and an inverse is tested with the others in `test_jacobian.py`.
"""

import pytest
import torch

import mechlab
from mechlab.errors import MechlabError
from mechlab.instrument.sites import Site
from reproductions.moleflow.flow.neighbourhood import neighbourhood_of, windows
from reproductions.moleflow.sites import sites
from reproductions.moleflow.system import MoLEFlow

GRID, DIM = (4, 5), 4
X = torch.randn(1, *GRID, DIM, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
PARTS = {"position": "none", "adapter": "none", "blocks": 1, "dia_blocks": 0, "lora_rank": 1,
         "context_kernel": 3, "neighbourhood": "conv"}  # fmt: skip


def system_of(subnet: str, **parts: object) -> MoLEFlow:
    system = MoLEFlow.create(PARTS | {"subnet": subnet} | parts, dim=DIM, grid=GRID, seed=0)
    system.add_task(0)
    system.double()
    draw = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for value in system.parameters():
            value.add_(0.6 * torch.randn(value.shape, generator=draw, dtype=torch.float64))
    return system


def jacobian_log_det(system: MoLEFlow) -> float:
    matrix = torch.autograd.functional.jacobian(lambda x: system.to_latent(x, task=0).latent, X)
    return float(torch.linalg.slogdet(matrix.reshape(X.numel(), X.numel())).logabsdet)


def test_windows_hold_the_neighbours_of_each_patch_and_nothing_outside():
    found = windows(X, kernel=3)
    assert found.shape == (1, *GRID, 9, DIM)
    assert torch.equal(found[0, 1, 2], X[0, 0:3, 1:4].flatten(0, 1))
    assert not found[0, 0, 0, :3].any()


def test_fixed_context_is_a_share_of_the_mean_and_learns_nothing():
    context = neighbourhood_of("mean", DIM, kernel=3, name="flow.0", seed=0)
    assert not list(context.parameters())
    mean = torch.nn.functional.avg_pool2d(X.permute(0, 3, 1, 2), 3, 1, 1).permute(0, 2, 3, 1)
    torch.testing.assert_close(context(X), 0.7 * X + 0.3 * mean)


def test_learned_context_starts_as_the_mean():
    context = neighbourhood_of("conv", DIM, kernel=3, name="flow.0", seed=0).double()
    mean = torch.nn.functional.avg_pool2d(X.permute(0, 3, 1, 2), 3, 1, 1).permute(0, 2, 3, 1)
    torch.testing.assert_close(context(X), mean)


def test_attention_averages_values_of_the_neighbours_in_the_image_alone():
    context = neighbourhood_of("attention", DIM, kernel=3, name="flow.0", seed=0).double()
    constant = torch.ones_like(X)
    torch.testing.assert_close(context(constant), context.value(constant))  # also at the border
    moved = X.clone()
    moved[0, 1, 1] += 1.0
    changed = ~torch.isclose(context(moved), context(X)).all(dim=-1)[0]
    assert changed[:3, :3].all()
    assert not changed[3].any()
    assert not changed[:, 3:].any()


@pytest.mark.parametrize("neighbourhood", ["conv", "attention", "mean"])
def test_both_coefficients_see_neighbours_and_never_the_transformed_half(neighbourhood):
    subnet = system_of("cpcf", neighbourhood=neighbourhood).flow[0].subnet
    passive = X[..., :2]
    moved = passive.clone()
    moved[0, 1, 1] += 1.0
    for before, after in zip(subnet(passive, None, task=0), subnet(moved, None, task=0), strict=True):
        assert not torch.allclose(before[0, 2, 2], after[0, 2, 2])
        torch.testing.assert_close(before[0, 3, 4], after[0, 3, 4])


def test_the_sketchs_sum_of_log_scales_is_no_determinant():
    sketch, corrected = system_of("cpcf-sketch"), system_of("cpcf")
    for system, is_exact in ((sketch, False), (corrected, True)):
        reported = float(system.to_latent(X, task=0).log_det.sum().detach())
        assert (abs(reported - jacobian_log_det(system)) < 1e-9) == is_exact
        if not is_exact:
            assert abs(reported - jacobian_log_det(system)) > 0.01


def test_the_sketch_has_no_inverse():
    latent = system_of("cpcf-sketch").to_latent(X, task=0).latent
    with pytest.raises(MechlabError, match=r"cannot be undone: its context holds .* use subnet=cpcf"):
        system_of("cpcf-sketch").inverse(latent, task=0)


@pytest.mark.parametrize("named", [False, True], ids=["by path", "by site"])
def test_recording_a_log_det_of_the_sketch_is_refused(tmp_path, named):
    plan = [{"site": "flow.0.log_det" if named else "flow.0", "quantity": "log_det"}]
    known: tuple[Site, ...] = sites(system_of("cpcf")) if named else ()
    with (
        pytest.raises(MechlabError, match=r"'flow\.0.*' is not a density: its context holds"),
        mechlab.record(system_of("cpcf-sketch"), plan, tmp_path / "refused", sites=known),
    ):
        pass
    corrected = system_of("cpcf")
    with mechlab.record(corrected, plan, tmp_path / "taken", sites=known):
        corrected(X, task=0)
