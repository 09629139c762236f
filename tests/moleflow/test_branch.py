"""Branches of the products: a grid of factors, Linears of a task's own, spectral norm."""

import pytest
import torch

from mechlab.errors import MechlabError
from reproductions.moleflow.flow.branch import GridLoRALinear, LoRALinear, TaskLinear, grid_shares
from reproductions.moleflow.presets import PRESETS
from reproductions.moleflow.system import MoLEFlow

GRID = (3, 5)
PARTS = {preset.name: dict(preset.parts) for preset in PRESETS}


def grid_linear(*, nodes: int = 4) -> GridLoRALinear:
    linear = GridLoRALinear(5, 4, rank=3, alpha=6.0, grid=GRID, nodes=nodes, name="layer", seed=0).double()
    linear.add_task(0)
    return linear.double()


@pytest.mark.parametrize("grid", [(3, 5), (1, 4), (7, 7)])
def test_shares_of_a_place_are_bilinear(grid):
    share = grid_shares(grid, nodes=4)
    torch.testing.assert_close(share.sum(dim=-1), torch.ones(grid))
    assert float(share.min()) >= 0
    values = torch.randn(1, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    expected = torch.nn.functional.interpolate(values, size=grid, mode="bilinear", align_corners=True)
    if min(grid) > 1:
        torch.testing.assert_close(share @ values.flatten(), expected[0, 0])


def test_a_constant_grid_is_plain_lora():
    linear = grid_linear()
    plain = LoRALinear(5, 4, rank=3, alpha=6.0, name="layer", seed=0).double()
    plain.add_task(0)
    plain.double()
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        plain.up["0"].weight.normal_(generator=draw)
        plain.up["0"].bias.normal_(generator=draw)
        linear.down["0"].weight.copy_(plain.down["0"].weight.repeat(16, 1))
        linear.up["0"].weight.copy_(plain.up["0"].weight.repeat(1, 16))
        linear.up["0"].bias.copy_(plain.up["0"].bias)
    x = torch.randn(2, *GRID, 5, dtype=torch.float64, generator=draw)
    torch.testing.assert_close(linear(x, task=0), plain(x, task=0))


def test_factors_of_a_place_are_interpolated_before_they_are_multiplied():
    linear = grid_linear(nodes=2)
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        linear.up["0"].weight.normal_(generator=draw)
    x = torch.randn(1, *GRID, 5, dtype=torch.float64, generator=draw)
    share = linear.share[1, 2]
    down = torch.einsum("n,nri->ri", share, linear.down["0"].weight.view(4, 3, 5))
    up = torch.einsum("n,onr->or", share, linear.up["0"].weight.view(4, 4, 3))
    expected = linear.base(x)[0, 1, 2] + 2.0 * up @ (down @ x[0, 1, 2])
    torch.testing.assert_close(linear(x, task=0)[0, 1, 2], expected)


def test_the_same_patch_is_seen_differently_at_another_place():
    linear = grid_linear()
    with torch.no_grad():
        linear.up["0"].weight.normal_(generator=torch.Generator().manual_seed(1))
    y = linear(torch.ones(1, *GRID, 5, dtype=torch.float64), task=0)
    assert not torch.allclose(y[0, 0, 0], y[0, 2, 4])
    assert not torch.allclose(y[0, 0, 0], y[0, 1, 1])


def test_a_tasks_linear_is_its_own_and_nothing_is_shared():
    linear = TaskLinear(5, 4, name="layer", seed=0)
    for task in range(2):
        linear.add_task(task)
    assert {name.split(".")[1] for name, _ in linear.named_parameters()} == {"0", "1"}
    x = torch.randn(3, 5)
    assert torch.equal(linear(x, task=1), linear.linear["1"](x))
    assert not torch.equal(linear(x, task=0), linear(x, task=1))


def test_spectral_norm_is_one_whatever_the_size_of_the_weight():
    linear = LoRALinear(5, 4, rank=0, alpha=1.0, name="layer", seed=0, is_spectral=True)
    x = torch.randn(3, 5)
    before = linear(x, task=0)
    assert float(torch.linalg.matrix_norm(linear.base.weight.detach(), ord=2)) == pytest.approx(1, abs=1e-6)
    with torch.no_grad():
        linear.base.parametrizations.weight.original.mul_(7.0)
    torch.testing.assert_close(linear(x, task=0), before)


def test_first_version_leaves_task_0_the_base_alone():
    system = MoLEFlow.create(PARTS["v1"] | {"blocks": 2, "lora_rank": 2}, dim=8, grid=GRID, seed=0)
    for task in range(2):
        system.add_task(task)
    x = torch.randn(2, *GRID, 8)
    assert torch.equal(system.adapt(x, task=0), x + system.place)
    assert not torch.allclose(system.adapt(x, task=1), x + system.place)
    own = {name for name, _ in system.named_parameters() if ".0." in name.replace("flow.0.", "flow.")}
    assert not own


@pytest.mark.parametrize(("name", "scaling"), [("v1", 1 / 64), ("v2", 1 / 32), ("main", 1 / 64)])
def test_scaling_of_a_version_is_the_notes(name, scaling):
    parts = PARTS[name] | {"blocks": 1}
    system = MoLEFlow.create(parts, dim=128, grid=(1, 1), seed=0)
    found = {module.scaling for module in system.modules() if isinstance(module, LoRALinear)}
    assert found == {scaling}


def parameters(name: str, *, tasks: int) -> int:
    """Return a preset's numbers after so many tasks, from what the first and each later one takes."""
    system = MoLEFlow.create(PARTS[name], dim=768, grid=(2, 2), seed=0)
    counts = []
    for task in range(2):
        system.add_task(task)
        counts.append(sum(value.numel() for value in system.parameters()))
    return counts[0] + (tasks - 1) * (counts[1] - counts[0])


def test_numbers_of_the_designs_beside_main_on_one_denominator():
    main = parameters("main", tasks=15)
    assert main == 12_635_143 + 14 * 3_706_368
    found = {name: parameters(name, tasks=15) / main
             for name in ("main-no-lora", "main-separated", "main-all-shared")}  # fmt: skip
    assert found["main-no-lora"] == pytest.approx(2.47, abs=0.005)  # the notes: 2.5
    assert found["main-separated"] == pytest.approx(2.94, abs=0.005)  # the notes: 15
    assert found["main-all-shared"] == pytest.approx(0.14, abs=0.005)  # the notes: 0.07
    assert parameters("main", tasks=1) / main == pytest.approx(0.20, abs=0.005)


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        ({"branch": "linear", "lora_rank": 2}, "branch=linear has no rank, but lora_rank is 2"),
        ({"branch": "sc-lora", "lora_rank": 0}, "branch=sc-lora needs a rank"),
        ({"lora_rank": 5}, "lora_rank 5 is above 4"),
        ({"branch": "sc-lora", "lora_rank": 2, "lora_nodes": 1}, "lora_nodes"),
        ({"branch": "dense", "lora_rank": 2}, "branch"),
    ],
)
def test_branches_that_cannot_be_are_refused(parts, sentence):
    with pytest.raises(MechlabError, match=sentence):
        MoLEFlow.create(parts, dim=8, grid=GRID, seed=0)
