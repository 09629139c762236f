"""Cosines between rows and between steps equal those of gradients that are made and compared."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from mechlab.errors import MechlabError
from mechlab.instrument.gradient_cosine import cosine
from mechlab.instrument.recorder import Recorder
from mechlab.instrument.row_cosine import ROWS, spaced, term_cosines


class Memory:
    """A store that keeps copies."""

    def __init__(self):
        self.rows = {}

    def append(self, key, values, *, axes, coordinates, unit, attributes=None):
        self.rows.setdefault(key, []).append((np.array(values), axes, dict(coordinates)))

    def values(self, key):
        return np.concatenate([values for values, _, _ in self.rows[key]])


def step(model, x, quantity, *, site="0", dtype="float64", **moment):
    memory = Memory()
    plan = [{"site": site, "quantity": quantity, "dtype": dtype}]
    with Recorder(model, plan, memory) as recorder, recorder.step(**moment):
        model(x).square().sum().backward()
    return memory


def compared(gradients):
    flat = torch.stack([gradient.flatten() for gradient in gradients])
    flat = flat / flat.norm(dim=1, keepdim=True)
    return (flat @ flat.T).numpy()


def terms_of(layer, x, places):
    """Weight gradients of single places of the output, by autograd."""
    y = layer(x)
    b = torch.autograd.grad(y.square().sum(), y, retain_graph=True)[0]
    found = []
    for at in places:
        alone = torch.zeros_like(b)
        alone[at] = b[at]
        found.append(torch.autograd.grad(y, layer.weight, alone, retain_graph=True)[0])
    return found


def test_cosines_of_rows_equal_those_of_their_terms():
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(3, 4)).double(), torch.randn(5, 2, 3, dtype=torch.float64)
    memory = step(model, x, "row_cosine", step=7)
    ((found, axes, coordinates),) = memory.rows["row_cosine/0"]
    assert (axes, found.shape, coordinates["step"].tolist()) == (
        ("step", "draw", "draw_other"),
        (1, ROWS, ROWS),
        [7],
    )
    expected = compared(terms_of(model[0], x, [(n, t) for n in range(5) for t in range(2)]))
    np.testing.assert_allclose(found[0, :10, :10], expected, atol=1e-12)
    assert np.isnan(found[0, 10:]).all() and np.isnan(found[0, :, 10:]).all()


@pytest.mark.parametrize(
    "conv",
    [nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2), nn.Conv2d(4, 2, (2, 3), dilation=2)],
    ids=["groups, stride", "dilation"],
)
def test_cosines_of_a_convolutions_places_equal_those_of_their_terms(conv):
    torch.manual_seed(0)
    model, x = nn.Sequential(conv).double(), torch.randn(4, 4, 11, 9, dtype=torch.float64)
    found = step(model, x, "row_cosine").values("row_cosine/0")[0]
    shape = conv(x).shape
    places = [np.unravel_index(k, (shape[0], *shape[2:])) for k in spaced(shape[0] * shape[2] * shape[3])]
    expected = compared(terms_of(conv, x, [(n, slice(None), i, j) for n, i, j in places]))
    count = len(places)
    np.testing.assert_allclose(found[:count, :count], expected, atol=1e-12)
    assert count == ROWS


def test_rows_that_pull_alike_and_apart_are_told_from_one_another():
    model = nn.Sequential(nn.Linear(2, 1, bias=False)).double()
    x = torch.tensor([[1.0, 2.0], [2.0, 4.0], [2.0, -1.0], [0.0, 0.0]], dtype=torch.float64)
    found = step(model, x, "row_cosine").values("row_cosine/0")[0]
    assert found[0, 1] == pytest.approx(1.0)
    assert found[0, 2] == pytest.approx(0.0, abs=1e-12)
    assert np.isnan(found[3, 0])  # a term of 0 has no direction


def test_neither_the_scale_of_rows_nor_of_the_loss_matters():
    torch.manual_seed(0)
    a, b = torch.randn(6, 1, 4), torch.randn(6, 1, 3)
    np.testing.assert_allclose(term_cosines(1e-30 * a, 1e20 * b), term_cosines(a, b), rtol=1e-6)


@pytest.mark.parametrize(("count", "chosen"), [(10, 10), (64, 64), (1000, 64)])
def test_chosen_rows_are_distinct_and_evenly_spaced(count, chosen):
    found = spaced(count)
    assert len(set(found)) == len(found) == chosen
    gaps = np.diff(found)
    assert found[0] == 0 and gaps.max() - gaps.min() <= 1
    assert count - found[-1] <= gaps.max()  # they reach the end


def test_from_single_images_cosines_grow_along_the_item():
    memory = step(
        nn.Sequential(nn.Linear(3, 2)), torch.randn(1, 5, 3), "row_cosine", items=np.array([4]), stage=0
    )
    ((_, axes, coordinates),) = memory.rows["row_cosine/0"]
    assert axes[0] == "item" and coordinates["item"].tolist() == [4]


def test_cosines_between_steps_equal_those_of_recorded_gradients():
    torch.manual_seed(0)
    model, memory = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)), Memory()
    plan = [{"site": "*", "quantity": "gradient_cosine", "dtype": "float64", "every": 2}]
    optimizer, kept = torch.optim.SGD(model.parameters(), lr=0.1), []
    with Recorder(model, plan, memory) as recorder:
        for number in range(7):
            with recorder.step(number):
                optimizer.zero_grad()
                model(torch.randn(5, 3)).square().sum().backward()
                kept.append(model[2].weight.grad.clone().double().flatten())
                optimizer.step()
    found = memory.values("gradient_cosine/2")
    recorded = kept[::2]
    expected = [float(one @ two / one.norm() / two.norm()) for one, two in pairwise(recorded)]
    assert np.isnan(found[0]) and len(found) == 4
    np.testing.assert_allclose(found[1:], expected, rtol=1e-12)
    assert [int(c["step"][0]) for _, _, c in memory.rows["gradient_cosine/2"]] == [0, 2, 4, 6]


def test_a_gradient_has_cosine_one_with_itself_and_minus_one_with_its_opposite():
    gradient = torch.randn(40, 30)
    assert float(cosine(gradient, 3e-25 * gradient)) == pytest.approx(1.0)
    assert float(cosine(gradient, -gradient)) == pytest.approx(-1.0)
    assert torch.isnan(cosine(gradient, 0 * gradient))


def test_images_of_a_checkpoint_have_no_step_before():
    with pytest.raises(MechlabError, match="gradient_cosine compares the steps of a training"):
        step(nn.Sequential(nn.Linear(3, 2)), torch.randn(1, 3), "gradient_cosine", items=np.array([0]))


def test_parameters_that_do_not_train_have_no_cosine():
    model = nn.Sequential(nn.Linear(3, 2)).requires_grad_(False)
    with pytest.raises(MechlabError, match="none of the 2 parameters at '0' is trained"):
        step(model, torch.randn(1, 3), "gradient_cosine")
