"""RD-Noising as a system: off it is reverse distillation, on it is noise on the way in and nowhere else."""

import numpy as np
import pytest
import torch

from mechlab.errors import MechlabError
from mechlab.runs.settings import unused
from mechlab.systems import catalog, load
from mechlab.train.scopes import apply, optimizer
from mechlab.train.stage import Moment, Timed, Trainable
from reproductions.rd_noising.catalog import CONFIG, NEEDS, PARTS, PRESETS, SYSTEM
from reproductions.rd_noising.config import RDNoisingConfig
from reproductions.rd_noising.sites import sites
from reproductions.rd_noising.system import RDNoising
from reproductions.reverse_distillation.system import ReverseDistillation

OFF = {"enable_noise": False, "noise_enabled": False}
SECOND = {"noise_source": "embedding", "n_neighbors": None, "coreset_sampling_ratio": 0.5}
GENERATIONS = pytest.mark.parametrize("parts", [{}, SECOND], ids=["features", "embedding"])


def moment(epoch, step=0, items=range(6)):
    return Moment(step=step, epoch=epoch, phase=0, items=np.array(list(items)))


def trained(system, normals, *, epochs=range(2), held=None):
    """Train two batches an epoch as the loop does; return losses and the optimiser."""
    stage = system.stage(0)
    apply(system, stage)
    held = held or optimizer(system, stage)
    losses = []
    for epoch in epochs:
        for number, items in enumerate((range(6), range(6, 12))):
            held.zero_grad(set_to_none=True)
            batch, now = torch.from_numpy(normals[list(items)]), moment(epoch, 2 * epoch + number, items)
            loss = system.loss_at(batch, task=0, moment=now) if isinstance(system, Timed) else None
            loss = loss or system.loss(batch, task=0)
            loss.total.backward()
            held.step()
            losses.append(float(loss.total.detach()))
    return losses, held


def equal(one, two):
    return one.keys() == two.keys() and all(torch.equal(value, two[name]) for name, value in one.items())


def test_it_is_found_by_name_and_every_target_exists(make):
    assert catalog("rd-noising").SYSTEM is SYSTEM
    assert load(SYSTEM.target) is RDNoising and load(CONFIG) is RDNoisingConfig
    assert all(callable(load(part.target)) and part.system == "rd-noising" for part in PARTS)
    assert isinstance(make(), Trainable) and isinstance(make(), Timed)


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.name)
def test_presets_are_valid_and_none_of_their_keys_is_idle(preset):
    config = RDNoisingConfig(**preset.parts)
    assert config.is_noisy and not unused(preset.parts, parts=config.model_dump(), needs=NEEDS)


def test_the_defaults_are_those_of_the_document():
    config = RDNoisingConfig()
    assert (config.coreset_sampling_ratio, config.n_neighbors) == (0.01, 9)
    assert config.noise_std_range == (0.01, 0.3)
    assert (config.noise_layers, config.noise_warmup_epochs, config.max_patches) == ((0, 1, 2), 0, 100_000)
    assert (config.enable_noise, config.noise_enabled) == (True, True)
    epochs = {preset.name: preset.parts["epochs"] for preset in PRESETS}
    assert (epochs["256-100e"], epochs["256-300e"]) == (100, 300)


def test_with_both_switches_off_it_is_reverse_distillation_bit_for_bit(make, pyramid, normals):
    off, plain = make(**OFF), ReverseDistillation.create({"epochs": 4}, pyramid=pyramid, seed=3)
    plain.add_task(0)
    plain.train()
    assert trained(off, normals)[0] == trained(plain, normals)[0]
    assert equal(off.state_dict(), plain.state_dict())
    off.eval(), plain.eval()
    batch = torch.from_numpy(normals)
    assert torch.equal(off(batch, task=0), plain(batch, task=0))


@GENERATIONS
def test_noise_moves_no_other_draw(make, normals, parts):
    noisy, plain = make(**parts), make(**OFF)
    assert equal(plain.pupil.state_dict(), noisy.pupil.state_dict())
    torch.manual_seed(0)
    before = torch.get_rng_state()
    trained(noisy, normals)
    assert torch.equal(torch.get_rng_state(), before)


@GENERATIONS
def test_the_loss_is_between_clean_maps_and_those_rebuilt_from_noised_ones(make, normals, parts):
    system, batch = make(**parts), torch.from_numpy(normals[:6])
    wanted = system.teacher(batch)
    noised, inside = {}, system.noise_of(0)
    for name, noise in inside.items():
        noise.register_forward_hook(lambda _m, _i, output, name=name: noised.update({name: output}))
    found = system.loss_at(batch, task=0, moment=moment(0))
    fresh, paths = make(**parts), ("one", "two", "three")
    if parts:
        rebuilt = fresh.pupil_of(0).student(noised["embedding"])
    else:
        assert set(noised) == set(paths)
        rebuilt = fresh.pupil_of(0)(tuple(noised[path] for path in paths))
        assert all(not torch.equal(noised[path], clean) for path, clean in zip(paths, wanted, strict=True))
    assert torch.equal(fresh.loss_between(wanted, rebuilt).total, found.total)
    assert not torch.equal(found.total, system.loss(batch, task=0).total)


@GENERATIONS
@pytest.mark.parametrize("kind", ["adaptive", "isotropic", "shuffled"])
def test_every_trained_parameter_gets_a_gradient_and_moves(make, normals, parts, kind):
    system = make(**parts, noise_kind=kind)
    before = {name: value.detach().clone() for name, value in system.named_parameters()}
    trained(system, normals)
    moving = {name for group in system.stage(0).groups for name in group.parameters}
    assert moving == set(before)
    for name, value in system.named_parameters():
        assert value.grad is not None and value.grad.abs().sum() > 0, name
        assert not torch.equal(value, before[name]), name


@GENERATIONS
def test_maps_do_not_depend_on_noise_or_on_its_weights(make, normals, parts):
    system, batch = make(**parts).eval(), torch.from_numpy(normals)
    first = system.patch_scores(batch, task=0)
    with torch.no_grad():
        for noise in system.noise_of(0).values():
            for parameter in noise.parameters():
                parameter.mul_(-3)
            noise.keep(noise.bank + 5)
    assert torch.equal(system.patch_scores(batch, task=0), first)
    assert torch.equal(system(batch, task=0), first), "and looking at the noise moves no bit"


def test_in_evaluation_mode_a_loss_is_without_noise(make, normals):
    system, batch = make().eval(), torch.from_numpy(normals[:6])
    found = system.loss_at(batch, task=0, moment=moment(0))
    assert torch.equal(found.total, system.loss(batch, task=0).total)


def test_noise_begins_after_the_warm_up(make, normals):
    batch = torch.from_numpy(normals[:6])
    for epoch in range(3):
        warm, cold = make(noise_warmup_epochs=2), make(**OFF)
        same = torch.equal(warm.loss_at(batch, task=0, moment=moment(epoch)).total,
                           cold.loss_at(batch, task=0, moment=moment(epoch)).total)  # fmt: skip
        assert same == (epoch < 2)


def test_only_the_chosen_levels_are_noised_and_have_a_bank(make, normals):
    system = make(noise_layers=[2, 0])
    assert list(system.noise_of(0)) == ["one", "three"]
    seen = []
    system.pupil_of(0).bottleneck.register_forward_pre_hook(lambda _m, inputs: seen.append(inputs[0]))
    batch = torch.from_numpy(normals[:6])
    system.loss_at(batch, task=0, moment=moment(0))
    same = [torch.equal(*pair) for pair in zip(seen[0], system.teacher(batch), strict=True)]
    assert same == [False, True, False]


@GENERATIONS
def test_a_training_that_is_taken_up_from_a_checkpoint_alone_goes_on_bit_for_bit(make, normals, parts):
    whole = make(**parts)
    expected, _ = trained(whole, normals, epochs=range(4))
    first = make(**parts)
    begun, held = trained(first, normals, epochs=range(2))
    second = make(**parts, built=False)  # phase 1 does not run again: what is not in the checkpoint is lost
    second.load_state_dict(first.state_dict())
    stage = second.stage(0)
    apply(second, stage)
    taken_up = optimizer(second, stage)
    taken_up.load_state_dict(held.state_dict())
    rest, _ = trained(second, normals, epochs=range(2, 4), held=taken_up)
    assert begun + rest == expected
    assert equal(second.state_dict(), whole.state_dict())


def test_phase_one_leaves_the_bottleneck_as_it_was_and_drift_is_what_training_did_to_it(make, normals):
    system, bare = make(**SECOND), make(**SECOND, built=False)
    assert equal(system.pupil.state_dict(), bare.pupil.state_dict())
    noise, drift = system.noise_of(0)["embedding"], system.drift["0"]
    assert noise.bank.shape == (6, 16) and len(set(drift.images.tolist())) == 6
    maps = system.pyramid.unpacked(torch.from_numpy(normals))
    expected = bare.eval().pupil_of(0).bottleneck(maps).mean(dim=(2, 3))[drift.images]
    assert torch.allclose(noise.bank, expected, atol=1e-6)
    system.finish_task(0, normals)
    assert torch.equal(drift.last, noise.bank), "without training nothing drifts"
    assert all(module.training for module in system.pupil.modules())
    trained(system, normals)
    system.finish_task(0, normals)
    assert not torch.allclose(drift.last, noise.bank, atol=1e-3)


def test_tasks_have_banks_and_weights_of_their_own(make, normals):
    system = make(tasks=2)
    one, two = (system.noise_of(task)["three"] for task in (0, 1))
    assert not torch.equal(one.bank, two.bank)
    scopes = system.stage(1).scopes
    assert scopes["noise.0.three.deviation.distance_weight"] == "frozen"
    assert scopes["noise.1.three.deviation.distance_weight"] == "per-task"
    shared = make(tasks=2, student="shared")
    assert set(shared.noise) == {"0", "1"} and set(shared.pupil) == {"0"}


@GENERATIONS
def test_places_are_named_and_each_gives_a_batch_once(make, normals, parts):
    system, seen = make(**parts).eval(), []
    modules = dict(system.named_modules())
    named = [site for site in sites(system) if not site.name.startswith(("teacher", "student"))]
    for site in named:
        modules[site.module].register_forward_hook(
            lambda _module, _inputs, output, name=site.name: seen.append((name, output.shape[0]))
        )
    system(torch.from_numpy(normals), task=0)
    assert sorted(seen) == sorted((site.name, 12) for site in named)
    places = {name for name, _ in seen if name.startswith("noise.0.")}
    levels = ("embedding",) if parts else ("one", "two", "three")
    expected = {f"noise.0.{level}.{place}" for level in levels
                for place in ("influence", "distance", "std", "start")}  # fmt: skip
    assert places == expected


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        ({"enable_noise": False}, r"noise_enabled' = True .*enable_noise is False, and one switch without"),
        ({"noise_enabled": False}, r"noise_enabled' = False .*enable_noise is True.*set both to true, or"),
        ({"noise_warmup_epochs": 4}, "begin after the last of 4 epochs; give less, or set both switches"),
        ({"noise_layers": []}, "give some of the levels 0 to 2, each once, or set both switches to false"),
        ({"noise_layers": [0, 3]}, "give some of the levels 0 to 2, each once"),
        ({"noise_layers": [1, 1]}, "give some of the levels 0 to 2, each once"),
        ({"noise_std_range": [0.3, 0.3]}, "give the lower end first, and a higher one"),
        ({"noise_std_range": [-0.1, 0.3]}, "greater than or equal to 0"),
        ({"noise_std_range": [0.0, float("inf")]}, "finite number"),
        ({"n_neighbors": 0}, "n_neighbors' = 0 .*greater than or equal to 1"),
        ({"coreset_sampling_ratio": 0}, "coreset_sampling_ratio' = 0 .*greater than 0"),
        ({"noise_sigma": 1}, "Did you mean 'noise_"),
        ({"n_neighbors": 20}, r"20 neighbours are asked of a bank of 19 patches; ask for 1 to 19"),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
def test_bad_words_are_one_sentence(make, parts, sentence):
    with pytest.raises(MechlabError, match=sentence) as refused:
        make(**parts)
    assert "\n" not in str(refused.value)
