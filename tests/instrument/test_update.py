"""Updates are what moved, not what the gradient said."""

import numpy as np
import pytest
import torch
from torch import nn

from mechlab.instrument.recorder import Recorder


def recorded(model, optimizer, memory, *, steps=2, loss):
    plan = [{"site": "*", "quantity": "update", "dtype": "float64"}]
    with Recorder(model, plan, memory) as recorder:
        for step in range(steps):
            with recorder.step(step):
                optimizer.zero_grad()
                loss(model).backward()
                optimizer.step()


def test_decay_moves_a_weight_that_has_no_gradient(memory):
    model = nn.Linear(4, 3, bias=False).double()
    start = model.weight.detach().clone().numpy()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5, weight_decay=0.2)
    recorded(model, optimizer, memory, loss=lambda model: 0 * model(torch.ones(1, 4).double()).sum())
    expected = [-0.1 * start, -0.1 * 0.9 * start]
    np.testing.assert_allclose(memory.values("update/weight"), expected, rtol=1e-12)


def test_decoupled_decay_and_adam_add_up(memory):
    model = nn.Linear(4, 3, bias=False).double()
    start = model.weight.detach().clone().numpy()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.3, eps=0.0)
    recorded(model, optimizer, memory, steps=1, loss=lambda model: model(torch.ones(1, 4).double()).sum())
    # Adam's first step is the learning rate against the gradient's sign.
    np.testing.assert_allclose(memory.values("update/weight")[0], -0.01 - 0.01 * 0.3 * start, rtol=1e-9)


def test_momentum_moves_on_and_a_step_that_is_not_due_is_not_counted(memory):
    model = nn.Linear(1, 1, bias=False).double()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0, momentum=0.5)
    plan = [{"site": "*", "quantity": "update", "every": 2, "dtype": "float64"}]
    with Recorder(model, plan, memory) as recorder:
        for step in range(3):
            with recorder.step(step):
                optimizer.zero_grad()
                model(torch.ones(1, 1).double()).sum().backward()
                optimizer.step()
    assert memory.coordinate("update/weight", "step") == [0, 2]
    np.testing.assert_allclose(memory.values("update/weight").ravel(), [-1.0, -1.75])


@pytest.mark.parametrize("quantity", ["update", "weight_delta"])
@pytest.mark.parametrize("size", [1e-20, 1e-9, 1.0, 1e9])
def test_a_change_of_any_size_keeps_its_digits_in_fp16_and_what_is_lost_is_counted(memory, quantity, size):
    model = nn.Linear(3, 2, bias=False)
    nn.init.zeros_(model.weight)
    change = size * torch.tensor([[1.0, -1.7, 1e-12], [0.3, 0.0, 1e-3]])
    plan = [{"site": "*", "quantity": quantity, "dtype": "float16"}]
    with Recorder(model, plan, memory) as recorder, recorder.step(0), torch.no_grad():
        model.weight += change
    key = f"{quantity}/weight"
    scale, lost = memory.coordinate(key, "scale")[0], memory.coordinate(key, "underflow")
    expected = change.double().numpy()
    expected[0, 2] = 0  # too far below the largest
    kept = memory.values(key)[0].astype(np.float64) / scale
    np.testing.assert_allclose(kept, expected, rtol=2**-10)
    assert (lost, memory.coordinate(key, "overflow")) == ([1], [0])
    assert np.log2(scale) % 1 == 0


def test_a_change_that_is_not_finite_is_counted(memory):
    model = nn.Linear(3, 2, bias=False)
    plan = [{"site": "*", "quantity": "update", "dtype": "float16"}]
    with Recorder(model, plan, memory) as recorder, recorder.step(0), torch.no_grad():
        model.weight[0, 1] = float("inf")
    assert memory.coordinate("update/weight", "overflow") == [1]


def test_other_precisions_have_no_scale(memory):
    model = nn.Linear(3, 2, bias=False)
    with Recorder(model, [{"site": "*", "quantity": "update"}], memory) as recorder, recorder.step(0):
        pass
    assert memory.rows["update/weight"][0][2].keys() == {"step"}
