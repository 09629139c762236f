"""Large arrays on their way to a real recording, in buffers that go round: the bits of a plain loop."""

import numpy as np
import pytest
import torch
from torch import nn

import mechlab
from mechlab import recording
from mechlab.errors import MechlabError
from mechlab.instrument.half import halved
from mechlab.instrument.recorder import Recorder
from mechlab.recording.rooms import Rooms

WIDTH, ROWS, STEPS = 200, 100, 6  # 160 kB a weight and 80 kB an output in float32


@pytest.fixture(autouse=True)
def scribbled(monkeypatch):
    """Scribble over buffers that are given back; say which are lent."""
    plain, lend, count = Rooms.give_back, Rooms.lend, []

    def give_back(this, room):
        room[:] = 0xA5
        plain(this, room)

    def counted(this, nbytes):
        count.append(nbytes)
        return lend(this, nbytes)

    monkeypatch.setattr(Rooms, "give_back", give_back)
    monkeypatch.setattr(Rooms, "lend", counted)
    return count


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(inplace=True), nn.Linear(WIDTH, WIDTH))


def loop(model, *, passes=1):
    """Train; return outputs of the first layer and gradients of the last, step by step."""
    optimizer, outputs, gradients = torch.optim.SGD(model.parameters(), lr=0.1), [], []
    hook = model[0].register_forward_hook(lambda module, given, output: outputs.append(output.clone()))
    draw = torch.Generator().manual_seed(1)
    for step in range(STEPS):
        optimizer.zero_grad()
        x = torch.randn(ROWS, WIDTH, generator=draw)
        loss = model(x).square().mean() * 10.0 ** (-3 * step)  # another power of two each step
        for _ in range(passes):
            (loss * 1000).backward(retain_graph=True)
        gradients.append(model[2].weight.grad.clone())
        optimizer.step()
    hook.remove()
    return torch.cat(outputs).detach().numpy(), gradients


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
def test_large_outputs_and_gradients_come_back_bit_by_bit(tmp_path, scribbled, dtype):
    plan = [
        {"site": "0", "quantity": "activation", "dtype": dtype},
        {"site": "2.weight", "quantity": "gradient", "dtype": dtype},
        {"site": "0.weight", "quantity": "update"},
    ]
    with mechlab.record(model := network(), plan, tmp_path / "r"):
        loop(model)
    outputs, gradients = loop(network())
    with recording.open(tmp_path / "r") as found:
        found.verify()
        assert found["activation/0"].read().tobytes() == outputs.astype(dtype).tobytes()
        if dtype == "float16":
            expected = [halved(gradient) for gradient in gradients]
            assert found["gradient/2"].coordinates["scale"].tolist() == [half.scale for half in expected]
            assert len({half.scale for half in expected}) == STEPS
            gradients = [half.stored for half in expected]
        expected = torch.stack(gradients).numpy().astype(dtype)
        assert found["gradient/2"].read().tobytes() == expected.tobytes()
    assert len(scribbled) >= STEPS, "lent buffers were in use"


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_second_backward_pass_fills_the_same_buffer(tmp_path, scribbled, dtype):
    plan = [{"site": "*.weight", "quantity": "gradient", "dtype": dtype}]
    with mechlab.record(model := network(), plan, tmp_path / "r"):
        loop(model, passes=3)
    _, gradients = loop(network(), passes=3)
    with recording.open(tmp_path / "r") as found:
        read = found["gradient/2"].read()
        if dtype == "float16":
            halves = [halved(gradient) for gradient in gradients]
            assert found["gradient/2"].coordinates["scale"].tolist() == [half.scale for half in halves]
            assert found["gradient/2"].coordinates["underflow"].tolist() == [
                half.underflow for half in halves
            ]
            gradients = [half.stored for half in halves]
        assert read.tobytes() == torch.stack(gradients).numpy().tobytes()
    assert len(scribbled) == 2 * STEPS, "one buffer a weight and step"


def test_a_step_that_breaks_leaves_the_others_whole(tmp_path):
    class Store:
        """A writer's buffers, and no writer."""

        def __init__(self):
            self.rooms, self.rows = Rooms(limit_bytes=2**28), []

        def lend(self, nbytes):
            return self.rooms.lend(nbytes)

        def append(self, key, values, *, axes, coordinates, unit, attributes=None, room=None):
            self.rows.append((coordinates["step"].tolist(), values.copy()))
            self.rooms.give_back(room)

    model, store, x = network(), Store(), torch.randn(ROWS, WIDTH)
    with Recorder(model, [{"site": "2.weight", "quantity": "gradient"}], store) as recorder:
        for step in range(3):
            model.zero_grad()
            if step == 1:
                with pytest.raises(ZeroDivisionError), recorder.step(step):
                    model(x).sum().backward()
                    raise ZeroDivisionError
                continue
            with recorder.step(step):
                (model(x).sum() * 2**step).backward()
        model.zero_grad()
        with pytest.raises(ZeroDivisionError), recorder.step(3):
            model(x).sum().backward()
            raise ZeroDivisionError
        with recorder.step(4):
            model(x)  # without a backward pass there is no gradient, and none of the step before
    assert [steps for steps, _ in store.rows] == [[0], [2]]
    np.testing.assert_array_equal(store.rows[1][1], 4 * store.rows[0][1])


def test_gradients_of_a_bfloat16_model_are_halved_exactly(tmp_path):
    model = network().to(torch.bfloat16)
    plan = [{"site": "0", "quantity": "gradient", "dtype": "float16"}]
    with mechlab.record(model, plan, tmp_path / "r"):
        (model(torch.ones(2, WIDTH, dtype=torch.bfloat16)).sum() * 1e-4).backward()
    with recording.open(tmp_path / "r") as found:
        scale = found["gradient/0"].coordinates["scale"][0]
        kept = found["gradient/0"].read()[0].astype(np.float64) / scale
    exact = model[0].weight.grad.double().numpy()
    near = np.abs(exact) > np.abs(exact).max() * 2.0**-20
    np.testing.assert_array_equal(kept[near], exact[near])  # bfloat16 has fewer digits than fp16


@pytest.mark.parametrize("reduction", [None, "norm", "moments", "covariance", "quantiles", "subsample:2"])
def test_a_batch_without_images_gives_no_rows(tmp_path, reduction):
    plan = [{"site": "0", "quantity": "activation", "reduction": reduction}]
    with mechlab.record(model := network(), plan, tmp_path / "r"):
        model(torch.ones(0, 3, WIDTH))
        model(torch.ones(2, 3, WIDTH))
    with recording.open(tmp_path / "r") as found:
        assert {step for key in found for step in found[key].coordinates["step"].tolist()} == {1}


def test_a_schedule_that_lies_behind_the_announced_steps_is_told_before_the_loop(tmp_path):
    plan = [{"site": "2", "quantity": "activation", "at": [99]}]
    with (
        pytest.raises(MechlabError, match=r"never fires: at = \[99\], and there are 6 steps.*name earlier"),
        mechlab.record(network(), plan, tmp_path / "r", steps=STEPS),
    ):
        pytest.fail("the loop has begun")
    assert not list(tmp_path.iterdir())


def test_a_schedule_that_did_not_fire_is_told_at_the_end_and_the_rest_is_kept(tmp_path):
    plan = [
        {"site": "0", "quantity": "activation"},
        {"site": "2", "quantity": "activation", "at": [STEPS]},
    ]
    model = network()
    with (
        pytest.raises(MechlabError, match=r"'2' never fires: at = \[6\], and there are 6 steps"),
        mechlab.record(model, plan, tmp_path / "r"),
    ):
        loop(model)
    with recording.open(tmp_path / "r") as found:
        assert set(found) == {"activation/0"}
        assert len(found["activation/0"]) == STEPS * ROWS


@pytest.mark.parametrize("quantity", ["gradient", "row_contribution"])
def test_fp16_of_a_tiny_loss_keeps_its_digits_under_a_scale(memory, quantity):
    model, x = network(), torch.randn(3, WIDTH)
    plan = [{"site": "0", "quantity": quantity, "dtype": dtype} for dtype in ("float16", "float32")]
    for number, entry in enumerate(plan):
        model.zero_grad()
        with Recorder(model, [entry], memory) as recorder, recorder.step(number):
            (model(x).square().sum() * 1e-12).backward()
    (half, _, coordinates), (exact, _, _) = memory.rows[f"{quantity}/0"]
    assert (half.dtype, exact.dtype) == (np.float16, np.float32)
    np.testing.assert_allclose(half / coordinates["scale"][0], exact, rtol=2**-10, atol=exact.max() * 2**-24)


def test_what_fp16_loses_is_counted_beside_the_values(memory):
    model, x = nn.Linear(3, 2, bias=False), torch.tensor([[1.0, 1e-12, 0.0]])
    with Recorder(model, [{"site": "*", "quantity": "gradient", "dtype": "float16"}], memory) as recorder:
        for step in range(2):
            model.zero_grad()
            with recorder.step(step):
                (model(x).sum() * (float("inf") if step else 1.0)).backward()
    assert memory.coordinate("gradient/weight", "underflow") == [2, 0]
    assert memory.coordinate("gradient/weight", "overflow") == [0, 6]  # inf, and inf times 0


def test_a_loss_scale_is_taken_out_of_half_gradients_in_single_precision(memory):
    model = nn.Linear(1, 1, bias=False).half()
    with (
        Recorder(model, [{"site": "*", "quantity": "gradient"}], memory) as recorder,
        recorder.step(0, loss_scale=1024.0),
    ):
        (model(torch.ones(1, 1, dtype=torch.float16)) * 2.0**-20).sum().backward()
    assert memory.values("gradient/weight").ravel().tolist() == [2.0**-30]
