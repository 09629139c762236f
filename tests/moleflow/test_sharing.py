"""What tasks share and train on: the drift of V3 and V4, the separation of V4.1, and the slow stage."""

import copy

import numpy as np
import pytest
import torch

from mechlab.train.loop import Progress, run_task
from mechlab.train.scopes import apply, optimizer
from reproductions.moleflow.config import MoLEFlowConfig
from reproductions.moleflow.drift import SEPARATED, SHARED_CONTEXT, SHARED_MIXER
from reproductions.moleflow.readings import gate_readings, part_readings
from reproductions.moleflow.scopes import shared_names
from reproductions.moleflow.sharing import shared_parts
from reproductions.moleflow.system import MoLEFlow

DIM, GRID = 8, (4, 5)
TINY = {"blocks": 3, "lora_rank": 2, "epochs": 2, "batch_size": 4}


@pytest.fixture
def normals(rng) -> list[np.ndarray]:
    return [(rng.normal(size=(20, *GRID, DIM)) + 2 * task).astype(np.float32) for task in range(3)]


def train(system: MoLEFlow, task: int, features: np.ndarray, after_epoch=lambda _: None) -> Progress:
    system.add_task(task)
    system.prepare(task, features)
    stage = system.stage(task)
    apply(system, stage)
    end = run_task(
        system, features, task=task, seed=0, stage=stage, optimizer=optimizer(system, stage),
        device=torch.device("cpu"), start=Progress(), observers=(), after_epoch=after_epoch,
    )  # fmt: skip
    system.finish_task(task, features)
    return end


def scores(system: MoLEFlow, task: int, features: np.ndarray) -> torch.Tensor:
    with torch.inference_mode():
        return system.eval().patch_scores(torch.from_numpy(features), task=task)


def after_two(parts: dict, normals) -> tuple[torch.Tensor, torch.Tensor, MoLEFlow, dict]:
    """Return the first task's scores before and after the second, the system, and its values before."""
    system = MoLEFlow.create(parts | TINY, dim=DIM, grid=GRID, seed=0)
    train(system, 0, normals[0])
    before, values = scores(system, 0, normals[0]), copy.deepcopy(system.state_dict())
    train(system, 1, normals[1])
    return before, scores(system, 0, normals[0]), system, values


@pytest.mark.parametrize(
    ("parts", "moved"),
    [
        pytest.param(SHARED_MIXER, {"mixer", "flow"}, id="V3"),
        pytest.param(SHARED_CONTEXT, {"flow"}, id="V4"),
        pytest.param(SEPARATED, set(), id="V4.1"),
        pytest.param(SEPARATED | {"slow_blocks": 2, "slow_epochs": 2}, {"flow"}, id="slow stage"),
    ],
)
def test_earlier_scores_change_exactly_where_tasks_share_what_trains_on(parts, moved, normals):
    before, later, system, values = after_two(parts, normals)
    assert torch.equal(before, later) == (not moved)
    changed = {
        name
        for name, value in system.state_dict().items()
        if name in values and not torch.equal(value, values[name])
    }
    assert {name.split(".")[0] for name in changed} == moved
    assert changed == set(shared_names(system, system.config)) & set(values)
    assert bool(shared_parts(system.config)) == bool(moved)


def test_the_slow_stage_moves_the_last_shared_blocks_after_the_task_alone(normals):
    system = MoLEFlow.create(
        SEPARATED | TINY | {"slow_blocks": 2, "slow_epochs": 3}, dim=DIM, grid=GRID, seed=0
    )
    assert train(system, 0, normals[0]).epoch == 2  # the first task has none
    kept = []
    train(system, 1, normals[1], lambda progress: kept.append(copy.deepcopy(dict(system.named_parameters()))))
    assert len(kept) == 5
    slow = {name for name in kept[0] if name.startswith(("flow.1.", "flow.2.")) and ".up." not in name
            and ".down." not in name}  # fmt: skip
    for name in kept[0]:
        during, slowly = (not torch.equal(kept[one][name], kept[two][name]) for one, two in ((0, 1), (1, 4)))
        assert slowly == (name in slow), name
        assert not (during and slowly), name
    stage = system.stage(1)
    assert [group.learning_rate for group in stage.groups] == pytest.approx([2e-4, 4e-5])
    assert {name for name, scope in stage.scopes.items() if scope == "shared"} == slow
    assert set(stage.groups[1].parameters) == slow


def test_the_slow_stage_is_trained_on_the_mean_nll_alone(normals):
    parts = (
        SEPARATED | TINY | {"tail_weight": 0.7, "log_det_weight": 0.1, "center_weight": 0.1, "slow_blocks": 1}
    )
    system = MoLEFlow.create(parts, dim=DIM, grid=GRID, seed=0)
    for task in range(2):
        system.add_task(task)
    batch = torch.from_numpy(normals[0][:4])
    from mechlab.train.stage import Moment

    moment = Moment(step=0, epoch=5, phase=1, items=np.arange(4))
    found = system.loss_at(batch, task=1, moment=moment)
    assert torch.equal(found.total, found.terms["nll"])
    assert not torch.equal(system.loss(batch, task=1).total, found.total)


def test_what_counts_as_shared():
    def of(**parts) -> tuple[str, ...]:
        return shared_parts(MoLEFlowConfig(**parts))

    assert of() == ()
    assert of(base="shared") == ("base",)
    assert of(mixer_trains="every-task") == ()  # there is no mixer
    assert of(mixer_trains="every-task", mixer="attention") == ("mixer_trains",)
    assert of(context_trains="every-task") == ("context_trains",)
    assert of(context_trains="every-task", base="per-task") == ()
    assert of(context_trains="every-task", subnet="plain") == ()
    assert of(slow_blocks=2) == ("slow_blocks",)
    assert of(slow_blocks=2, blocks=0) == ()


def test_readings_are_the_gates_as_they_are(normals):
    system = MoLEFlow.create(SHARED_MIXER | TINY, dim=DIM, grid=GRID, seed=0)
    system.add_task(0)
    system.add_task(1)
    found = part_readings(system, task=1)
    assert found["context_alpha"] == pytest.approx(0.1)
    assert found["mixer_gate"] == pytest.approx(torch.tensor(0.5).sigmoid().item())
    assert found["adapter_gamma"] == pytest.approx(1.25)  # the middle of 0.5 and 2, as later tasks start
    assert part_readings(system, task=0)["adapter_gamma"] == pytest.approx(
        0.5 + 1.5 * torch.tensor(-0.7).sigmoid().item()
    )
    with torch.no_grad():
        system.flow[1].subnet.level.fill_(100.0)
    assert part_readings(system, task=1)["context_alpha"] == pytest.approx((0.1 + 0.2 + 0.1) / 3)


def test_readings_of_patch_gates_are_those_of_a_batch(normals):
    system = MoLEFlow.create(
        TINY | {"subnet": "gated", "gate_hidden": 5, "context_kernel": 3}, dim=DIM, grid=GRID, seed=0
    )
    system.add_task(0)
    batch = torch.from_numpy(normals[0][:4])
    assert gate_readings(system, batch, task=0) == pytest.approx(
        {"gate_mean": 0.5, "gate_std": 0.0, "gate_min": 0.5, "gate_max": 0.5}
    )
    with torch.no_grad():
        for block in system.flow:
            block.subnet.gate.last.weight.normal_(generator=torch.Generator().manual_seed(0))
    found = gate_readings(system, batch, task=0)
    assert found["gate_min"] < found["gate_mean"] < found["gate_max"]
    assert found["gate_std"] > 0.01
    assert system.training and not any(module._forward_hooks for module in system.modules())


@pytest.mark.parametrize(
    ("parts", "name", "value"),
    [
        pytest.param({"position": "tape"}, "position_strength", 0.5, id="position"),
        pytest.param({"mixer": "task-adaptive"}, "mixer_gate", None, id="task mixer"),
        pytest.param({"adapter": "film"}, "adapter_gate", 0.5, id="film"),
    ],
)
def test_other_strengths_are_read_too(parts, name, value):
    system = MoLEFlow.create(TINY | parts, dim=DIM, grid=GRID, seed=0)
    system.add_task(0)
    found = part_readings(system, task=0)[name]
    assert 0 < found < 1
    if value is not None:
        assert found == pytest.approx(value)
