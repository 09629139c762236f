"""What holds for every part: two tasks train, score, are saved and loaded, and scopes are kept."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from mechlab.train.scopes import apply, optimizer, parameter_hashes
from mechlab.train.scopes import fingerprint as fingerprint_of
from mechlab.train.stage import Loss, Stage
from mechlab.train.view import View
from reproductions.moleflow.config import MoLEFlowConfig
from reproductions.moleflow.sharing import shared_parts
from reproductions.moleflow.system import MoLEFlow

DIM, GRID = 8, (4, 5)
TINY = {"blocks": 2, "lora_rank": 3, "dia_blocks": 1, "epochs": 1, "context_kernel": 3}
PROJECTED = {"base": "shared", "batch_size": 1}  # images enough for a basis
MARGIN = {"margin_weight": 1.0, "pseudo_anomaly": "jitter"}
# Parts of the inventory that `main` does not use, each as the change that selects it.
ARMS: dict[str, dict] = {
    "M1": {
        "adapter": "instance-mlp",
        "adapter_first_task": False,
        "lora_alpha": 0.5,
        "lora_first_task": False,
    },
    "M3": {"adapter": "film"},
    "M5 corrected": {"subnet": "cpcf", "neighbourhood": "conv"},
    "M5 attention": {"subnet": "cpcf", "neighbourhood": "attention"},
    "M5 fixed": {"subnet": "cpcf", "neighbourhood": "mean"},
    "M5 sketch": {"subnet": "cpcf-sketch", "neighbourhood": "conv"},
    "M36 FrEIA": {"coupling": "freia"},
    "M7": {"mixer": "attention", "attention_hidden": 6},
    "M10 published": {"subnet": "gated-published", "gate_hidden": 5},
    "M10 corrected": {"subnet": "gated", "gate_hidden": 5},
    "M11 regulariser": {"identity_weight": 10.0},
    "M11 no LayerNorm": {"adapter": "whitening-no-ln"},
    "M12": {"mixer": "multi-scale", "adapter": "film"},
    "M49 interaction": {"mixer": "interaction"},
    "M49 multi-scale": {"mixer": "task-multi-scale", "adapter": "film"},
    "M21": {"mixer": "task-adaptive"},
    "M22": {"mixer": "global", "global_regions": 2},
    "M23": {"mixer": "semantic"},
    "M4": {"branch": "sc-lora", "lora_nodes": 3},
    "M30 no LoRA": {"branch": "linear", "lora_rank": 0},
    "M30 separated": {"base": "per-task"},
    "M30 both": {"base": "per-task", "branch": "linear", "lora_rank": 0},
    "M30 spectral": {"spectral_norm": True},
    "M30 all shared": {"base": "shared", "lora_rank": 0, "dia_blocks": 0, "adapter": "none"},
    "M6 center": {"center_weight": 0.05},
    "M8 published": {"focal": "published", "focal_gamma": 1.0},
    "M8 relative": {"focal": "relative", "tail_weight": 0.0},
    "M24 relative": {"position": "relative", "relative_distance": 1},
    "M24 dual": MARGIN | {"scorer": "dual"},
    "M24 local": MARGIN | {"consistency": "local"},
    "M25 bounded": MARGIN | {"scorer": "dual-bounded"},
    "M25 guided": MARGIN | {"scorer": "dual-guided"},
    "M25 multi-scale": MARGIN | {"consistency": "multi-scale"},
    "M26 content": {"position": "content", "content_prototypes": 3},
    "M26 hybrid": {"position": "hybrid", "content_prototypes": 3},
    "M27": {"position": "tape"},
    "M28 without position": {"rotation": 180.0, "position": "none"},
    "M28 turned position": {"rotation": 90.0, "position_turns": True},
    "M29": {"align": "stn", "align_hidden": 6},
    "M33 margin": MARGIN,
    "M16": {"mixer": "depthwise", "mixer_trains": "every-task"},
    "M17": {"context_trains": "every-task"},
    "M17 gated": {"context_trains": "every-task", "subnet": "gated", "gate_hidden": 5},
    "M39": {"slow_blocks": 1},
    "M14 published": PROJECTED | {"projection": "sequential"},
    "M14 corrected": PROJECTED | {"projection": "joint"},
    "M49 hook": PROJECTED | {"projection": "hook"},
    "M32 EWC": {"base": "shared", "ewc_weight": 10.0},
    "M32 distillation": {"base": "shared", "distillation_weight": 1.0},
    "M32 replay": {"base": "shared", "replay_images": 6},
    "M31 full": {"dia_blocks": 0, "dsm": "full"},
    "M31 sliced": {"dia_blocks": 0, "dsm": "sliced"},
    "M31 without NLL": {"dia_blocks": 0, "dsm": "sliced", "dsm_alpha": 0.0},
    "M31 clean": {"dia_blocks": 0, "dsm": "sliced", "dsm_clean_weight": 0.1},
    "M46 sum": {"reduction": "sum"},
    "M46 published": {"reduction": "published", "tail_weight": 0.0},
}
SHARED = {arm for arm, parts in ARMS.items() if shared_parts(MoLEFlowConfig(**parts))}  # earlier ones change


@pytest.fixture
def normals(rng) -> list[np.ndarray]:
    return [
        (rng.normal(size=(8, *GRID, DIM)) @ rng.normal(size=(DIM, DIM)) + shift).astype(np.float32)
        for shift in (3.0, -3.0)
    ]


def loss_of(system: MoLEFlow, stage: Stage, batch: torch.Tensor, *, task: int) -> Loss:
    """The loss of a batch, with a view of it where the stage draws: turned by thirds, a corner damaged."""
    if stage.drawing.is_idle:
        return system.loss(batch, task=task)
    view = View(angles=torch.linspace(-1, 1, len(batch)) * stage.drawing.rotation)
    if stage.drawing.damage != "none":
        mask = torch.zeros(batch.shape[:3], dtype=torch.bool)
        mask[:, :2, :2] = True
        view = replace(view, damaged=batch + mask[..., None] * torch.linspace(-2, 2, DIM), mask=mask)
    return system.loss(batch, task=task, view=view)


def train(system: MoLEFlow, task: int, features: np.ndarray, *, steps: int = 4) -> list[str]:
    """Train a task; check where gradients arrive and return what its fingerprint finds wrong."""
    system.add_task(task)
    system.prepare(task, features)
    stage = system.stage(task)
    apply(system, stage)
    system.train()
    system.zero_grad(set_to_none=True)
    held, before = optimizer(system, stage), parameter_hashes(system)
    reached: set[str] = set()
    for _ in range(steps):
        held.zero_grad(set_to_none=True)
        loss_of(system, stage, torch.from_numpy(features[:4]), task=task).total.backward()
        reached |= {name for name, value in system.named_parameters()
                    if value.grad is not None and bool(value.grad.any())}  # fmt: skip
        held.step()
    system.finish_task(task, features)
    assert reached == {name for name, scope in stage.scopes.items() if scope != "frozen"}
    return list(fingerprint_of(system, stage, task=task, before=before, losses=()).disagreements())


def system_of(arm: str, *, seed: int = 0) -> MoLEFlow:
    return MoLEFlow.create(TINY | ARMS[arm], dim=DIM, grid=GRID, seed=seed)


def scores(system: MoLEFlow, task: int, features: np.ndarray) -> torch.Tensor:
    system.eval()
    with torch.inference_mode():
        return system.patch_scores(torch.from_numpy(features), task=task)


def trained(arm: str, normals: list[np.ndarray]) -> MoLEFlow:
    torch.manual_seed(0)  # as the loop does before a run
    system = system_of(arm)
    for task, features in enumerate(normals):
        assert not train(system, task, features)
    return system


@pytest.mark.parametrize("arm", ARMS)
def test_exactly_what_is_declared_moves_and_earlier_scores_keep_their_bits(arm, normals):
    torch.manual_seed(0)
    system = system_of(arm)
    assert not train(system, 0, normals[0])
    before, values = scores(system, 0, normals[0]), copy.deepcopy(system.state_dict())
    assert before.shape == (8, *GRID)
    assert bool(torch.isfinite(before).all())
    assert not train(system, 1, normals[1])
    assert torch.equal(scores(system, 0, normals[0]), before) == (arm not in SHARED)
    for name, value in values.items():
        if arm not in SHARED:
            assert torch.equal(system.state_dict()[name], value), name


@pytest.mark.parametrize("arm", ARMS)
def test_two_trainings_are_equal_to_the_bit_and_survive_their_file(arm, normals, tmp_path):
    one, two = trained(arm, normals), trained(arm, normals)
    for name, value in one.state_dict().items():
        assert torch.equal(value, two.state_dict()[name]), name
    torch.save(one.state_dict(), tmp_path / "weights.pt")
    loaded = system_of(arm, seed=7)
    for task in range(2):
        loaded.add_task(task)
    loaded.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    for task, features in enumerate(normals):
        assert torch.equal(scores(loaded, task, features), scores(one, task, features))
        same = torch.equal(scores(one, 0, features), scores(one, 1, features))
        assert same == (arm == "M30 all shared")  # which has nothing of a task's own


@pytest.mark.parametrize("arm", ARMS)
def test_every_key_of_an_arm_changes_the_training(arm, normals):
    plain = MoLEFlow.create(TINY, dim=DIM, grid=GRID, seed=0)
    system = system_of(arm)
    for each in (plain, system):
        for task, features in enumerate(normals):
            train(each, task, features)
    assert not torch.equal(scores(plain, 1, normals[1]), scores(system, 1, normals[1]))


def test_a_flow_of_its_own_leaves_the_first_task_as_it_was(normals):
    plain = MoLEFlow.create(TINY, dim=DIM, grid=GRID, seed=0)
    own = system_of("M30 separated")
    for each in (plain, own):
        train(each, 0, normals[0])
    assert torch.equal(scores(plain, 0, normals[0]), scores(own, 0, normals[0]))


@pytest.mark.parametrize("arm", ARMS)
def test_what_a_task_brings_trains_in_that_task_alone(arm):
    system = system_of(arm)
    system.add_task(0)
    known = {name for name, _ in system.named_parameters()}
    system.add_task(1)
    brought = {name for name, _ in system.named_parameters()} - known
    assert bool(brought) == (arm != "M30 all shared")
    assert {system.stage(1).scopes[name] for name in brought} <= {"per-task"}
    assert {system.stage(0).scopes[name] for name in brought} <= {"frozen"}
