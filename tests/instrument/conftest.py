"""One loop with and without a recorder, for models that mechlab has never seen."""

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

import mechlab
from mechlab import recording


@dataclass
class Loop:
    """What three optimiser steps gave: outputs, gradients a step, and the parameters at the end."""

    outputs: list = field(default_factory=list)
    gradients: dict = field(default_factory=dict)
    parameters: dict = field(default_factory=dict)


def run(model, batches, *, optimiser_steps=3):
    """Train with SGD on batches (tuples of arguments), dropout drawn from seed 1."""
    torch.manual_seed(1)
    optimizer, found = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9), Loop()
    for arguments in batches[:optimiser_steps]:
        optimizer.zero_grad()
        output = model(*arguments)
        parts = output if isinstance(output, tuple) else (output,)
        found.outputs.append([part.detach().numpy().tobytes() for part in parts])
        sum(part.square().mean() for part in parts).backward()
        for name, parameter in model.named_parameters():
            if parameter.grad is not None:
                found.gradients.setdefault(name, []).append(parameter.grad.numpy().copy())
        optimizer.step()
    found.parameters = {name: value.detach().numpy().tobytes() for name, value in model.state_dict().items()}
    return found


@pytest.fixture
def foreign(tmp_path):
    """Train a model with and without recording; return the open recording and the plain loop.

    Outputs, gradients and final state must be the same bits, and recorded gradients those of the loop.
    """
    opened = []

    def check(make, batches, plan, **options):
        plain = run(make(), batches)
        gradients = [{"site": "*", "quantity": "gradient"}]
        with mechlab.record(
            model := make(), [*plan, *gradients], tmp_path / "recording", **options
        ) as recorder:
            seen = run(model, batches)
        assert seen.outputs == plain.outputs
        assert seen.parameters == plain.parameters
        found = recording.open(tmp_path / "recording")
        opened.append(found)
        recorded = {name: f"gradient/{name.removesuffix('.weight')}" for name in plain.gradients}
        assert {key for key in found if key.startswith("gradient/")} == set(recorded.values())
        for name, key in recorded.items():
            np.testing.assert_array_equal(found[key].read(), np.stack(plain.gradients[name]))
        assert not any(
            module._forward_hooks or module._forward_pre_hooks or module._backward_hooks
            for module in model.modules()
        )
        found.silent = recorder.statistics.silent
        return found, plain

    yield check
    for found in opened:
        found.close()


class Memory:
    """A store that keeps copies."""

    def __init__(self):
        self.rows = {}

    def append(self, key, values, *, axes, coordinates, unit, attributes=None):
        assert all(len(column) == len(values) for column in coordinates.values())
        self.rows.setdefault(key, []).append((np.array(values), axes, coordinates))

    def values(self, key):
        return np.concatenate([values for values, _, _ in self.rows[key]])

    def coordinate(self, key, name):
        return np.concatenate([coordinates[name] for _, _, coordinates in self.rows[key]]).tolist()

    def axes(self, key):
        return self.rows[key][0][1]


@pytest.fixture
def memory():
    return Memory()
