"""Probes on recordings of models that mechlab did not train, through the command line."""

import json

import FrEIA.framework as graph
import FrEIA.modules as blocks
import numpy as np
import pytest
import torch
from torch import nn

import mechlab as library

CHANNELS, SIZE, IMAGES = 4, 8, 24


def subnet(channels_in, channels_out):
    return nn.Conv2d(channels_in, channels_out, 3, padding=1)


def flow():
    """A FrEIA flow over feature maps of (channel, height, width)."""
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 - FrEIA draws its permutations from the global generator
    nodes = [graph.InputNode(CHANNELS, SIZE, SIZE, name="input")]
    for number in range(2):
        settings = {"subnet_constructor": subnet}
        nodes.append(graph.Node(nodes[-1], blocks.AllInOneBlock, settings, name=f"block{number}"))
    return graph.GraphINN([*nodes, graph.OutputNode(nodes[-1], name="output")]).double().eval()


def record_flow(path, latents, *, labels=None, with_items=True):
    """Record the latents that a flow gives of the inputs whose latents these are."""
    model, count = flow(), len(latents)
    names = [f"image{number}.png" for number in range(count)]
    items = list(zip(names, labels or [0] * count, strict=True)) if with_items else None
    plan = [
        {"site": "", "quantity": "latent", "dtype": "float64"},
        {"site": "*", "quantity": "log_det"},
        {"site": "block0", "quantity": "activation"},
    ]
    with torch.no_grad():
        inputs, _ = model(torch.from_numpy(latents), rev=True)
        with library.record(model, plan, path, items=items) as recorder:
            for names_part, part in zip(np.array_split(names, 3), inputs.tensor_split(3), strict=True):
                if with_items:
                    recorder.batch(names_part.tolist())
                model(part)
    return path


def draws(kind, *, images=IMAGES):
    rng = np.random.default_rng(1)
    shape = (images, CHANNELS, SIZE, SIZE)
    if kind == "normal":
        return rng.standard_normal(shape)
    return rng.standard_t(3, size=shape)


@pytest.mark.parametrize(("kind", "verdict"), [("normal", "supported"), ("heavy tails", "refuted")])
def test_latents_of_a_foreign_flow_are_judged(mechlab, tmp_path, kind, verdict):
    path = record_flow(tmp_path / "foreign", draws(kind))
    status, out, err = mechlab("probe", "gaussianity", path, "--site", "latent=latent/*", "--json")
    assert status == 0, err
    result = json.loads(out)
    assert result["verdict"] == verdict
    assert (result["n"], result["replication"]) == (IMAGES, "image")
    assert [row["task"] for row in result["tables"]["tasks"]] == ["all"]


def test_defective_images_of_a_foreign_model_are_left_out(mechlab, tmp_path):
    latents = draws("normal", images=IMAGES + 6)
    latents[IMAGES:] += 3
    path = record_flow(tmp_path / "foreign", latents, labels=[0] * IMAGES + [1] * 6)
    status, out, err = mechlab("probe", "gaussianity", path, "--site", "latent=latent/model", "--json")
    assert status == 0, err
    result = json.loads(out)
    assert (result["verdict"], result["n"]) == ("supported", IMAGES)


@pytest.mark.parametrize(
    ("words", "with_items", "message"),
    [
        pytest.param(
            ("gaussianity", "--site", "latent=*/*"),
            True,
            "'*/*' matches 4 keys of recording 'foreign' (activation/block0, latent/model,",
            id="several keys",
        ),
        pytest.param(
            ("gaussianity", "--site", "latent=latent/z*"),
            True,
            "no key of recording 'foreign' matches 'latent/z*'; it holds activation/block0, latent/model",
            id="no key",
        ),
        pytest.param(
            ("gaussianity", "--site", "latent=latent/*"),
            False,
            "names no images; record it from a checkpoint, or a model of your own with mechlab.record(...",
            id="no items",
        ),
        pytest.param(
            ("cross-task-cka", "--site", "latent=latent/model"),
            True,
            "this probe needs the adapters of two tasks; give one that mechlab made of its own run",
            id="no adapters",
        ),
        pytest.param(
            ("tail-training",),
            True,
            "this probe needs the loss it was trained with; give one",
            id="no training",
        ),
    ],
)
def test_what_a_foreign_recording_lacks_is_one_sentence(mechlab, tmp_path, words, with_items, message):
    path = record_flow(tmp_path / "foreign", draws("normal"), with_items=with_items)
    status, _, err = mechlab("probe", words[0], path, *words[1:])
    assert status == 1
    assert message in err
    assert "Traceback" not in err and err.count("Error:") == 1


class Scored(nn.Module):
    """A linear map of patches and the score of each: half its squared norm."""

    def __init__(self, channels=5):
        super().__init__()
        self.map, self.score = nn.Linear(channels, 4), nn.Identity()

    def forward(self, x):
        return self.score(self.map(x).square().sum(dim=-1) / 2)


def tail_loss(scores, *, weight, ratio):
    flat = scores.flatten(1)
    count = max(1, int(flat.shape[1] * ratio))
    return (1 - weight) * flat.mean(dim=1) + weight * flat.topk(count, dim=1).values.mean(dim=1)


def test_the_gradient_of_a_foreign_model_is_judged_under_named_losses(mechlab, tmp_path):
    torch.manual_seed(0)
    model, images = Scored().double().eval(), torch.randn(16, 8, 8, 5, dtype=torch.float64)
    plan = [
        {"site": "type:Linear", "quantity": "row_contribution", "reduction": "total"},
        {"site": "score", "quantity": "activation", "every": 1000},  # once, in the first call
    ]
    names = [f"image{number}" for number in range(16)]
    with library.record(model, plan, tmp_path / "foreign", items=names) as recorder:
        for weight in (0.0, 0.7):
            name = "mean" if not weight else "tail:0.7:0.1"
            recorder.batch(names, loss=name)
            tail_loss(model(images), weight=weight, ratio=0.1).sum().backward()
    status, out, err = mechlab(
        "probe", "gradient-concentration", tmp_path / "foreign", "--site", "score=activation/score", "--json"
    )
    assert status == 0, err
    result = json.loads(out)
    assert result["n"] == 16
    assert result["effect"] > 0  # the gradient of half a squared norm grows with it: hard patches are steep


def low_rank_training(path, *, rank, seed):
    """Add a change of a rank to a layer's weight in one step, and record it."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(24, 20, bias=False))
    change = torch.randn(20, rank) @ torch.randn(rank, 24)
    plan = [{"site": "0", "quantity": "weight_delta"}, {"site": "0", "quantity": "weight"}]
    with library.record(model, plan, path):
        for _ in range(2):
            model(torch.ones(1, 24))
            model[0].weight.data += change
    return path


@pytest.mark.parametrize(("rank", "verdict"), [(1, "supported"), (20, "refuted")])
def test_the_weight_changes_of_foreign_trainings_are_judged_one_a_recording(mechlab, tmp_path, rank, verdict):
    paths = [low_rank_training(tmp_path / str(seed) / "r", rank=rank, seed=seed) for seed in range(6)]
    status, out, err = mechlab(
        "probe",
        "energy-rank",
        *paths,
        "--site",
        "delta=weight_delta/*",
        "--site",
        "weight=weight/*",
        "--json",
    )
    assert status == 0, err
    result = json.loads(out)
    assert (result["verdict"], result["n"], result["replication"]) == (verdict, 6, "seed")
