"""The system as the loop drives it: isolation of tasks, scopes, gradients, starts, saving."""

import copy

import numpy as np
import pytest
import torch

from mechlab.errors import MechlabError
from mechlab.train.scopes import apply, optimizer
from reproductions.moleflow.presets import PRESETS
from reproductions.moleflow.system import MoLEFlow

DIM, GRID = 8, (4, 5)
PARTS = {preset.name: dict(preset.parts) for preset in PRESETS}
GOES_ON = {
    ("base", "shared"),
    ("mixer_trains", "every-task"),
    ("context_trains", "every-task"),
    ("slow_blocks", 2),
}
SHARED = sorted(name for name, parts in PARTS.items() if GOES_ON & set(parts.items()))
ISOLATED = sorted(set(PARTS) - set(SHARED))


def small(name: str) -> dict:
    """Return a preset's parts in sizes for a second."""
    parts = PARTS[name] | {"lora_rank": min(3, PARTS[name]["lora_rank"]), "position_dim": 8, "epochs": 1}
    return parts | ({"batch_size": 2} if "projection" in parts else {})  # which needs 5 batches of 12 images


@pytest.fixture
def normals(rng) -> list[np.ndarray]:
    return [
        (rng.normal(size=(12, *GRID, DIM)) @ rng.normal(size=(DIM, DIM)) + shift).astype(np.float32)
        for shift in (0.0, 2.0, -2.0)
    ]


def train(system: MoLEFlow, task: int, features: np.ndarray, *, steps: int = 3) -> None:
    system.add_task(task)
    system.prepare(task, features)
    stage = system.stage(task)
    apply(system, stage)
    held = optimizer(system, stage)
    system.train()
    for _ in range(steps):
        held.zero_grad(set_to_none=True)
        system.loss(torch.from_numpy(features[:4]), task=task).total.backward()
        held.step()
    system.finish_task(task, features)


def built(parts: dict, normals: list[np.ndarray], *, seed: int = 0) -> MoLEFlow:
    system = MoLEFlow.create(parts, dim=DIM, grid=GRID, seed=seed)
    for task, features in enumerate(normals):
        train(system, task, features)
    return system


def scores(system: MoLEFlow, task: int, normals: list[np.ndarray]) -> torch.Tensor:
    system.eval()
    with torch.inference_mode():
        return system.patch_scores(torch.from_numpy(normals[task]), task=task)


@pytest.mark.parametrize("name", ISOLATED)
def test_earlier_scores_are_bit_identical_after_later_tasks(name, normals):
    system = MoLEFlow.create(small(name), dim=DIM, grid=GRID, seed=0)
    kept: list[torch.Tensor] = []
    for task, features in enumerate(normals):
        train(system, task, features)
        kept.append(scores(system, task, normals))
        for earlier, before in enumerate(kept):
            assert torch.equal(scores(system, earlier, normals), before)


@pytest.mark.parametrize("name", SHARED)
def test_with_something_shared_earlier_scores_change(name, normals):
    system = MoLEFlow.create(small(name), dim=DIM, grid=GRID, seed=0)
    train(system, 0, normals[0])
    before = scores(system, 0, normals)
    train(system, 1, normals[1])
    assert not torch.equal(scores(system, 0, normals), before)
    assert {"shared"} <= set(system.stage(1).scopes.values())


# A projection may take all of a small parameter's gradient: test_projection has its laws.
@pytest.mark.parametrize("name", sorted(name for name in PARTS if "projection" not in PARTS[name]))
def test_exactly_the_declared_parameters_move(name, normals):
    system = built(small(name), normals[:2])
    for task in (0, 1):
        stage = system.stage(task)
        grouped = {parameter for group in stage.groups for parameter in group.parameters}
        assert set(stage.scopes) == {parameter for parameter, _ in system.named_parameters()}
        assert grouped == {parameter for parameter, scope in stage.scopes.items() if scope != "frozen"}
    system.add_task(2)
    system.prepare(2, normals[2])
    before = {key: value.clone() for key, value in system.state_dict().items()}
    system.zero_grad(set_to_none=True)
    stage = system.stage(2)
    apply(system, stage)
    held = optimizer(system, stage)
    for _ in range(4):
        held.zero_grad(set_to_none=True)
        system.loss(torch.from_numpy(normals[2][:4]), task=2).total.backward()
        held.step()
    for parameter, value in system.named_parameters():
        moving = stage.scopes[parameter] != "frozen"
        assert value.requires_grad == moving, parameter
        assert (value.grad is not None and bool(value.grad.any())) == moving, parameter
        assert torch.equal(value, before[parameter]) != moving, parameter
    for buffer, value in system.named_buffers():
        if buffer in before:
            assert torch.equal(value, before[buffer]), buffer


def test_scopes_name_who_trains_when(normals):
    system = built(small("mini"), normals[:2])
    first, second = system.stage(0).scopes, system.stage(1).scopes
    base, branch, dia = (
        "flow.0.subnet.s1.base.weight",
        "flow.0.subnet.s1.up.{}.weight",
        "dia.{}.0.shift.0.weight",
    )
    assert (first[base], second[base]) == ("first-task", "frozen")
    for path in (branch, dia):
        assert (first[path.format(0)], second[path.format(0)]) == ("per-task", "frozen")
        assert (first[path.format(1)], second[path.format(1)]) == ("frozen", "per-task")
    assert system.stage(1).epochs == 1


def test_a_tasks_start_does_not_depend_on_the_tasks_before_it(normals):
    late = MoLEFlow.create(small("main"), dim=DIM, grid=GRID, seed=0)
    train(late, 0, normals[0])
    train(late, 1, normals[1])
    late.add_task(9)
    alone = MoLEFlow.create(small("main"), dim=DIM, grid=GRID, seed=0)
    alone.add_task(9)
    own = [key for key in alone.state_dict() if ".9." in key]
    assert own
    for key in own:
        assert torch.equal(alone.state_dict()[key], late.state_dict()[key]), key
    other = MoLEFlow.create(small("main"), dim=DIM, grid=GRID, seed=1)
    other.add_task(9)
    key = "flow.0.subnet.s1.down.9.weight"
    assert not torch.equal(alone.state_dict()[key], other.state_dict()[key])
    with pytest.raises(ValueError, match="task 9 exists"):
        alone.add_task(9)


def test_no_global_generator_is_touched(normals):
    before = torch.get_rng_state()
    built(small("mini"), normals[:1])
    assert torch.equal(torch.get_rng_state(), before)


def test_same_seed_trains_to_the_same_bits(normals):
    one, two = built(small("mini"), normals[:2]), built(small("mini"), normals[:2])
    for key, value in one.state_dict().items():
        assert torch.equal(value, two.state_dict()[key]), key


def test_without_lora_on_the_first_task_it_is_the_base_alone(normals):
    system = MoLEFlow.create(small("main") | {"lora_first_task": False}, dim=DIM, grid=GRID, seed=0)
    system.add_task(0)
    system.add_task(1)
    assert not [name for name, _ in system.named_parameters() if ".up.0." in name]
    assert [name for name, _ in system.named_parameters() if ".up.1." in name]


@pytest.mark.parametrize("name", sorted(PARTS))
def test_saved_weights_restore_scores_and_routes(name, normals):
    system = built(small(name), normals[:2])
    copied = MoLEFlow.create(small(name), dim=DIM, grid=GRID, seed=7)
    for task in range(2):
        copied.add_task(task)
    copied.load_state_dict(copy.deepcopy(system.state_dict()))
    for task in range(2):
        assert torch.equal(scores(copied, task, normals), scores(system, task, normals))
    batch = torch.from_numpy(normals[0])
    for router in ("mahalanobis", "euclidean"):
        assert torch.equal(
            copied.task_distances(batch, router=router), system.task_distances(batch, router=router)
        )


def test_router_sends_images_home_and_ignores_unfinished_tasks(normals):
    system = built(small("mini"), normals)
    system.add_task(3)
    for task, features in enumerate(normals):
        for router in ("mahalanobis", "euclidean"):
            distances = system.task_distances(torch.from_numpy(features), router=router)
            assert distances.shape == (12, 4)
            assert (distances.argmin(dim=1) == task).all()
            assert torch.isinf(distances[:, 3]).all()
    with pytest.raises(MechlabError, match="Did you mean 'euclidean'"):
        system.task_distances(torch.from_numpy(normals[0]), router="euclid")
    with pytest.raises(ValueError, match="oracle"):
        system.task_distances(torch.from_numpy(normals[0]), router="oracle")


def test_tasks_come_in_number_order_whatever_the_order_of_their_names(normals):
    system = MoLEFlow.create(small("mini"), dim=DIM, grid=GRID, seed=0)
    for task in range(11):
        system.add_task(task)
    system.finish_task(10, normals[0])
    distances = system.task_distances(torch.from_numpy(normals[0]), router="euclidean")
    assert torch.isfinite(distances[0]).nonzero().flatten().tolist() == [10]


def test_score_is_the_loss_of_a_patch(normals):
    system = built(small("mini") | {"tail_weight": 0.0, "log_det_weight": 0.0}, normals[:1])
    batch = torch.from_numpy(normals[0])
    loss = system.loss(batch, task=0)
    assert float(loss.total.detach()) == pytest.approx(float(scores(system, 0, normals).mean()), rel=1e-5)
    assert set(loss.terms) == {"nll"}


def test_loss_adds_tail_and_penalty_in_the_same_unit(normals):
    system = built(small("main"), normals[:1])
    batch = torch.from_numpy(normals[0])
    loss, flowed = system.loss(batch, task=0), system(batch, task=0)
    nll = system.patch_scores(batch, task=0).flatten(1)
    expected = 0.3 * nll.mean() + 0.7 * nll.amax(dim=1).mean() + 1e-4 * flowed.log_det.square().mean()
    assert float(loss.total.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)


def test_position_is_added_once_and_off_is_blind_to_place(normals):
    x = torch.from_numpy(normals[0])
    turned = x.flip(1).flip(2)
    blind = small("main") | {"position": "none", "mixer": "none", "subnet": "plain"}
    for parts, equal in (
        (blind, True),
        (blind | {"position": "sine"}, False),
        (blind | {"position": "condition"}, False),
    ):
        system = built(parts, normals[:1])
        one, two = (system.patch_scores(value, task=0).detach() for value in (x, turned))
        assert torch.allclose(one.flip(1).flip(2), two, atol=1e-4) == equal
    system = MoLEFlow.create(small("main") | {"adapter": "none", "mixer": "none"}, dim=DIM, grid=GRID, seed=0)
    system.add_task(0)
    assert torch.equal(system.adapt(x, task=0), x + system.place)


def test_the_mains_parameter_counts_are_the_published_ones():
    system = MoLEFlow.create(PARTS["main"], dim=768, grid=(2, 2), seed=0)
    system.add_task(0)
    counts = {name: parameter.numel() for name, parameter in system.named_parameters()}

    def count(*words: str) -> int:
        return sum(size for name, size in counts.items() if any(word in name for word in words))

    assert count(".base.") == 8_861_184
    assert count(".context.") == 59_904
    assert count("mixer.") == 7_681
    assert count(".down.", ".up.") == 1_916_928 + 13_824
    assert count("dia.0.") == 1_774_080
    assert count("adapter.0.") == 1_536
    assert sum(counts.values()) == 12_635_143


@pytest.mark.parametrize(
    ("parts", "dim", "sentence"),
    [
        ({"lora_rnk": 3}, 8, "Did you mean 'lora_rank'"),
        ({"context_kernel": 0}, 8, "context_kernel"),
        ({"tail_weight": 1.5}, 8, "tail_weight"),
        ({"adapter": "layernorm"}, 8, "adapter"),
        ({"gamma_low": 3.0}, 8, "gamma_low 3.0 is not below"),
        ({"position": "sine", "lora_rank": 2}, 6, "multiple of 4"),
        ({"position": "none"}, 1, "1 channels"),
    ],
)
def test_settings_that_cannot_be_are_refused(parts, dim, sentence):
    with pytest.raises(MechlabError, match=sentence):
        MoLEFlow.create(parts, dim=dim, grid=GRID, seed=0)


def test_callers_mistakes_are_value_errors(normals):
    system = built(small("mini"), normals[:1])
    with pytest.raises(ValueError, match="no task 1"):
        system.loss(torch.from_numpy(normals[0]), task=1)
    with pytest.raises(ValueError, match="features of"):
        system.loss(torch.from_numpy(normals[0][:, :3]), task=0)
