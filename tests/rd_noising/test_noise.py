"""Noise on maps: its std is what was promised, its bank is kept, its controls keep what they should keep."""

import pytest
import torch

from mechlab.errors import MechlabError
from reproductions.rd_noising.deviation import EmbeddingDeviation, FeatureDeviation
from reproductions.rd_noising.draws import Draws
from reproductions.rd_noising.noise import AdaptiveNoise

DIM, GRID = 4, (3, 5)
LAWS = {"features": lambda: FeatureDeviation(DIM, ends=(0.01, 0.3)),
        "embedding": lambda: EmbeddingDeviation(ends=(0.01, 0.3))}  # fmt: skip


def made(rng, *, law="features", kind="adaptive", count=2):
    noise = AdaptiveNoise(DIM, deviation=LAWS[law](), count=count, kind=kind, layer=0, epochs=2)
    noise.keep(torch.from_numpy(rng.standard_normal((9, DIM))).float())
    return noise


@pytest.fixture
def maps(rng):
    return torch.from_numpy(rng.standard_normal((6, DIM, *GRID))).float()


def draws(*, items=range(6), epoch=0):
    return Draws(seed=1, task=0, epoch=epoch, items=tuple(items))


def std_of(noise, maps):
    seen = {}
    for place in ("std", "start", "distance", "influence"):
        getattr(noise, place).register_forward_hook(
            lambda _module, _inputs, output, place=place: seen.update({place: output.detach()})
        )
    noise.look(maps, draws=draws())
    return seen


@pytest.mark.parametrize("law", LAWS)
def test_noise_is_the_draw_times_the_std_of_each_channel_and_place(rng, maps, law):
    noise = made(rng, law=law)
    seen = std_of(noise, maps)
    added = noise(maps, draws=draws(), is_frozen=False) - maps
    drawn = draws().normal((DIM, *GRID), layer=0)
    assert torch.allclose(added, drawn * seen["std"], atol=1e-6)
    assert seen["std"].shape == maps.shape and seen["distance"].shape == (6, 1, *GRID)
    assert torch.equal(seen["std"], seen["start"]), "nothing is trained yet"


@pytest.mark.parametrize("law", LAWS)
def test_weights_get_gradients_and_the_maps_pass_theirs_as_they_are(rng, maps, law):
    noise = made(rng, law=law)
    maps.requires_grad_(True)
    noise(maps, draws=draws(), is_frozen=False).square().sum().backward()
    for name, parameter in noise.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().min() > 0, name
    noised = noise(maps, draws=draws(), is_frozen=False).detach()
    assert torch.allclose(maps.grad, 2 * noised, atol=1e-5), "the std is no function that is differentiated"


def test_remembered_neighbours_change_no_bit(rng, maps):
    noise = made(rng)
    first = noise(maps, draws=draws(), is_frozen=True)
    assert len(noise.known) == 6
    assert torch.equal(noise(maps, draws=draws(), is_frozen=True), first)
    assert torch.equal(noise(maps, draws=draws(), is_frozen=False), first)
    noise.keep(noise.bank + 1)
    assert not noise.known and not torch.equal(noise(maps, draws=draws(), is_frozen=True), first)


def test_the_std_of_an_image_depends_on_its_batch_and_its_noise_draw_does_not(rng, maps):
    noise = made(rng)
    whole, part = std_of(noise, maps)["std"][:2], std_of(noise, maps[:2])["std"]
    assert not torch.allclose(whole, part, atol=1e-4)
    added = noise(maps[:2], draws=draws(items=range(2)), is_frozen=False) - maps[:2]
    drawn = draws().normal((DIM, *GRID), layer=0)[:2]
    assert torch.allclose(added / part, drawn, atol=1e-3)


def test_the_isotropic_control_has_the_mean_std_everywhere(rng, maps):
    noise = made(rng, kind="isotropic")
    adaptive = made(rng, kind="adaptive")
    adaptive.keep(noise.bank)
    std = std_of(noise, maps)["std"]
    assert std.unique().numel() == 1
    assert float(std.mean()) == pytest.approx(float(std_of(adaptive, maps)["std"].mean()), rel=1e-6)
    noise(maps, draws=draws(), is_frozen=False).square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in noise.parameters())


def test_the_shuffled_control_has_the_same_stds_of_each_image_elsewhere(rng, maps):
    noise, adaptive = made(rng, kind="shuffled"), made(rng)
    adaptive.keep(noise.bank)
    found, wanted = std_of(noise, maps)["std"], std_of(adaptive, maps)["std"]
    assert torch.equal(found.flatten(1).sort(dim=1).values, wanted.flatten(1).sort(dim=1).values)
    assert not torch.equal(found, wanted)
    places = found.mean(dim=1).flatten(1).sort(dim=1).values
    assert torch.allclose(places, wanted.mean(dim=1).flatten(1).sort(dim=1).values), "places move as a whole"


def test_the_trace_keeps_mean_std_and_weights_of_each_epoch(rng, maps):
    noise = made(rng)
    noise(maps, draws=draws(), is_frozen=False)
    noise(maps, draws=draws(), is_frozen=False)
    mean = float(std_of(noise, maps)["std"].double().mean())
    assert noise.trace[0].tolist() == pytest.approx([2, 2 * mean, 2, 2])
    with torch.no_grad():
        noise.deviation.distance_weight.fill_(0.25)
    noise(maps, draws=draws(epoch=1), is_frozen=False)
    assert noise.trace[1, 0] == 1 and noise.trace[1, 3] == 0.25


@pytest.mark.parametrize("law", LAWS)
def test_a_checkpoint_restores_bank_flag_and_trace_of_any_size(rng, maps, law):
    noise = made(rng, law=law)
    noise(maps, draws=draws(), is_frozen=True)
    fresh = AdaptiveNoise(DIM, deviation=LAWS[law](), count=2, kind="adaptive", layer=0, epochs=2)
    fresh.load_state_dict(noise.state_dict())
    assert {name for name, _ in fresh.named_buffers()} == {"bank", "is_built", "trace"}
    assert torch.equal(fresh.trace, noise.trace)
    assert torch.equal(fresh(maps, draws=draws(), is_frozen=True), noise(maps, draws=draws(), is_frozen=True))


def test_noise_without_a_bank_is_refused_and_not_left_out(rng, maps):
    empty = AdaptiveNoise(DIM, deviation=LAWS["features"](), count=2, kind="adaptive", layer=0, epochs=2)
    with pytest.raises(ValueError, match="noise without a bank: prepare comes first"):
        empty(maps, draws=draws(), is_frozen=True)
    with pytest.raises(MechlabError, match="2 neighbours are asked of a bank of 1 patches"):
        empty.keep(torch.zeros(1, DIM))
    assert not bool(empty.is_built)
