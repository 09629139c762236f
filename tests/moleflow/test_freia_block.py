"""FrEIA's block bound in each call: the same map as ours, no state left, NumPy's generator put back."""

import copy

import numpy as np
import pytest
import torch

from mechlab.errors import MechlabError
from reproductions.moleflow.flow.freia_block import FreiaBlock, seeded_numpy
from reproductions.moleflow.presets import PRESETS
from reproductions.moleflow.system import MoLEFlow

GRID, DIM = (3, 4), 8
X = torch.randn(2, *GRID, DIM, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
PARTS = {preset.name: dict(preset.parts) | {"lora_rank": 2, "blocks": 2} for preset in PRESETS}


def system_of(parts: dict) -> MoLEFlow:
    system = MoLEFlow.create(parts, dim=DIM, grid=GRID, seed=0)
    for task in range(2):
        system.add_task(task)
    return system.double()


def twins(changes: dict | None = None) -> tuple[MoLEFlow, MoLEFlow]:
    """Return `main` and `published` of equal weights and permutations, off their start."""
    ours, theirs = (system_of(PARTS[name] | (changes or {})) for name in ("main", "published"))
    draw = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for value in ours.parameters():
            value.add_(0.3 * torch.randn(value.shape, generator=draw, dtype=value.dtype))
        state = {
            name.replace(".subnet.", ".freia.subnet.subnet.") if name.startswith("flow.") else name: value
            for name, value in ours.state_dict().items()
            if not name.endswith((".order", ".back"))
        }
        for number, block in enumerate(ours.flow):
            one_hot = torch.eye(DIM, dtype=torch.float64)[block.order]
            state |= {f"flow.{number}.freia.w_perm": one_hot, f"flow.{number}.freia.w_perm_inv": one_hot.T}
        missing = theirs.load_state_dict(copy.deepcopy(state), strict=False)
    assert all("global" in name for name in missing.missing_keys)
    assert not missing.unexpected_keys
    return ours, theirs


@pytest.mark.parametrize("subnet", ["context", "plain", "gated", "cpcf"])
def test_published_equals_main_on_equal_weights(subnet):
    kernel = {"context_kernel": 3} if subnet != "plain" else {}
    ours, theirs = twins({"subnet": subnet} | kernel)
    for task in range(2):
        one, two = ours(X, task=task), theirs(X, task=task)
        torch.testing.assert_close(one.latent, two.latent)
        torch.testing.assert_close(one.block_log_dets, two.block_log_dets, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(theirs.inverse(two.latent, task=task), theirs.adapt(X, task=task))
        torch.testing.assert_close(ours.loss(X, task=task).total, theirs.loss(X, task=task).total)


def test_without_a_tail_published_sums_over_patches():
    ours, theirs = twins({"tail_weight": 0.0, "log_det_weight": 0.0})
    torch.testing.assert_close(theirs.loss(X, task=0).total, 12 * ours.loss(X, task=0).total)


def test_gradients_are_equal_too():
    ours, theirs = twins()
    for system in (ours, theirs):
        system.loss(X, task=1).total.backward()
    one, two = (system.flow[1].subnet.s1.base.weight.grad for system in (ours, theirs))
    torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-6)  # FrEIA's scale is 1 in single precision


def test_tasks_and_grids_are_those_of_the_call_and_leave_nothing():
    _, system = twins()
    first, second = system(X, task=0).latent, system(X, task=1).latent
    assert not torch.allclose(first, second)
    assert torch.equal(system(X, task=0).latent, first)
    block = system.flow[0]
    assert isinstance(block, FreiaBlock)
    with pytest.raises(RuntimeError, match="no grid and no task"):
        block.freia.subnet(X.flatten(0, 2)[:, :4])
    block.subnet.s1.forward = None  # an error in the middle of a call
    with pytest.raises(TypeError):
        system(X, task=0)
    assert block.freia.subnet.call is None


def test_numpys_generator_is_put_back_and_the_permutation_is_the_seeds():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    one, again = system_of(PARTS["published"]), system_of(PARTS["published"])
    other = MoLEFlow.create(PARTS["published"], dim=DIM, grid=GRID, seed=1)
    assert np.array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    orders = [system.flow[0].freia.w_perm.argmax(dim=1).tolist() for system in (one, again, other)]
    assert orders[0] == orders[1] != orders[2]
    with pytest.raises(ZeroDivisionError), seeded_numpy(3):
        np.random.permutation(1 // 0)  # noqa: NPY002
    assert np.array_equal(np.random.get_state()[1], before)  # noqa: NPY002


@pytest.mark.parametrize("global_affine", [False, True])
def test_scale_and_offset_train_only_where_asked(global_affine):
    system = system_of(PARTS["published"] | {"global_affine": global_affine})
    scopes = system.stage(0).scopes
    assert scopes["flow.0.freia.w_perm"] == "frozen"
    for name in ("global_scale", "global_offset"):
        assert (scopes[f"flow.0.freia.{name}"] == "first-task") == global_affine


def test_the_sketch_of_cross_patch_coupling_is_refused_here():
    with pytest.raises(MechlabError, match=r"coupling=freia hands its subnet the untouched half alone"):
        system_of(PARTS["published"] | {"subnet": "cpcf-sketch"})
