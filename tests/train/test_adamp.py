"""AdamP against a plain loop over rows, its two limits, and a stop and start."""

import math

import numpy as np
import pytest
import torch

from mechlab.train import checkpoint
from mechlab.train.adamp import AdamP, is_at_right_angle, projected
from mechlab.train.checkpoint import Position

RATE, DECAY, STEPS = 0.05, 0.1, 6


def plain(weight, gradients):
    """The algorithm of the paper in float64, number by number where it can be."""
    mean, square = np.zeros_like(weight), np.zeros_like(weight)
    share = []
    for count, gradient in enumerate(gradients, start=1):
        mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
        step = mean / (1 - 0.9**count) / (np.sqrt(square / (1 - 0.999**count)) + 1e-8)
        kept = 1.0
        if weight.ndim > 1:
            for shape in ((len(weight), -1), (1, -1)):
                w, g, p = (x.reshape(shape).copy() for x in (weight, gradient, step))
                norms = np.linalg.norm(w, axis=1) * np.linalg.norm(g, axis=1)
                cosines = [abs(a @ b) for a, b in zip(w, g, strict=True)] / norms
                if max(cosines) < 0.1 / math.sqrt(w.shape[1]):
                    for row in range(len(w)):
                        unit = w[row] / np.linalg.norm(w[row])
                        p[row] -= unit * (unit @ p[row])
                    step, kept = p.reshape(weight.shape), 0.1
                    break
        share.append(kept)
        weight = weight * (1 - RATE * DECAY * kept) - RATE * step
    return weight, share


def at_right_angles(rng, weight):
    """A random gradient without its part along each row of a weight."""
    gradient = rng.normal(size=weight.shape)
    rows = weight.reshape(len(weight), -1)
    flat = gradient.reshape(len(weight), -1)
    flat -= rows * ((rows * flat).sum(1) / (rows**2).sum(1))[:, None]
    return flat.reshape(weight.shape)


def stepped(weight, gradients, *, optimizer=AdamP):
    parameter = torch.nn.Parameter(torch.from_numpy(weight.copy()))
    found = optimizer([{"params": [parameter], "lr": RATE, "weight_decay": DECAY}])
    for gradient in gradients:
        parameter.grad = torch.from_numpy(gradient.copy())
        found.step()
    return parameter.detach().numpy()


@pytest.mark.parametrize("shape", [(5,), (3, 4), (2, 3, 2, 2)], ids=str)
def test_steps_are_those_of_a_plain_loop(rng, shape):
    weight = rng.normal(size=shape)
    gradients = [rng.normal(size=shape) for _ in range(STEPS)]
    expected, _ = plain(weight, gradients)
    np.testing.assert_allclose(stepped(weight, gradients), expected, rtol=1e-9, atol=1e-9)


def test_projected_steps_are_those_of_a_plain_loop(rng):
    weight = rng.normal(size=(4, 6))
    gradients = [at_right_angles(rng, weight)]
    expected, share = plain(weight, gradients)
    assert share == [0.1]
    np.testing.assert_allclose(stepped(weight, gradients), expected, rtol=1e-9, atol=1e-9)


def test_a_whole_tensor_is_projected_where_its_rows_are_not(rng):
    weight = np.array([[1.0, 0.0], [0.0, 1.0]])
    gradient = np.array([[1.0, 0.0], [0.0, -1.0]])  # along each row, and at a right angle on the whole
    expected, share = plain(weight, [gradient])
    assert share == [0.1]
    np.testing.assert_allclose(stepped(weight, [gradient]), expected, rtol=1e-9, atol=1e-9)


def test_a_gradient_along_the_weight_is_adamw(rng):
    weight = rng.normal(size=(4, 6))
    gradients = [weight * (1 + step) for step in range(STEPS)]
    np.testing.assert_allclose(
        stepped(weight, gradients), stepped(weight, gradients, optimizer=torch.optim.AdamW), rtol=1e-9
    )


def test_a_projected_step_keeps_the_length_to_first_order_and_a_bias_is_never_projected(rng):
    weight = torch.from_numpy(rng.normal(size=(4, 6)))
    gradient = torch.from_numpy(at_right_angles(rng, weight.numpy()))
    assert is_at_right_angle(weight, gradient)
    step, kept = projected(torch.from_numpy(rng.normal(size=(4, 6))), weight, gradient)
    assert kept == 0.1
    torch.testing.assert_close((step * weight).sum(1), torch.zeros(4, dtype=torch.float64), atol=1e-7, rtol=0)
    bias, across = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    given = torch.tensor([0.5, 0.5])
    assert torch.equal(projected(given, bias, across)[0], given)


def test_a_scaled_gradient_takes_the_same_step(rng):
    weight, gradient = rng.normal(size=(3, 4)), rng.normal(size=(3, 4))
    np.testing.assert_allclose(stepped(weight, [gradient]), stepped(weight, [100 * gradient]), rtol=1e-6)


def test_it_goes_on_where_it_stopped(rng, tmp_path):
    gradients = [torch.from_numpy(rng.normal(size=(3, 4)).astype("float32")) for _ in range(STEPS)]
    start = torch.from_numpy(rng.normal(size=(3, 4)).astype("float32"))

    def run(stop):
        layer = torch.nn.Linear(4, 3, bias=False)
        layer.weight.data = start.clone()
        groups = [{"params": [layer.weight], "lr": RATE, "weight_decay": DECAY}]
        optimizer = AdamP(groups)
        for step, gradient in enumerate(gradients):
            if step == stop:
                position = Position(task=0, epoch=0, step=step)
                checkpoint.save(tmp_path / "c", layer, position=position, optimizer=optimizer)
                optimizer = AdamP(groups)
                checkpoint.load_state(tmp_path / "c", optimizer)
            layer.weight.grad = gradient
            optimizer.step()
        return layer.weight.detach()

    assert torch.equal(run(3), run(-1))


def test_a_closure_is_refused():
    with pytest.raises(ValueError, match="without a closure"):
        AdamP([{"params": [torch.nn.Parameter(torch.zeros(2))]}]).step(lambda: 0.0)
