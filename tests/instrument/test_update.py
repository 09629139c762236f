"""Updates are what moved, not what the gradient said."""

import numpy as np
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
