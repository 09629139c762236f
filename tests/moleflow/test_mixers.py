"""The mixers of the versions: what each sees, and what closing its gate leaves."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from reproductions.moleflow.attention import PatchAttention
from reproductions.moleflow.global_context import GlobalContext
from reproductions.moleflow.mixer import ContextMixer, NoMixer
from reproductions.moleflow.multi_scale import MultiScaleMixer, TaskMultiScaleMixer
from reproductions.moleflow.semantic import SemanticProjector
from reproductions.moleflow.task_mixer import TaskAdaptiveMixer

GRID, DIM = (5, 6), 8
X = torch.randn(2, *GRID, DIM, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
MIXERS: dict[str, Callable[[], nn.Module]] = {
    "none": NoMixer,
    "depthwise": lambda: ContextMixer(DIM, kernel=3),
    "task-adaptive": lambda: TaskAdaptiveMixer(DIM, kernel=3),
    "attention": lambda: PatchAttention(DIM, hidden=6, dropout=0.1, seed=0),
    "multi-scale": lambda: MultiScaleMixer(DIM, seed=0),
    "task-multi-scale": lambda: TaskMultiScaleMixer(DIM, seed=0),
    "global": lambda: GlobalContext(DIM, grid=GRID, regions=3, seed=0),
    "semantic": lambda: SemanticProjector(DIM, ratio=0.5, seed=0),
}


def mixer_of(name: str) -> nn.Module:
    mixer = MIXERS[name]()
    for task in range(2):
        mixer.add_task(task)
    return mixer.double().eval()


def closed(mixer: nn.Module) -> nn.Module:
    """Return the mixer with every gate at 0."""
    with torch.no_grad():
        for name, value in mixer.named_parameters():
            if "level" in name:
                value.fill_(-1e3)
    return mixer


def image_of(patches: Tensor) -> Tensor:
    return patches.view(len(patches), *GRID, DIM)


@pytest.mark.parametrize("name", ["depthwise", "task-adaptive", "multi-scale", "task-multi-scale", "global"])
def test_a_closed_gate_leaves_features_as_they_are(name):
    assert not torch.allclose(mixer_of(name)(X, task=0), X)
    torch.testing.assert_close(closed(mixer_of(name))(X, task=0), X)


def test_attention_with_a_closed_gate_is_the_feed_forward_alone():
    mixer = closed(mixer_of("attention"))
    patches = X.flatten(1, 2)
    torch.testing.assert_close(mixer(X, task=0), image_of(patches + mixer.fed(patches)))
    one_by_one = [mixer(patch[None, None, None], task=0)[0, 0, 0] for patch in patches[0]]
    torch.testing.assert_close(mixer(X, task=0)[0].flatten(0, 1), torch.stack(one_by_one))


def test_attention_of_one_patch_is_its_own_value():
    mixer = mixer_of("attention")
    patch = X[:, :1, :1].flatten(1, 2)
    seen = torch.nn.functional.layer_norm(patch, (DIM,))
    torch.testing.assert_close(mixer.attended(patch), mixer.out(mixer.value(seen)))
    assert not torch.allclose(mixer.attended(X.flatten(1, 2))[:, :1], mixer.out(mixer.value(seen)))


def test_with_an_open_gate_attention_sees_all_patches():
    moved, mixer = X.clone(), mixer_of("attention")
    moved[:, 0, 0, 0] += 5.0
    changed = ~torch.isclose(mixer(moved, task=0), mixer(X, task=0)).all(dim=-1)
    assert changed.all()


def test_attention_does_not_start_as_the_identity_though_the_notes_say_so():
    mixer = mixer_of("attention")
    assert float(torch.sigmoid(mixer.level.detach())) == 0.5
    assert float((mixer(X, task=0) - X).detach().abs().mean()) > 0.01


def test_dropout_acts_in_training_alone_and_repeats_from_a_seed():
    mixer = mixer_of("attention")
    assert torch.equal(mixer(X, task=0), mixer(X, task=0))
    mixer.train()
    drawn = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        drawn.append(mixer(X, task=0))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


@pytest.mark.parametrize("name", ["semantic", "attention"])
def test_permuting_patches_permutes_the_output(name):
    order = torch.randperm(30, generator=torch.Generator().manual_seed(1))
    mixer = mixer_of(name)
    permuted = mixer(image_of(X.flatten(1, 2)[:, order]), task=0)
    torch.testing.assert_close(permuted.flatten(1, 2), mixer(X, task=0).flatten(1, 2)[:, order])


@pytest.mark.parametrize("name", ["depthwise", "multi-scale", "global"])
def test_the_others_know_places(name):
    order = torch.randperm(30, generator=torch.Generator().manual_seed(1))
    mixer = mixer_of(name)
    permuted = mixer(image_of(X.flatten(1, 2)[:, order]), task=0)
    assert not torch.allclose(permuted.flatten(1, 2), mixer(X, task=0).flatten(1, 2)[:, order])


def test_semantic_projector_sees_the_whole_image():
    moved = X.clone()
    moved[:, 0, 0] += 1.0
    mixer = mixer_of("semantic")
    assert not torch.allclose(mixer(moved, task=0)[:, 4, 5], mixer(X, task=0)[:, 4, 5])
    closed(mixer)
    assert torch.equal(mixer(moved, task=0)[:, 4, 5], mixer(X, task=0)[:, 4, 5])


def test_a_constant_image_gets_a_constant_from_its_regions():
    constant = torch.full((1, *GRID, DIM), 1.7, dtype=torch.float64)
    added = mixer_of("global")(constant, task=0) - constant
    torch.testing.assert_close(added, added[:, :1, :1].expand_as(added))
    assert float(added.detach().abs().max()) > 0.01


def test_regions_are_pooled_as_torch_pools_them():
    pooled = torch.nn.functional.adaptive_avg_pool2d(X.permute(0, 3, 1, 2), 3).flatten(2).mT
    torch.testing.assert_close(mixer_of("global").share @ X.flatten(1, 2), pooled)


@pytest.mark.parametrize("reach", [1, 2, 4])
def test_context_reaches_as_far_as_its_dilations(reach):
    moved = X.clone()
    moved[:, 0, 0] += 1.0
    mixer = mixer_of("multi-scale")
    changed = ~torch.isclose(mixer(moved, task=0), mixer(X, task=0)).all(dim=-1)
    assert changed[0, reach, reach]
    assert not changed[0, 3, 3]


def test_an_open_task_mixer_is_its_base_until_the_task_scales_it():
    mixer = mixer_of("task-adaptive")
    with torch.no_grad():
        mixer.task_level["0"].fill_(1e3)
    torch.testing.assert_close(mixer(X, task=0), mixer.base(X, task=0))
    other = mixer(X, task=1)
    with torch.no_grad():
        mixer.task_scale["0"].fill_(2.0)
        mixer.task_shift["0"].fill_(-1.0)
    torch.testing.assert_close(mixer(X, task=0), 2 * mixer.base(X, task=0) - 1)
    assert torch.equal(mixer(X, task=1), other)


def test_each_task_has_a_gate_of_its_own_on_shared_scales():
    mixer = mixer_of("task-multi-scale")
    other = mixer(X, task=1)
    with torch.no_grad():
        mixer.task_level["0"].fill_(-1e3)
    torch.testing.assert_close(mixer(X, task=0), X)
    assert torch.equal(mixer(X, task=1), other)
