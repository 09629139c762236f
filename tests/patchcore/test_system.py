"""PatchCore as a system: distances to a bank, planted defects, tasks apart, re-weighting, checkpoints."""

import numpy as np
import pytest
import torch

from mechlab.errors import MechlabError
from mechlab.runs.settings import unused
from mechlab.systems import catalog, load, score_unit
from mechlab.train.scoring import Scores, score
from mechlab.train.stage import Trainable, unit_of
from reproductions.patchcore.catalog import CONFIG, NEEDS, PARTS, PRESETS, SYSTEM
from reproductions.patchcore.config import PatchCoreConfig
from reproductions.patchcore.losses import loss_by_name
from reproductions.patchcore.sites import sites
from reproductions.patchcore.system import PatchCore

GRID, DIM = (4, 5), 6


@pytest.fixture
def normals(rng):
    return rng.standard_normal((8, *GRID, DIM)).astype(np.float32)


def made(normals, *, tasks=1, **parts):
    system = PatchCore.create({"ratio": 0.2} | parts, dim=DIM, grid=GRID, seed=3)
    for task in range(tasks):
        system.add_task(task)
        system.prepare(task, normals + 10 * task)
    return system


def test_it_is_found_by_name_and_every_target_exists():
    assert catalog("patchcore").SYSTEM is SYSTEM
    assert load(SYSTEM.target) is PatchCore and load(CONFIG) is PatchCoreConfig
    assert all(callable(load(part.target)) and part.system == "patchcore" for part in PARTS)
    assert isinstance(PatchCore.create({}, dim=DIM, grid=GRID, seed=0), Trainable)


def test_its_scores_are_distances_and_those_of_other_systems_nats():
    assert unit_of(PatchCore.create({}, dim=DIM, grid=GRID, seed=0)) == "feature distance"
    assert score_unit("patchcore") == "feature distance"
    assert (unit_of(torch.nn.Identity()), score_unit("moleflow"), score_unit("theirs")) == (
        "nat",
        "nats",
        "nats",
    )


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.name)
def test_presets_are_valid_and_none_of_their_keys_is_idle(preset):
    config = PatchCoreConfig(**preset.parts)
    assert not unused(preset.parts, parts=config.model_dump(), needs=NEEDS)
    PatchCore.create(dict(preset.parts), dim=preset.inputs["dim"], grid=GRID, seed=0)


@pytest.mark.parametrize("neighbours", [1, 3])
def test_a_score_is_the_mean_distance_to_the_nearest_kept_patches(normals, neighbours):
    system = made(normals, neighbours=neighbours)
    batch = torch.from_numpy(normals[:3] + 0.5)
    bank = system.bank["0"].patches
    pairs = torch.cdist(batch.reshape(-1, DIM), bank).sort(dim=1).values[:, :neighbours].mean(dim=1)
    assert torch.allclose(system.patch_scores(batch, task=0).flatten(), pairs, atol=1e-5)


def test_what_is_kept_scores_nothing_and_a_planted_defect_scores_highest(normals):
    system = made(normals, ratio=1.0)
    batch = torch.from_numpy(normals[:2].copy())
    assert system.patch_scores(batch, task=0).abs().max() == 0
    batch[1, 2, 3] += 4.0
    scores = system.patch_scores(batch, task=0)
    assert scores.argmax() == 1 * 20 + 2 * 5 + 3
    assert scores.max() > 1 and (scores > 0).sum() == 1


def test_a_later_task_changes_no_bank_and_routing_tells_them_apart(normals):
    system = made(normals)
    batch = torch.from_numpy(normals[:3])
    before = system.patch_scores(batch, task=0)
    system.add_task(1)
    system.prepare(1, normals + 10)
    assert torch.equal(system.patch_scores(batch, task=0), before)
    both = torch.cat([batch, batch + 10])
    assert system.task_distances(both, router="euclidean").argmin(dim=1).tolist() == [0, 0, 0, 1, 1, 1]


def test_the_seed_and_the_task_decide_what_is_kept(normals):
    one, again = made(normals).bank["0"].patches, made(normals).bank["0"].patches
    assert torch.equal(one, again)
    other = PatchCore.create({"ratio": 0.2}, dim=DIM, grid=GRID, seed=4)
    other.add_task(0)
    other.prepare(0, normals)
    assert not torch.equal(one[0], other.bank["0"].patches[0])
    system = made(np.zeros_like(normals) + normals, tasks=2)
    assert not torch.allclose(system.bank["0"].patches + 10, system.bank["1"].patches)


@pytest.mark.parametrize(
    "parts",
    [
        {"projection": "gaussian", "projection_dim": 3},
        {"projection": "sparse", "projection_dim": 2},
        {"precision": "float64"},
        {"max_patches": 60},
    ],
    ids=["gaussian", "sparse", "float64", "sample"],
)
def test_whatever_chooses_it_a_bank_holds_patches_as_they_are(normals, parts):
    bank = made(normals, **parts).bank["0"].patches
    every = torch.from_numpy(normals.reshape(-1, DIM))
    assert bank.dtype == torch.float32
    assert (bank[:, None] == every[None]).all(dim=2).any(dim=1).all()
    assert len(bank) == int(0.2 * (60 if "max_patches" in parts else len(every)))


def test_reweighting_is_the_published_formula_on_the_highest_patch(normals):
    plain, weighted = made(normals), made(normals, reweight=4)
    batch = torch.from_numpy(normals[:3].copy())
    batch[0, 1, 1] += 3.0
    scores, bank = plain.patch_scores(batch, task=0), plain.bank["0"].patches
    for image in range(3):
        patch = batch[image].reshape(-1, DIM)[scores[image].argmax()]
        star = (bank - patch).norm(dim=1).argmin()
        around = (bank - bank[star]).norm(dim=1).argsort()[:4]
        away = torch.exp((bank[around] - patch).norm(dim=1))
        weight = 1 - torch.exp((bank[star] - patch).norm()) / away.sum()
        found = weighted.image_weights(batch, scores, task=0)[image]
        assert torch.allclose(found, weight, rtol=1e-4)
        assert 0 < weight < 1
    assert torch.equal(weighted.patch_scores(batch, task=0), scores)  # maps are not weighed
    assert plain.image_weights(batch, scores, task=0) is None


def test_a_weight_reaches_image_scores_alone(normals, tmp_path):
    system, features = made(normals, tasks=2, reweight=4), np.concatenate([normals[:3], normals[:2] + 10])
    found = score(system, features, task=0, tasks=2, router="euclidean", device=torch.device("cpu"))
    assert found.routes.tolist() == [0, 0, 0, 1, 1]
    for maps, images, weights in ((found.given, found.given_images, found.given_weights),
                                  (found.routed, found.routed_images, found.routed_weights)):  # fmt: skip
        assert np.array_equal(images, maps * weights[:, None, None])
    batch = torch.from_numpy(features)
    for task, chosen in ((0, slice(0, 3)), (1, slice(3, 5))):
        own = system.image_weights(batch[chosen], system.patch_scores(batch[chosen], task=task), task=task)
        assert np.allclose(found.routed_weights[chosen], own)
    found.save(tmp_path / "scores.npz")
    again = Scores.load(tmp_path / "scores.npz")
    assert np.array_equal(again.routed_images, found.routed_images)


def test_without_weights_image_scores_read_the_maps_and_files_hold_none(normals, tmp_path):
    found = score(made(normals), normals, task=0, tasks=1, router="oracle", device=torch.device("cpu"))
    assert found.given_images is found.given and found.routed_weights is None
    found.save(tmp_path / "scores.npz")
    with np.load(tmp_path / "scores.npz") as arrays:
        assert set(arrays) == {"given", "routed", "distances", "routes"}
    assert Scores.load(tmp_path / "scores.npz").given_weights is None


def test_a_random_coreset_is_a_seeded_subset_of_as_many(normals):
    every = torch.from_numpy(normals.reshape(-1, DIM))
    one, again, greedy = (made(normals, **words).bank["0"].patches for words in
                          ({"coreset": "random"}, {"coreset": "random"}, {}))  # fmt: skip
    assert torch.equal(one, again) and one.shape == greedy.shape and not torch.equal(one, greedy)
    assert (one[:, None] == every[None]).all(dim=2).any(dim=1).all() and len(one.unique(dim=0)) == len(one)
    radii = [float(torch.cdist(every, bank).min(dim=1).values.max()) for bank in (greedy, one)]
    assert radii[0] < radii[1]


def test_a_checkpoint_restores_a_bank_of_any_size(normals):
    system = made(normals, tasks=2)
    fresh = PatchCore.create({"ratio": 0.2}, dim=DIM, grid=GRID, seed=3)
    fresh.add_task(0)
    fresh.add_task(1)
    fresh.load_state_dict(system.state_dict())
    batch = torch.from_numpy(normals)
    for task in (0, 1):
        assert torch.equal(fresh.patch_scores(batch, task=task), system.patch_scores(batch, task=task))
    assert not any(parameter.requires_grad for parameter in fresh.parameters())


def test_nothing_trains_and_epochs_are_refused(normals):
    stage = made(normals).stage(0)
    assert stage.epochs == 0 and set(stage.scopes.values()) == {"frozen"}
    for key in ("epochs", "batch_size"):
        with pytest.raises(MechlabError, match=f"'{key}' = 3 is not allowed.*trains nothing; leave it out"):
            PatchCore.create({key: 3}, dim=DIM, grid=GRID, seed=0)


def test_places_are_named_and_hold_what_they_say(normals):
    system = made(normals, tasks=2)
    assert [site.name for site in sites(system)] == ["features", "bank.0.distance", "bank.1.distance"]
    modules, seen = dict(system.named_modules()), {}
    for site in sites(system):
        modules[site.module].register_forward_hook(
            lambda _module, _inputs, output, name=site.name: seen.update({name: output})
        )
    batch = torch.from_numpy(normals)
    scores = system(batch, task=1)
    assert set(seen) == {"features", "bank.1.distance"}
    assert torch.equal(seen["bank.1.distance"], scores) and torch.equal(seen["features"], batch)


def test_bad_words_are_refused(normals):
    system = made(normals)
    batch = torch.from_numpy(normals)
    with pytest.raises(MechlabError, match="no router of patchcore named 'mahalanobis'"):
        system.task_distances(batch, router="mahalanobis")
    with pytest.raises(ValueError, match="no distances"):
        system.task_distances(batch, router="oracle")
    with pytest.raises(ValueError, match="no task 2"):
        system.patch_scores(batch, task=2)
    with pytest.raises(MechlabError, match="32 patches"):
        made(normals, neighbours=33)
    with pytest.raises(MechlabError, match="give fewer than 6"):
        made(normals, projection="gaussian")
    with pytest.raises(MechlabError, match="'tail:1:1'; use mean"):
        loss_by_name("tail:1:1")
    assert loss_by_name("mean")(torch.tensor([[[1.0, 3.0]]])) == 2
