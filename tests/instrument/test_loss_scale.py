"""Gradients under a scaled loss, and over several backward passes, are those of a plain loop."""

import numpy as np
import pytest
import torch
from torch import nn

import mechlab
from mechlab import recording
from mechlab.errors import MechlabError
from mechlab.instrument.recorder import Recorder

PLAN = [
    {"site": "*", "quantity": "gradient"},
    {"site": "*", "quantity": "row_contribution"},
    {"site": "1", "quantity": "input_gradient"},
    {"site": "*", "quantity": "sample_gradient_norm", "reduction": "total"},
    {"site": "*", "quantity": "gradient_cosine"},
    {"site": "0", "quantity": "row_cosine"},
]


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2))


def batches():
    draw = torch.Generator().manual_seed(1)
    return [torch.randn(6, 4, generator=draw) for _ in range(3)]


def train(path, *, scaler=None, plan=PLAN):
    """Train under a recorder; return the gradients that the optimiser saw."""
    model, seen = network(), []
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scale = 1.0 if scaler is None else scaler.get_scale
    with mechlab.record(model, plan, path, loss_scale=scale):
        for x in batches():
            optimizer.zero_grad()
            loss = model(x).square().sum()
            (loss if scaler is None else scaler.scale(loss)).backward()
            if scaler is None:
                optimizer.step()
            else:
                scaler.unscale_(optimizer)
                scaler.step(optimizer)
                scaler.update()
            seen.append([p.grad.clone().numpy() for p in model.parameters()])
    return seen


def test_a_scaler_changes_nothing_that_is_recorded(tmp_path):
    scaler = torch.amp.GradScaler(
        "cpu", init_scale=2.0**12, growth_interval=1
    )  # the scale doubles every step
    train(tmp_path / "plain")
    gradients = train(tmp_path / "scaled", scaler=scaler)
    assert scaler.get_scale() == 2.0**15
    with recording.open(tmp_path / "plain") as plain, recording.open(tmp_path / "scaled") as scaled:
        assert set(plain) == set(scaled)
        for key in plain:
            np.testing.assert_array_equal(scaled[key].read(), plain[key].read(), err_msg=key)
        np.testing.assert_array_equal(scaled["gradient/0"].read(), [step[0] for step in gradients])


def test_several_backward_passes_of_one_step_accumulate_as_in_a_plain_loop(tmp_path):
    plain = network()
    parts = [part for x in batches() for part in x.split(2)]
    for part in parts:
        plain(part).square().sum().backward()

    class Memory:
        rows: dict = {}  # noqa: RUF012

        def append(self, key, values, *, axes, coordinates, unit, attributes=None):
            self.rows.setdefault(key, []).append(np.array(values))

    model, memory = network(), Memory()
    with Recorder(model, PLAN[:1], memory) as recorder, recorder.step(0):
        for part in parts:
            model(part).square().sum().backward()
    for name, parameter in plain.named_parameters():
        (values,) = memory.rows[f"gradient/{name.removesuffix('.weight')}"]
        np.testing.assert_array_equal(values[0], parameter.grad.numpy())


@pytest.mark.parametrize("scale", [0.0, -1.0, float("inf"), float("nan")])
def test_a_scale_that_is_none_is_refused(tmp_path, scale):
    model = network()
    with (
        pytest.raises(MechlabError, match=r"the loss scale is .*; give a finite number above 0"),
        mechlab.record(model, PLAN[:1], tmp_path / "recording", loss_scale=scale),
    ):
        model(batches()[0])
