"""A training on a CUDA device: numbers near those of the CPU, repeated to the bit, in each precision."""

import json
import shutil
from functools import partial
from pathlib import Path

import pytest
import torch

from mechlab.train.scopes import apply
from reproductions.moleflow.presets import PRESETS
from reproductions.moleflow.system import MoLEFlow

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
GRID, DIM, COUNT = (6, 5), 256, 4
SMALL = {"blocks": 2, "epochs": 1}
AWAY = {"float32": 1e-4, "tf32": 1e-2, "bf16": 3e-2}  # largest distance from the CPU's float32, of the norm
PRECISIONS = tuple(AWAY)


def system_of(parts, *, device):
    """Return a system of two tasks, off the identity."""
    system = MoLEFlow.create(SMALL | parts, dim=DIM, grid=GRID, seed=0)
    for task in range(2):
        system.add_task(task)
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in system.named_parameters():
            if "freia.w_perm" not in name and "freia.global" not in name:
                parameter.add_(0.02 * torch.randn(parameter.shape, generator=draw))
    return system.to(device)


def features():
    return torch.randn(COUNT, *GRID, DIM, generator=torch.Generator().manual_seed(2))


def step(parts, *, device):
    """Return loss, latent and gradients of a step of task 1, on the CPU."""
    torch.use_deterministic_algorithms(True)
    system, x = system_of(parts, device=device), features().to(device)
    apply(system, system.stage(1))
    system.eval()  # dropout draws otherwise on each device
    loss = system.loss(x, task=1).total
    loss.backward()
    found = [
        parameter.grad.flatten().cpu() for parameter in system.parameters() if parameter.grad is not None
    ]
    with torch.no_grad():
        return float(loss.detach()), system(x, task=1).latent.cpu(), torch.cat(found)


def away(one, other):
    return float((one - other).norm() / one.norm())


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.name)
def test_a_step_of_every_preset_is_that_of_the_cpu(preset):
    parts = {key: value for key, value in preset.parts.items() if key not in SMALL} | {"tail_weight": 0.0}
    (loss, latent, gradients), (one, two, three) = (step(parts, device=device) for device in ("cpu", "cuda"))
    assert one == pytest.approx(loss, rel=1e-5)
    assert away(latent, two) < 1e-4 and away(gradients, three) < 1e-3


@pytest.mark.parametrize("products", ["apart", "fused"])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_each_precision_is_as_near_as_it_is_fine(precision, products):
    parts = {"mixer": "none", "tail_weight": 0.0, "products": products}
    loss, latent, gradients = step(parts, device="cpu")
    one, two, three = step(parts | {"precision": precision}, device="cuda")
    assert one == pytest.approx(loss, rel=AWAY[precision])
    for full, found in ((latent, two), (gradients, three)):
        assert away(full, found) < AWAY[precision]
        assert precision == "float32" or away(full, found) > 1e-5, "it does move them"


@pytest.mark.parametrize("products", ["apart", "fused"])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_log_dets_are_exact_and_the_map_is_undone_in_each_precision(precision, products):
    parts = {"mixer": "none", "adapter": "none", "dia_blocks": 2, "blocks": 2, "lora_rank": 2}
    system = MoLEFlow.create(
        parts | {"precision": precision, "products": products}, dim=8, grid=(3, 2), seed=0
    )
    system.add_task(0)
    with torch.no_grad():
        for parameter in system.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    system.cuda().eval()
    first = z = torch.randn(1, 3, 2, 8, generator=torch.Generator().manual_seed(2)).cuda()
    place = system.grids.condition(1, task=0)
    for block in [*(partial(each, place=place, task=0) for each in system.blocks(0)), *system.dia["0"]]:
        jacobian = torch.autograd.functional.jacobian(
            lambda x, block=block: block(x.view_as(first))[0].flatten(), z.flatten()
        )
        with torch.no_grad():
            z, log_det = block(z)
        expected = float(torch.linalg.slogdet(jacobian.double()).logabsdet)
        assert float(log_det.sum()) == pytest.approx(expected, abs=5e-5)
    with torch.no_grad():
        torch.testing.assert_close(system.inverse(z, task=0), first, rtol=1e-4, atol=1e-4)


WORDS = ["train", "moleflow", "--preset", "main", "--tasks", "gear,weave", "--dim", 32, "--image-size", 64]
WORDS += ["--batch-size", 8, "--set", "blocks=2", "--set", "lora_rank=4", "--epochs", 2, "--threads", 1]


@pytest.mark.parametrize("products", ["apart", "fused"])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_training_is_repeated_and_resumed_to_the_bit(precision, products, mechlab):
    words = [*WORDS, "--device", "cuda", "--set", f"precision={precision}", "--set", f"products={products}"]
    first = mechlab(*words)
    assert first["scores_identical"] is True
    again = mechlab(*words, "--out", "again")
    assert (again["trajectory"], again["metrics"]) == (first["trajectory"], first["metrics"])
    path = Path(again["path"])
    shutil.rmtree(path / "checkpoints" / "after_task_1")
    shutil.rmtree(path / "evals")
    (path / "summary.json").unlink()
    resumed = mechlab(*words, "--out", "again")
    assert (resumed["trajectory"], resumed["metrics"]) == (first["trajectory"], first["metrics"])
    provenance = json.loads((path / "run.json").read_text())["provenance"]
    assert provenance["device"] == torch.cuda.get_device_name()


def test_a_recording_on_cuda_changes_nothing(mechlab):
    watched = {
        "latent": "latent",
        "flow.*.log_det": "log_det",
        "flow.0.subnet.s1.base": "activation",
        "flow.0.subnet.s2.base": "row_contribution",
        "flow.1.subnet.t1.base": "sample_gradient_norm",
        "flow.1.subnet.t2.base": "input_gradient",
        "flow.1.subnet.s1.*.weight": "gradient",
    }
    sites = [word for site, what in watched.items() for word in ("--site", site, "--quantity", what)]
    plain = mechlab(*WORDS, "--device", "cuda")
    seen = mechlab(*WORDS, "--device", "cuda", "--out", "watched", *sites, "--reduction", "moments")
    assert seen["trajectory"] == plain["trajectory"] and seen["recording"]["dropped"] == 0


def test_what_was_trained_on_cuda_is_scored_on_the_cpu(mechlab):
    trained = mechlab(*WORDS, "--device", "cuda", "--set", "precision=tf32")
    there = mechlab("evaluate", trained["run"], "--router", "oracle", "--device", "cuda")
    here = mechlab("evaluate", trained["run"], "--router", "euclidean", "--device", "cpu")
    for name, metrics in there["metrics"].items():
        assert here["metrics"][name]["pixel_auroc"] == pytest.approx(metrics["pixel_auroc"], abs=0.02)
