"""Row contributions equal the norms of terms that autograd gives row by row."""

import numpy as np
import pytest
import torch
from torch import nn

from mechlab.errors import MechlabError
from mechlab.instrument.recorder import Recorder
from mechlab.specs import PlanEntry


class Memory:
    """A store that keeps copies."""

    def __init__(self):
        self.rows = {}

    def append(self, key, values, *, axes, coordinates, unit, attributes=None):
        assert all(len(column) == len(values) for column in coordinates.values())
        self.rows.setdefault(key, []).append(
            (np.array(values), axes, {k: np.array(v) for k, v in coordinates.items()})
        )

    def one(self, key):
        ((values, _, _),) = self.rows[key]
        return values


class LowRank(nn.Module):
    """W x + b + up(scale * down(x))."""

    def __init__(self):
        super().__init__()
        self.base, self.down, self.up = nn.Linear(5, 4), nn.Linear(5, 2, bias=False), nn.Linear(2, 4)

    def forward(self, x):
        return self.base(x) + self.up(self.down(x) * 0.25)


def network(dtype=torch.float64):
    torch.manual_seed(0)
    return nn.Sequential(LowRank(), nn.Tanh(), nn.Linear(4, 3), nn.ReLU(inplace=True), nn.Linear(3, 2)).to(
        dtype
    )


def row_losses(output):
    return output.square().sum(dim=-1)


def naive(model, x):
    """Norm of each row's own gradient, parameter by parameter, and of all of them together."""
    flat, norms, totals = x.reshape(-1, x.shape[-1]), {}, []
    for row in flat:
        model.zero_grad()
        row_losses(model(row.unsqueeze(0))).sum().backward()
        squares = {name: float(p.grad.double().square().sum()) for name, p in model.named_parameters()}
        for name, square in squares.items():
            norms.setdefault(name, []).append(square**0.5)
        totals.append(sum(squares.values()) ** 0.5)
    shape = x.shape[:-1]
    return {name: np.reshape(values, shape) for name, values in norms.items()}, np.reshape(totals, shape)


def recorded(
    model,
    x,
    *,
    quantity="row_contribution",
    dtype="float64",
    reduction=None,
    site="*",
    grid=None,
    images=None,
):
    memory = Memory()
    plan = [PlanEntry(site=site, quantity=quantity, dtype=dtype, reduction=reduction)]
    with Recorder(model, plan, memory, grid=grid) as recorder:
        items = None if images is None else np.arange(images)
        with recorder.step(items=items):
            row_losses(model(x)).sum().backward()
    return memory


@pytest.mark.parametrize("quantity", ["row_contribution", "patch_gradient_norm"])
def test_contributions_equal_the_naive_loop_of_every_layer(quantity):
    model, x = network(), torch.randn(2, 3, 4, 5, dtype=torch.float64)
    expected, _ = naive(model, x)
    memory = recorded(model, x, quantity=quantity)
    assert set(memory.rows) == {f"{quantity}/{name}" for name in ("0.base", "0.down", "0.up", "2", "4")}
    for name in ("0.base", "0.down", "0.up", "2", "4"):
        np.testing.assert_allclose(memory.one(f"{quantity}/{name}"), expected[f"{name}.weight"], rtol=1e-12)
    assert memory.rows[f"{quantity}/2"][0][1] == ("item", "row", "column")


def test_the_total_is_the_norm_of_a_rows_whole_gradient_with_biases():
    model, x = network(), torch.randn(2, 3, 4, 5, dtype=torch.float64)
    memory = recorded(model, x, reduction="total")
    np.testing.assert_allclose(memory.one("row_contribution/total"), naive(model, x)[1], rtol=1e-12)
    assert set(memory.rows) == {"row_contribution/total"}


def test_the_total_of_many_layers_is_exact():
    torch.manual_seed(0)
    layers = [part for _ in range(70) for part in (nn.Linear(3, 3), nn.Tanh())]
    model, x = nn.Sequential(*layers).double(), torch.randn(2, 2, 3, dtype=torch.float64)
    memory = recorded(model, x, reduction="total")
    np.testing.assert_allclose(memory.one("row_contribution/total"), naive(model, x)[1], rtol=1e-12)


def test_float32_agrees_with_float64_to_five_digits():
    model, x = network(torch.float32), torch.randn(2, 3, 4, 5)
    memory = recorded(model, x, dtype="float32", reduction="total")
    expected = naive(network(torch.float64), x.double())[1]
    np.testing.assert_allclose(memory.one("row_contribution/total"), expected, rtol=1e-5)


def test_contributions_add_up_to_the_parameters_gradient_when_all_rows_are_alike():
    model = network()
    x = torch.randn(1, 1, 1, 5, dtype=torch.float64).expand(2, 3, 4, 5).contiguous()
    total = recorded(model, x, reduction="total").one("row_contribution/total")
    gradient = torch.cat([p.grad.flatten() for p in model.parameters()])
    np.testing.assert_allclose(total.sum(), float(gradient.norm()), rtol=1e-12)


def test_scaling_the_loss_scales_contributions():
    model, x = network(), torch.randn(2, 3, 4, 5, dtype=torch.float64)
    one = recorded(model, x, site="4").one("row_contribution/4")
    memory = Memory()
    with (
        Recorder(
            model, [PlanEntry(site="4", quantity="row_contribution", dtype="float64")], memory
        ) as recorder,
        recorder.step(),
    ):
        (3 * row_losses(model(x)).sum()).backward()
    np.testing.assert_allclose(memory.one("row_contribution/4"), 3 * one, rtol=1e-12)


@pytest.mark.parametrize(
    ("grid", "shape", "axes"),
    [
        pytest.param((3, 4), (2, 3, 4), ("item", "row", "column"), id="with a grid"),
        pytest.param(None, (2, 12), ("item", "row"), id="without a grid"),
        pytest.param((5, 5), (2, 12), ("item", "row"), id="with a grid that does not fit"),
    ],
)
def test_flattened_patches_are_folded_back_to_images(grid, shape, axes):
    model, x = network(), torch.randn(2, 3, 4, 5, dtype=torch.float64)
    expected = recorded(model, x).one("row_contribution/2")
    memory = recorded(model, x.reshape(24, 5), grid=grid, images=2)
    assert memory.rows["row_contribution/2"][0][1] == axes
    np.testing.assert_allclose(memory.one("row_contribution/2"), expected.reshape(shape), rtol=1e-12)


def test_an_input_that_is_changed_in_place_afterwards_is_seen_as_it_was():
    class Overwriting(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3)

        def forward(self, x):
            y = self.first(x)
            with torch.no_grad():
                x.mul_(2)
            return y + self.second(x)

    torch.manual_seed(0)
    model, x = Overwriting().double(), torch.randn(4, 3, dtype=torch.float64)
    before = x.norm(dim=-1).numpy()
    memory = Memory()
    with (
        Recorder(
            model, [PlanEntry(site="*", quantity="row_contribution", dtype="float64")], memory
        ) as recorder,
        recorder.step(),
    ):
        model.requires_grad_(False)
        model.first.bias.requires_grad_(True)  # its weight's input is overwritten, so only the bias can train
        model.second.bias.requires_grad_(True)
        y = model(x)
        y.sum().backward()
    np.testing.assert_allclose(memory.one("row_contribution/first"), before * 3**0.5, rtol=1e-12)
    np.testing.assert_allclose(memory.one("row_contribution/second"), 2 * before * 3**0.5, rtol=1e-12)


def test_a_layer_that_runs_twice_is_refused():
    layer = nn.Linear(3, 3)
    model = nn.Sequential(layer, nn.ReLU(), layer)
    with pytest.raises(MechlabError, match="'0' runs twice in one step"):
        recorded(model, torch.randn(2, 3))


def test_layers_that_share_a_weight_are_refused():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    with pytest.raises(MechlabError, match="'0' and '1' share one weight"):
        recorded(model, torch.randn(2, 3))


def test_two_backward_passes_in_one_step_are_refused():
    model, memory = nn.Sequential(nn.Linear(3, 3)), Memory()
    with (
        pytest.raises(MechlabError, match="two backward passes went through '0'"),
        Recorder(model, [PlanEntry(site="0", quantity="row_contribution")], memory) as recorder,
        recorder.step(),
    ):
        loss = model(torch.randn(2, 3)).sum()
        loss.backward(retain_graph=True)
        loss.backward()
    assert not model[0]._forward_hooks


@pytest.mark.parametrize(
    "layer",
    [nn.Conv2d(2, 2, 3), nn.BatchNorm1d(2), nn.MultiheadAttention(2, 1), nn.GRU(2, 2)],
    ids=["convolution", "batch norm", "attention", "recurrent"],
)
def test_rows_that_see_one_another_have_no_patch_gradient_norm(layer):
    model = nn.Sequential(nn.Linear(3, 3), layer)
    with pytest.raises(MechlabError, match="ask for quantity 'row_contribution'"):
        recorded(model, torch.randn(2, 3), quantity="patch_gradient_norm")


def test_pointwise_convolutions_and_frozen_batch_norm_keep_rows_apart():
    model = nn.Sequential(nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2), nn.Linear(3, 3)).eval()
    memory = recorded(model, torch.randn(4, 2, 3, 3), quantity="patch_gradient_norm", dtype="float32")
    assert memory.one("patch_gradient_norm/2").shape == (4, 2, 3)


def test_a_total_joins_layers_that_see_patches_flattened_and_in_their_grid():
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(5, 4), nn.Linear(4, 3)

        def forward(self, x):
            return self.second(self.first(x).reshape(-1, 4)).reshape(*x.shape[:-1], 3)

    torch.manual_seed(0)
    model, x = Both().double(), torch.randn(2, 3, 4, 5, dtype=torch.float64)
    memory = recorded(model, x, reduction="total", grid=(3, 4), images=2)
    expected = naive(nn.Sequential(model.first, model.second), x)[1]
    np.testing.assert_allclose(memory.one("row_contribution/total"), expected, rtol=1e-12)


def test_a_total_over_layers_with_other_rows_is_refused():
    class Pooling(nn.Module):
        def __init__(self):
            super().__init__()
            self.patch, self.image = nn.Linear(3, 3), nn.Linear(3, 3)

        def forward(self, x):
            return self.image(self.patch(x).mean(dim=(1, 2)))

    with pytest.raises(MechlabError, match="a total needs layers with the same rows"):
        recorded(Pooling(), torch.randn(2, 4, 4, 3), reduction="total")


def test_fp16_contributions_carry_a_power_of_two_and_counts():
    model, x = network(torch.float32), torch.randn(2, 3, 4, 5)
    exact = recorded(model, x, dtype="float64").one("row_contribution/2")
    memory = Memory()
    with (
        Recorder(
            model, [PlanEntry(site="2", quantity="row_contribution", dtype="float16")], memory
        ) as recorder,
        recorder.step(),
    ):
        (1e-9 * row_losses(model(x)).sum()).backward()
    ((values, _, coordinates),) = memory.rows["row_contribution/2"]
    assert values.dtype == np.float16
    scale = coordinates["scale"]
    assert np.all(np.log2(scale) == np.round(np.log2(scale)))
    np.testing.assert_allclose(values.astype(np.float64) / scale[:, None, None], 1e-9 * exact, rtol=1e-3)
    assert coordinates["overflow"].tolist() == coordinates["underflow"].tolist() == [0, 0]
