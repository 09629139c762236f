"""What tasks remember: consolidation, distillation and replay are nothing where nothing has changed."""

import copy

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from mechlab.errors import MechlabError
from mechlab.train.scopes import apply, optimizer
from mechlab.train.stage import Moment
from reproductions.moleflow.consolidation import consolidation_penalty
from reproductions.moleflow.distillation import distillation_loss
from reproductions.moleflow.losses import patch_nll
from reproductions.moleflow.memory import Memory
from reproductions.moleflow.replay import remember_images, replayed
from reproductions.moleflow.system import MoLEFlow
from reproductions.moleflow.unwatched import unwatched

DIM, GRID = 8, (3, 4)
PARTS = {"blocks": 2, "lora_rank": 2, "dia_blocks": 1, "context_kernel": 3, "base": "shared"}
ON = {"ewc_weight": 3.0, "distillation_weight": 2.0, "replay_images": 6}


@pytest.fixture
def normals(rng) -> list[np.ndarray]:
    return [(rng.normal(size=(9, *GRID, DIM)) + 3 * task).astype(np.float32) for task in range(3)]


def after(tasks: int, normals, **parts) -> MoLEFlow:
    """Return a system after some tasks, with the parameters of the next one."""
    system = MoLEFlow.create(PARTS | parts, dim=DIM, grid=GRID, seed=0)
    for task in range(tasks + 1):
        system.add_task(task)
        system.prepare(task, normals[task])
        stage = system.stage(task)
        apply(system, stage)
        held = optimizer(system, stage)
        system.train()
        if task < tasks:
            for _ in range(3):
                held.zero_grad(set_to_none=True)
                system.loss(torch.from_numpy(normals[task][:4]), task=task).total.backward()
                held.step()
            system.finish_task(task, normals[task])
    return system


def moved(system: MoLEFlow, name: str, by: float) -> MoLEFlow:
    other = copy.deepcopy(system)
    with torch.no_grad():
        dict(other.named_parameters())[name].add_(by)
    return other


NAME = "flow.1.subnet.s2.base.bias"


def test_consolidation_is_nothing_at_the_anchor_and_half_fisher_times_the_square_away(normals):
    system = after(1, normals, ewc_weight=1.0)
    parameters = dict(system.named_parameters())
    assert float(consolidation_penalty(system.memory, parameters).detach()) == 0.0
    away = moved(system, NAME, 0.5)
    found = consolidation_penalty(system.memory, dict(away.named_parameters()))
    expected = 0.5 * 0.25 * float(system.memory[f"fisher.0.{NAME}"].sum())
    assert expected > 0
    assert float(found.detach()) == pytest.approx(expected, rel=1e-5)


def test_fisher_is_the_mean_of_squared_gradients_of_each_image(normals):
    system = after(1, normals, ewc_weight=1.0)
    value = dict(system.named_parameters())[NAME]
    squares = []
    system.eval()
    for image in normals[0]:
        flowed = system(torch.from_numpy(image[None]), task=0)
        loss = patch_nll(flowed.latent, flowed.log_det).mean()
        squares.append(torch.autograd.grad(loss, value)[0].square())
    torch.testing.assert_close(
        system.memory[f"fisher.0.{NAME}"], torch.stack(squares).mean(dim=0), rtol=1e-4, atol=1e-9
    )


def test_each_earlier_task_pulls_to_where_it_left_what_is_shared(normals):
    system = after(2, normals, ewc_weight=1.0)
    tasks = {key.split(".", 1)[0] for key in system.memory.names("anchor")}
    assert tasks == {"0", "1"}
    assert torch.equal(system.memory[f"anchor.1.{NAME}"], dict(system.named_parameters())[NAME])
    assert not torch.equal(system.memory[f"anchor.0.{NAME}"], system.memory[f"anchor.1.{NAME}"])


@pytest.mark.parametrize("mixer", ["none", "attention"])
def test_a_student_that_equals_its_teacher_has_nothing_to_learn(mixer, normals):
    parts = {} if mixer == "none" else {"mixer": mixer, "attention_hidden": 6, "mixer_trains": "every-task"}
    system = after(1, normals, distillation_weight=1.0, **parts)
    batch = torch.from_numpy(normals[1][:4])
    assert float(distillation_loss(system.memory, system, batch, task=0).detach()) == 0.0
    assert system.training  # dropout is only away while it is compared
    away = moved(system, NAME, 0.5)
    assert float(distillation_loss(away.memory, away, batch, task=0).detach()) > 0


def test_distillation_is_the_squared_change_of_latent_and_log_det(normals):
    system = after(1, normals, distillation_weight=1.0)
    away = moved(system, NAME, 0.5)
    batch = torch.from_numpy(normals[1][:4])
    with torch.no_grad():
        old, new = (each.eval()(batch, task=0) for each in (system, away))
    change = (new.latent - old.latent).square().sum(dim=-1) + (new.log_det - old.log_det).square()
    found = distillation_loss(away.memory, away, batch, task=0)
    assert float(found.detach()) == pytest.approx(float(change.mean()), rel=1e-5)


def test_no_gradient_reaches_the_teacher_or_what_is_remembered(normals):
    system = moved(after(1, normals, **ON), NAME, 0.5)
    system.loss(torch.from_numpy(normals[1][:4]), task=1).total.backward()
    assert not any(value.requires_grad for value in system.memory.buffers())
    own = [value for name, value in system.named_parameters() if ".0." in name and "up.0" in name]
    assert own
    assert all(value.grad is None for value in own)


@pytest.mark.parametrize("tasks", [1, 2, 3, 5])
def test_a_bank_never_holds_more_than_it_may(tasks, rng):
    memory = Memory()
    for task in range(tasks):
        remember_images(memory, rng.normal(size=(20, 2, 2, 4)), task=task, images=10, seed=0)
        held = [len(memory[f"bank.{each}"]) for each in range(task + 1)]
        assert sum(held) <= 10
        assert len(set(held)) == 1 and held[0] == 10 // (task + 1)


def test_a_bank_keeps_images_as_they_were(normals):
    memory = Memory()
    remember_images(memory, normals[0], task=0, images=4, seed=0)
    known = {image.tobytes() for image in normals[0]}
    kept = [image.numpy().tobytes() for image in memory["bank.0"]]
    assert set(kept) <= known and len(set(kept)) == 4


def test_what_is_replayed_depends_on_the_step_alone(normals):
    memory = Memory()
    remember_images(memory, normals[0], task=0, images=8, seed=0)

    def at(step: int) -> torch.Tensor:
        return replayed(memory, task=0, size=3, seed=0, step=step)

    assert torch.equal(at(5), at(5))
    assert len({at(step).numpy().tobytes() for step in range(20)}) > 10


@pytest.mark.parametrize("dsm", ["full", "sliced"])
def test_hooks_see_the_batch_alone_whatever_else_goes_through_the_modules(dsm, normals):
    system = after(1, normals, **ON | {"dia_blocks": 0, "dsm": dsm})
    seen = []
    hook = system.flow[1].register_forward_hook(
        lambda _module, given, _output: seen.append(given[0].shape[0])
    )
    system.loss(torch.from_numpy(normals[1][:5]), task=1).total.backward()
    assert seen == [5]
    system.patch_scores(torch.from_numpy(normals[1][:3]), task=1)
    assert seen == [5, 3]
    hook.remove()
    assert not any(module._forward_hooks for module in system.modules())


def test_hooks_are_back_after_an_error(normals):
    system = after(0, normals)
    hook = system.latent.register_forward_hook(lambda *_: None)
    with pytest.raises(KeyError), unwatched(system):
        assert not system.latent._forward_hooks
        raise KeyError
    assert system.latent._forward_hooks
    hook.remove()


def test_earlier_tasks_take_turns(normals):
    system = after(2, normals, replay_images=6, batch_size=2)
    batch = torch.from_numpy(normals[2][:3])  # however many images a rank has of the batch
    for step in range(4):
        moment = Moment(step=step, epoch=0, phase=0, items=np.arange(3))
        terms = system.protection.terms(system, batch, task=2, moment=moment)
        seen = replayed(system.memory, task=step % 2, size=2, seed=0, step=step)
        flowed = system(seen, task=step % 2)
        assert float(terms["replay"].detach()) == pytest.approx(
            float(patch_nll(flowed.latent, flowed.log_det).mean().detach())
        )


def test_terms_are_added_with_their_weights_and_only_while_training(normals):
    system = moved(after(1, normals, **ON), NAME, 0.5)
    batch = torch.from_numpy(normals[1][:4])
    found = system.loss(batch, task=1)
    terms = {name: float(value.detach()) for name, value in found.terms.items()}
    system.eval()
    bare = system.loss(batch, task=1)
    assert set(terms) - set(bare.terms) == {"ewc", "replay", "distillation"}
    added = terms["ewc"] + terms["replay"] + terms["distillation"]
    assert float(found.total.detach()) == pytest.approx(float(bare.total.detach()) + added, rel=1e-5)
    penalty = consolidation_penalty(system.memory, dict(system.named_parameters()))
    assert terms["ewc"] == pytest.approx(3.0 * float(penalty.detach()), rel=1e-5)


def test_the_first_task_has_nothing_to_protect(normals):
    plain, protected = after(0, normals), after(0, normals, **ON)
    batch = torch.from_numpy(normals[0][:4])
    losses = [system.loss(batch, task=0) for system in (plain, protected)]
    assert torch.equal(losses[0].total, losses[1].total)
    assert set(losses[0].terms) == set(losses[1].terms)


@pytest.mark.parametrize("part", [{"ewc_weight": 1e4}, {"distillation_weight": 100.0}, {"replay_images": 9}])
def test_each_part_holds_an_earlier_task_better_than_none(part, normals):
    """Two tasks far apart: the first one's scores rise less while the second trains."""

    def rise(**parts) -> float:
        system = after(1, normals, learning_rate=0.02, **parts)
        images = torch.from_numpy(normals[0])
        with torch.no_grad():
            before = system.eval().patch_scores(images, task=0).mean()
        system.train()
        held = optimizer(system, system.stage(1))
        for step in range(15):
            held.zero_grad(set_to_none=True)
            moment = Moment(step=step, epoch=0, phase=0, items=np.arange(6))
            system.loss_at(torch.from_numpy(normals[1][:6]), task=1, moment=moment).total.backward()
            held.step()
        with torch.no_grad():
            return float(system.eval().patch_scores(images, task=0).mean() - before)

    assert rise(**part) < 0.7 * rise()


def test_what_is_remembered_is_in_the_file_and_back(normals, tmp_path):
    system = after(2, normals, projection="joint", batch_size=1, **ON)
    save_file(system.state_dict(), tmp_path / "weights.safetensors")
    loaded = MoLEFlow.create(
        PARTS | ON | {"projection": "joint", "batch_size": 1}, dim=DIM, grid=GRID, seed=0
    )
    for task in range(3):
        loaded.add_task(task)
    loaded.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    kinds = {name.split("/")[0] for name in loaded.memory.state_dict()}
    assert kinds == {"basis", "anchor", "fisher", "teacher", "bank"}
    for name, value in system.memory.state_dict().items():
        assert torch.equal(loaded.memory.state_dict()[name], value), name
    loaded.load_state_dict(load_file(tmp_path / "weights.safetensors"))  # again, into what is there
    batch = torch.from_numpy(normals[2][:4])
    assert torch.equal(loaded.train().loss(batch, task=2).total, system.train().loss(batch, task=2).total)


def test_loading_replaces_what_was_remembered():
    one, two = Memory(), Memory()
    one.keep("a.b.c", torch.ones(2, 3))
    two.keep("a.b.c", torch.zeros(4))
    two.keep("d", torch.zeros(1))
    two.load_state_dict(one.state_dict())
    assert two.names("a") == ("b.c",)
    assert torch.equal(two["a.b.c"], torch.ones(2, 3))
    with pytest.raises(KeyError):
        two["d"]


def test_a_bank_smaller_than_its_tasks_is_refused(normals):
    system = after(1, normals, replay_images=2)
    with pytest.raises(MechlabError, match=r"a bank of 2 images has none left for some of 3 tasks"):
        system.prepare(2, normals[2])
