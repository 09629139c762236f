"""Scorers: trust between two passes, weights of isolated peaks, and what the margin loss teaches them."""

import math

import numpy as np
import pytest
import torch

from mechlab.train.view import View
from reproductions.moleflow.consistency import LocalConsistency
from reproductions.moleflow.dual_branch import LatentTrust, ScoreTrust, relative_difference
from reproductions.moleflow.margin import margin_loss
from reproductions.moleflow.scoring import scored, without_position
from reproductions.moleflow.system import MoLEFlow

DIM, GRID = 8, (4, 5)
TINY = {"blocks": 2, "lora_rank": 3, "dia_blocks": 1, "context_kernel": 3}


def system_of(parts: dict) -> MoLEFlow:
    system = MoLEFlow.create(TINY | parts, dim=DIM, grid=GRID, seed=0)
    system.add_task(0)
    return system


@pytest.fixture
def x(rng) -> torch.Tensor:
    return torch.from_numpy(rng.normal(size=(3, *GRID, DIM)).astype(np.float32))


def trust_of(kind: str, rng, *, spread: float = 0.0) -> torch.Tensor:
    network = {
        "free": lambda: LatentTrust(DIM, is_bounded=False, task=0, seed=0),
        "bounded": lambda: LatentTrust(DIM, is_bounded=True, task=0, seed=0),
        "guided": ScoreTrust,
    }[kind]()
    with torch.no_grad():
        for name, value in network.named_parameters():
            if name == "temperature":
                value.fill_(1 + spread)  # of either sign it would be another guide
            elif name == "bias":
                value.fill_(0)
            else:
                value.add_(torch.from_numpy(rng.normal(0, spread or 1e-30, value.shape).astype(np.float32)))
    latents = [torch.from_numpy(rng.normal(size=(6, *GRID, DIM)).astype(np.float32)) for _ in range(2)]
    scores = [torch.from_numpy(rng.normal(0, 50, (6, *GRID)).astype(np.float32)) for _ in range(2)]
    return network(*latents, *scores).detach()


@pytest.mark.parametrize(("kind", "start"), [("free", 0.5), ("bounded", 0.72)])
def test_trust_starts_where_the_notes_say(kind, start, rng):
    torch.testing.assert_close(trust_of(kind, rng), torch.full((6, *GRID), start))


@pytest.mark.parametrize(
    ("kind", "low", "high"), [("free", 0, 1), ("bounded", 0.3, 0.9), ("guided", 0.2, 0.8)]
)
def test_trust_keeps_its_bounds_and_reaches_for_them(kind, low, high, rng):
    found = trust_of(kind, rng, spread=30.0)
    assert low - 1e-6 <= float(found.min()) < low + 0.1
    assert high - 0.1 < float(found.max()) <= high + 1e-6


def test_the_guide_trusts_the_pass_that_finds_a_patch_more_normal():
    guide, latent = ScoreTrust(), torch.zeros(1, 1, 1, DIM)
    low, high = torch.full((1, 1, 1), 10.0), torch.full((1, 1, 1), 30.0)
    assert guide(latent, latent, low, high).item() > 0.5 > guide(latent, latent, high, low).item()
    assert guide(latent, latent, low, low).item() == 0.5
    assert float(relative_difference(high, -high)) == pytest.approx(1.0)
    assert float(relative_difference(0 * low, 0 * low)) == 0.0


def test_full_trust_is_the_pass_with_position_and_none_the_other(x):
    dual, plain = system_of({"scorer": "dual"}), system_of({})
    blind = system_of({"position": "none"}).patch_scores(x, task=0)
    trust = dual.scorer["0"].trust
    for bias, expected in ((80.0, plain.patch_scores(x, task=0)), (-80.0, blind)):
        with torch.no_grad():
            trust.last.bias.fill_(bias)
        torch.testing.assert_close(dual.patch_scores(x, task=0), expected)


@pytest.mark.parametrize("kernels", [(3,), (5,), (3, 5, 7)])
def test_an_isolated_peak_loses_more_than_a_cluster_of_the_same_height(kernels):
    scores = torch.zeros(2, 11, 11)
    scores[0, 5, 5] = 8.0
    scores[1, 4:7, 4:7] = 8.0
    found = LocalConsistency(kernels)(scores).detach()
    assert float(found[0, 5, 5]) < float(found[1, 5, 5]) <= 8.0
    middle = float(scores[0].mean())
    expected = middle + 0.5 * (8 - middle)  # nothing around it: the least weight, one half at the start
    assert float(found[0, 5, 5]) == pytest.approx(expected, abs=1e-4)
    assert float(found[1, 0, 0]) == 0.0  # below the mean nothing changes


def test_consistency_shifts_and_stretches_with_the_scores(rng):
    scores = torch.from_numpy(rng.normal(size=(2, 6, 6)))
    calibrate = LocalConsistency((3, 5, 7)).double()
    torch.testing.assert_close(calibrate(scores - 500), calibrate(scores) - 500)
    torch.testing.assert_close(calibrate(10 * scores), 10 * calibrate(scores), rtol=1e-4, atol=1e-4)


def test_a_blend_of_equal_kernels_is_one_of_them(rng):
    scores = torch.from_numpy(rng.normal(size=(2, 6, 6)).astype(np.float32))
    torch.testing.assert_close(LocalConsistency((3, 3))(scores), LocalConsistency((3,))(scores))


def test_constant_scores_stay_and_have_a_gradient():
    scores = torch.full((1, 4, 4), 3.0, requires_grad=True)
    found = LocalConsistency((3,))(scores)
    assert torch.equal(found, scores)
    found.sum().backward()
    assert bool(torch.isfinite(scores.grad).all())


def test_the_margin_loss_in_closed_form():
    normal, mask = torch.zeros(2, 1, 2), torch.tensor([[[True, False]], [[True, True]]])
    damaged = torch.tensor([[[40.0, 99.0]], [[0.0, 8.0]]])
    soft = [4 * math.log1p(math.exp(1.0 - rise / 4)) for rise in (40.0, 0.0, 8.0)]
    expected = (soft[0] + (soft[1] + soft[2]) / 2) / 2
    assert float(margin_loss(normal, damaged, mask, margin=1.0, dim=4)) == pytest.approx(expected, rel=1e-5)


def view_of(x: torch.Tensor) -> View:
    mask = torch.zeros(x.shape[:3], dtype=torch.bool)
    mask[:, 1:3, 1:3] = True
    return View(
        angles=torch.zeros(len(x)), damaged=x + mask[..., None] * torch.linspace(-3, 3, DIM), mask=mask
    )


def test_the_margin_joins_the_loss_of_a_view_alone(x):
    system = system_of({"margin_weight": 2.0, "pseudo_anomaly": "jitter"})
    plain, view = system.loss(x, task=0), view_of(x)
    seen = system.loss(x, task=0, view=view)
    expected = 2.0 * margin_loss(
        system.patch_scores(x, task=0),
        system.patch_scores(view.damaged, task=0),
        view.mask,
        margin=1.0,
        dim=DIM,
    )
    torch.testing.assert_close(seen.total - plain.total, expected, rtol=1e-4, atol=1e-4)
    assert set(seen.terms) - set(plain.terms) == {"margin"}


def test_training_on_the_margin_raises_damaged_patches(x):
    system = system_of({"margin_weight": 1.0, "pseudo_anomaly": "jitter"})
    view = view_of(x)

    def rise() -> float:
        with torch.no_grad():
            away = system.patch_scores(view.damaged, task=0) - system.patch_scores(x, task=0)
        return float(away[view.mask].mean())

    before, optimizer = rise(), torch.optim.Adam(system.parameters(), lr=1e-2)
    for _ in range(20):
        optimizer.zero_grad()
        system.loss(x, task=0, view=view).terms["margin"].backward()
        optimizer.step()
    assert rise() > before + 1


@pytest.mark.parametrize(
    "parts",
    [{"scorer": "dual"}, {"scorer": "dual-bounded"}, {"scorer": "dual-guided"}, {"consistency": "local"},
     {"consistency": "multi-scale"}],
    ids=lambda parts: "-".join(parts.values()),
)  # fmt: skip
def test_behind_the_loss_nothing_is_reached_unless_the_margin_reaches_it(parts, x):
    sketch = system_of(parts)
    stage, names = sketch.stage(0), [name for name, _ in sketch.scorer.named_parameters(prefix="scorer")]
    assert names
    assert {stage.scopes[name] for name in names} == {"frozen"}
    sketch.loss(x, task=0).total.backward()
    assert all(value.grad is None for value in sketch.scorer.parameters())
    corrected = system_of(parts | {"margin_weight": 1.0, "pseudo_anomaly": "jitter"})
    assert {corrected.stage(0).scopes[name] for name in names} == {"per-task"}


def test_both_passes_train_where_the_scorer_learns(x):
    corrected = system_of({"scorer": "dual", "margin_weight": 1.0, "pseudo_anomaly": "jitter"})
    placed = corrected.nll_loss(corrected(x, task=0), task=0).total
    blind = corrected.nll_loss(without_position(corrected, x, task=0), task=0).total
    torch.testing.assert_close(corrected.loss(x, task=0).total, 0.5 * (placed + blind))
    sketch = system_of({"scorer": "dual"})
    torch.testing.assert_close(sketch.loss(x, task=0).total, placed)


def test_hooks_see_the_pass_of_the_batch_alone(x):
    system = system_of({"scorer": "dual", "margin_weight": 1.0, "pseudo_anomaly": "jitter"})
    seen = []
    system.latent.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    loss = system.loss(x, task=0, view=view_of(x))  # four more passes: damaged, and both without position
    assert "margin" in loss.terms
    (latent,) = seen
    assert torch.equal(latent, system(x, task=0).latent)


def test_a_plain_scorer_is_the_nll(x):
    system = system_of({})
    flowed = system(x, task=0)
    expected = 0.5 * (flowed.latent.square().sum(-1) + DIM * math.log(2 * math.pi)) - flowed.log_det
    assert torch.equal(scored(system, x, flowed, task=0), expected)
    assert not list(system.scorer.parameters())
