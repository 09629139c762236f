"""Gradients in half precision are those that backward left, whatever happens to them afterwards."""

import numpy as np
import pytest
import torch
from torch import nn

from mechlab.instrument import gradient as taps
from mechlab.instrument.half import halved
from mechlab.instrument.recorder import Recorder

PLAN = [{"site": "*", "quantity": "gradient", "dtype": "float16"}]


class Memory:
    """A store that keeps what it is given."""

    def __init__(self) -> None:
        self.values: dict[str, list[np.ndarray]] = {}
        self.scales: dict[str, list[float]] = {}
        self.steps: dict[str, list[int]] = {}

    def append(self, key, values, *, axes, coordinates, unit, attributes=None):
        self.values.setdefault(key, []).append(np.array(values[0]))
        self.scales.setdefault(key, []).append(float(coordinates["scale"][0]))
        self.steps.setdefault(key, []).append(int(coordinates["step"][0]))


@pytest.fixture(params=["copied", "cast at once"])
def network(request, monkeypatch):
    """Two Linears, of which the first is large or both are small."""
    monkeypatch.setattr(taps, "_SMALL", {"copied": 10**6, "cast at once": 0}[request.param])
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 2))


def plain(model: nn.Module, *inputs: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return the gradients of a plain loop over the inputs."""
    loss = sum(model(x).square().sum() for x in inputs)
    names, parameters = zip(*model.named_parameters(), strict=True)
    return dict(zip(names, torch.autograd.grad(loss, parameters), strict=True))


def clear(parameter: nn.Parameter) -> None:
    parameter.grad.zero_()


def keys(model: nn.Module) -> dict[str, str]:
    return {name: "gradient/" + name.removesuffix(".weight") for name, _ in model.named_parameters()}


def assert_recorded(memory: Memory, key: str, expected: torch.Tensor, *, at: int = 0) -> None:
    half = halved(expected)
    assert memory.scales[key][at] == half.scale
    np.testing.assert_array_equal(memory.values[key][at], half.stored.numpy())


def test_what_is_done_to_a_gradient_after_its_hook_is_not_recorded(network):
    x, memory = torch.randn(4, 6), Memory()
    expected = plain(network, x)
    with Recorder(network, PLAN, memory) as recorder, recorder.step(0):
        for parameter in network.parameters():  # after the recorder's own hooks
            parameter.register_post_accumulate_grad_hook(clear)
        network(x).square().sum().backward()
    for name, key in keys(network).items():
        assert_recorded(memory, key, expected[name])


def test_a_second_backward_of_a_step_gives_the_sum(network):
    x, y, memory = torch.randn(4, 6), torch.randn(4, 6), Memory()
    expected = plain(network, x, y)
    with Recorder(network, PLAN, memory) as recorder, recorder.step(0):
        network(x).square().sum().backward()
        network(y).square().sum().backward()
    for name, key in keys(network).items():
        assert len(memory.values[key]) == 1
        recorded = memory.values[key][0] / memory.scales[key][0]
        np.testing.assert_allclose(recorded, expected[name], rtol=2e-3, atol=1e-6)


def test_a_parameter_without_a_gradient_in_a_step_has_no_row_of_it(network):
    x, memory = torch.randn(4, 6), Memory()
    with Recorder(network, PLAN, memory) as recorder:
        for step, part in enumerate((network, network[0], network)):
            network.zero_grad(set_to_none=True)
            with recorder.step(step):
                part(x).square().sum().backward()
    assert memory.steps["gradient/0"] == [0, 1, 2]
    assert memory.steps["gradient/2"] == [0, 2]


def test_a_scale_that_changes_keeps_what_brain_floats_cannot_hold(network):
    model, x, memory = network.bfloat16(), torch.randn(4, 6).bfloat16(), Memory()
    expected = plain(model, x)["0.weight"]
    with Recorder(model, PLAN, memory) as recorder:
        for step, scale in enumerate((1.0, 3.0)):
            model.zero_grad()
            with recorder.step(step, loss_scale=scale):
                (model(x).square().sum()).backward()
    assert_recorded(memory, "gradient/0", expected)
    assert_recorded(memory, "gradient/0", expected.float() / 3, at=1)


def test_gradients_that_change_after_backward_can_be_read_again(network):
    x, memory = torch.randn(4, 6), Memory()
    expected = plain(network, x)
    with Recorder(network, PLAN, memory) as recorder, recorder.step(0):
        network(x).square().sum().backward()
        for parameter in network.parameters():
            parameter.grad.div_(4)
        for _, tap in recorder.taps:
            tap.take_again()
    for name, key in keys(network).items():
        assert_recorded(memory, key, expected[name] / 4)
