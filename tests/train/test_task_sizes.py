"""A task of its own size has a grid of its own; whatever compares tasks knows one size."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from mechlab.errors import MechlabError
from mechlab.metrics.maps import resampled
from mechlab.runs.arms import keys_of
from mechlab.runs.folder import RunFolder
from mechlab.runs.overrides import own_sizes, refuse_one_size
from mechlab.runs.router import Router
from mechlab.runs.settings import EvaluationSettings
from mechlab.train.asked_evaluation import evaluate_as_asked
from mechlab.train.drawn import DrawnBatches
from mechlab.train.elsewhere import Elsewhere
from mechlab.train.ensemble import evaluate_together
from mechlab.train.ensemble_images import score_together
from mechlab.train.images import score_folder
from mechlab.train.routing import Routing
from mechlab.train.scoring import Scores, score, score_apart
from mechlab.train.session import plan_of, reevaluate, resolve, train
from mechlab.train.sights import Sights
from mechlab.train.view import Drawing
from reproductions.moleflow.task_names import task_of

TASKS = (("bolt",), ("nut", "pin"))
FINE = {"nut": {"image_size": 96}}  # pixels; the run sees 64


@pytest.fixture(scope="module")
def sized(small_request, tmp_path_factory):
    request = replace(small_request, overrides=FINE, out=tmp_path_factory.mktemp("sized"))
    return RunFolder.open(Path(train(request)["path"]))


def weights(run):
    return load_file(run.checkpoint(1) / "weights.safetensors")


def scores(run, name):
    return Scores.load(run.path / "evals" / str(run.summary()["evaluation"]) / f"{name}.npz")


def test_a_task_without_a_size_of_its_own_is_that_of_the_plain_run_to_the_bit(small_run, sized):
    plain, changed = weights(small_run), weights(sized)
    alike = [name for name in plain if task_of(name) in (None, "0")]
    assert alike and all(torch.equal(plain[name], changed[name]) for name in alike)
    one, two = scores(small_run, "bolt"), scores(sized, "bolt")
    np.testing.assert_array_equal(one.given, two.given)
    assert not all(torch.equal(plain[name], changed[name]) for name in plain if name in changed)


@pytest.mark.parametrize("name", ["bolt", "nut"])
def test_routing_is_that_of_the_run_without_it(name, small_run, sized):
    one, two = scores(small_run, name), scores(sized, name)
    np.testing.assert_array_equal(one.distances, two.distances)
    np.testing.assert_array_equal(one.routes, two.routes)
    plain, changed = weights(small_run), weights(sized)
    stored = [key for key in plain if key.startswith("router.")]
    assert stored and all(torch.equal(plain[key], changed[key]) for key in stored)


def test_the_class_has_maps_and_masks_of_its_own_grid(sized):
    plan = plan_of(sized)
    rows, columns = plan.inputs.grids[1]
    assert plan.inputs.grid == (8, 8) and (rows, columns) == (12, 12)
    assert scores(sized, "bolt").given.shape[1:] == (8, 8)
    assert scores(sized, "nut").given.shape[1:] == scores(sized, "nut").routed.shape[1:] == (12, 12)
    masks = {name: plan.inputs.features(name, "test").masks.shape[1:] for name in ("bolt", "nut")}
    assert masks == {"bolt": (64, 64), "nut": (96, 96)}


class Told(nn.Module):
    """Scores a patch by its first channel and 100 a task; finds every image to be of task 1."""

    def patch_scores(self, batch, *, task):
        return batch[..., 0] + 100.0 * task

    def task_distances(self, batch, *, router):
        assert batch.shape[1:3] == (4, 4), "tasks are compared at the run's size"
        return torch.tensor([[1.0, 0.0]]).expand(len(batch), 2)

    add_task = prepare = stage = loss = finish_task = patch_scores  # it is never trained


@pytest.fixture
def two_sizes(rng):
    """The same three images on a grid of 4 x 4, and of 8 x 8 for task 1."""
    fine = rng.standard_normal((3, 8, 8, 2)).astype(np.float32)
    coarse = fine.reshape(3, 4, 2, 4, 2, 2).mean(axis=(2, 4))
    return (
        coarse,
        fine,
        Sights(count=3, compared=lambda: coarse, of_task=[coarse, fine].__getitem__, grid=(4, 4)),
    )


def test_an_image_that_is_sent_elsewhere_is_scored_there_and_its_map_comes_back(two_sizes):
    coarse, fine, sights = two_sizes
    found = score(Told(), sights, task=0, tasks=2, router="mahalanobis", device=torch.device("cpu"))
    np.testing.assert_array_equal(found.given, coarse[..., 0])
    assert found.routes.tolist() == [1, 1, 1]
    # Twice as fine a grid comes back as the mean of four patches.
    np.testing.assert_allclose(found.routed, coarse[..., 0] + 100, rtol=1e-6)
    np.testing.assert_array_equal(found.routed, resampled(fine[..., 0] + np.float32(100), (4, 4)))


def test_an_image_of_no_known_task_keeps_the_grid_of_its_expert(two_sizes):
    coarse, fine, sights = two_sizes
    how = {"tasks": 2, "router": Routing(Router.read("mahalanobis")), "device": torch.device("cpu")}
    found = score_apart(Told(), sights, task=None, **how)
    np.testing.assert_array_equal(np.stack(found.routed), fine[..., 0] + np.float32(100))
    given = score_apart(Told(), sights, task=0, **how)
    np.testing.assert_array_equal(np.stack(given.routed), coarse[..., 0])
    assert given.distances[:, 0].tolist() == [0.0] * 3


def test_the_run_keeps_its_own_size_beside_those_of_tasks(small_request, tmp_path):
    request = replace(small_request, tasks="bolt", overrides={"bolt": {"image_size": 96}}, out=tmp_path)
    plan, other = resolve(request), resolve(replace(request, image_size=128))
    assert plan.spec.parts["image_size"] == 64 and plan.spec.features[0].image_size == 96
    assert plan.spec.hash != other.spec.hash  # its router sees another size
    assert "image_size" not in resolve(small_request).spec.parts
    plan.run.create(plan.spec, parts=plan.parts, request=request, provenance={})
    again = plan_of(RunFolder.open(plan.run.path))
    assert again.spec == plan.spec
    assert (again.inputs.image_size, again.inputs.size(0), again.inputs.compared.size(0)) == (64, 96, 64)


def test_a_comparison_names_one_key(sized, small_run):
    one, two = keys_of(sized, {}), keys_of(small_run, {})
    assert {key for key in one | two if one.get(key) != two.get(key)} == {"features.image_size"}
    assert one["features.image_size"] == {"": 64, "bolt": 64, "nut": 96}


def test_a_run_without_its_last_task_trains_it_to_the_same_bits(sized, small_request, tmp_path):
    shutil.copytree(sized.path, tmp_path / sized.name)
    (tmp_path / sized.name / "summary.json").unlink()
    shutil.rmtree(tmp_path / sized.name / "checkpoints" / "after_task_1")
    again = RunFolder.open(Path(train(replace(small_request, overrides=FINE, out=tmp_path))["path"]))
    assert again.name == sized.name
    one, two = weights(sized), weights(again)
    assert one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)


def test_own_images_are_scored_on_the_grid_of_the_task_that_they_are_sent_to(sized, pictures, tmp_path):
    documents = reevaluate(sized, settings={})["scores"]
    for task, name in enumerate(("bolt", "nut")):
        rows = score_folder(sized, pictures / name / "test", tmp_path / name, task=None)
        routes = np.array([row["task"] for row in rows])
        assert routes.tolist() == scores(sized, name).routes.tolist()
        found, kept = np.array([row["score"] for row in rows]), np.array(documents[name]["scores"])
        assert (routes == task).any()
        np.testing.assert_allclose(found[routes == task], kept[routes == task], rtol=1e-5)
        for row in rows:
            file = tmp_path / name / "maps" / f"{row['image']}.npy"
            assert np.load(file).shape == ((64, 64), (96, 96))[row["task"]]


def test_a_folder_of_several_grids_is_one_table_in_the_order_of_its_files(sized, pictures, tmp_path):
    for name in ("bolt", "nut"):
        for number in (0, 1):
            source = pictures / name / "test" / "good" / f"{number:03d}.png"
            shutil.copy(source, tmp_path / f"{number}-{name}.png")
    rows = score_folder(sized, tmp_path, tmp_path / "all", task=None)
    assert [row["image"] for row in rows] == ["0-bolt.png", "0-nut.png", "1-bolt.png", "1-nut.png"]
    assert [row["task"] for row in rows] == [0, 1, 0, 1]
    given = score_folder(sized, tmp_path, tmp_path / "given", task=1)
    assert {row["task"] for row in given} == {1}
    np.testing.assert_allclose(given[1]["score"], rows[1]["score"], rtol=1e-5)
    assert np.load(tmp_path / "given" / "maps" / "0-bolt.png.npy").shape == (96, 96)


def test_images_from_elsewhere_keep_the_grid_of_the_run(sized, pictures):
    found = evaluate_as_asked(
        [sized], settings={}, elsewhere=Elsewhere.of(data="folder", root=pictures, classes="bolt")
    )
    assert found["scores"]["bolt"]["scores"] == reevaluate(sized, settings={})["scores"]["bolt"]["scores"]
    both = evaluate_as_asked(
        [sized], settings={}, elsewhere=Elsewhere.of(data="folder", root=pictures, classes="bolt,nut")
    )
    assert both["routes"]["nut"] == {"bolt": 0.0, "nut": 1.0}
    file = next(path for path in (sized.path / "elsewhere").glob("*/nut.npz"))
    assert Scores.load(file).routed.shape[1:] == (8, 8)


@pytest.mark.slow  # both members score their normals
def test_an_ensemble_evaluates_members_of_several_grids(sized, small_run, pictures, tmp_path):
    found = evaluate_together([small_run, sized], settings={})
    assert 0 <= found["mean"]["pixel_auroc"] <= 1
    with pytest.raises(MechlabError, match=r"task 1 of run .* sees 96 pixels and the run 64"):
        score_together([small_run, sized], pictures / "bolt" / "test", tmp_path / "none", task=None)


def test_what_is_drawn_anew_is_drawn_at_the_size_of_the_task(sized):
    inputs = plan_of(sized).inputs
    drawn = DrawnBatches(inputs, inputs.fitting(1), task=1, seed=0, drawing=Drawing(rotation=30.0))
    values, _ = drawn.batch(np.arange(2), epoch=0, device=torch.device("cpu"))
    assert values.shape[1:3] == (12, 12) and drawn.images[0].shape[:2] == (96, 96)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"nit": {"image_size": 96}}, r"no class of these tasks named 'nit'\. Did you mean 'nut'"),
        ({"nut": {"image_size": 16}}, "key 'image_size' = 16 is not allowed"),
        ({"nut": {"image_size": 64}}, "--task nut:image_size=64 is what the whole run has; leave it out"),
        (
            {"nut": {"image_size": 96}, "pin": {"image_size": 128}},
            "is given 'image_size' twice, by two of its",
        ),
    ],
    ids=str,
)
def test_a_size_that_cannot_be_is_one_sentence(given, sentence):
    with pytest.raises(MechlabError, match=sentence):
        own_sizes(given, system="moleflow", tasks=TASKS, image_size=64)


def test_a_system_whose_tasks_see_one_size_refuses_another(monkeypatch):
    from reproductions.patchcore import catalog

    assert own_sizes(FINE, system="patchcore", tasks=TASKS, image_size=64) == {1: 96}
    monkeypatch.delattr(catalog, "SIZES_BY_TASK")
    with pytest.raises(
        MechlabError, match=r"the tasks of patchcore see their images at one; set --image-size"
    ):
        own_sizes(FINE, system="patchcore", tasks=TASKS, image_size=64)


@pytest.mark.parametrize("words", ["likelihood", "mahalanobis+0.5*entropy"])
def test_a_router_that_asks_every_expert_is_refused(words, small_request, sized):
    with pytest.raises(MechlabError, match="through every task's expert, and that of task 1 sees 96"):
        resolve(replace(small_request, overrides=FINE, settings={**small_request.settings, "router": words}))
    with pytest.raises(MechlabError, match=r"give a router that reads features, e\.g\. --router mahalanobis"):
        reevaluate(sized, settings={"router": words})
    refuse_one_size(EvaluationSettings(router=words), {})


def test_image_scores_of_maps_know_one_size(sized):
    with pytest.raises(MechlabError, match=r"image_from=map .* sees 96 pixels; set image_from=patches"):
        reevaluate(sized, settings={"image_from": "map"})
    refuse_one_size(EvaluationSettings(image_from="map"), {})


@pytest.mark.slow  # each is evaluated twice
@pytest.mark.parametrize("words", ["euclidean", "oracle", "prototypes:2", "gate", "mahalanobis/reject:0.1"])
def test_a_router_that_reads_features_is_that_of_the_plain_run(words, small_run, sized):
    one, two = (reevaluate(run, settings={"router": words}) for run in (small_run, sized))
    for name in ("bolt", "nut"):
        assert one["metrics"][name]["routing_accuracy"] == two["metrics"][name]["routing_accuracy"]
        rejected = [found["metrics"][name].get("rejected_normal") for found in (one, two)]
        assert rejected[0] == rejected[1]
    assert one["hashes"]["bolt"] == two["hashes"]["bolt"]
