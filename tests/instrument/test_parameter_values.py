"""How values of parameters are named: axes of any layer, units of powers, the loss that they come from."""

import pytest
import torch
from torch import nn

import mechlab
from mechlab import recording
from mechlab.errors import MechlabError
from mechlab.instrument.parameter_values import raised
from mechlab.instrument.recorder import Recorder


@pytest.mark.parametrize(
    ("layer", "shape", "axes"),
    [
        pytest.param(nn.Linear(3, 2), (1, 3), ("fan_out", "fan_in"), id="linear"),
        pytest.param(nn.Conv1d(3, 2, 2), (1, 3, 4), ("fan_out", "fan_in", "height"), id="one dimension"),
        pytest.param(
            nn.Conv2d(3, 2, 2), (1, 3, 4, 4), ("fan_out", "fan_in", "height", "width"), id="two dimensions"
        ),
        pytest.param(
            nn.Conv3d(3, 2, 2),
            (1, 3, 4, 4, 4),
            ("fan_out", "fan_in", "width_0", "width_1", "width_2"),
            id="three dimensions",
        ),
    ],
)
@pytest.mark.parametrize("quantity", ["gradient", "update", "weight"])
def test_parameters_of_any_layer_have_named_axes(tmp_path, layer, shape, axes, quantity):
    with mechlab.record(layer, [{"site": "*", "quantity": quantity}], tmp_path / "r"):
        layer(torch.ones(shape)).sum().backward()
    with recording.open(tmp_path / "r") as found:
        weight, bias = found[f"{quantity}/weight"], found[f"{quantity}/bias"]
        assert (weight.axes, bias.axes) == (("step", *axes), ("step", "fan_out"))
        assert weight.shape == (1, *layer.weight.shape)


def test_reductions_of_gradients_carry_unit_and_loss(tmp_path):
    model = nn.Linear(3, 2)
    plan = [
        {"site": "weight", "quantity": "gradient", "reduction": "moments"},
        {"site": "bias", "quantity": "gradient", "reduction": "norm"},
    ]
    with mechlab.record(model, plan, tmp_path / "r", items=["a.png"]) as recorder:
        recorder.batch(["a.png"], loss="tail")
        model(torch.ones(1, 3)).sum().backward()
    with recording.open(tmp_path / "r") as found:
        units = {key: found[key].unit for key in found}
        assert units == {
            "gradient_mean/weight": "loss",
            "gradient_variance/weight": "loss^2",
            "gradient_norm/bias": "loss",
        }
        assert all(found[key].coordinates["loss"].tolist() == ["tail"] for key in found)


def test_a_power_of_a_unit_is_written_out_and_one_stays_one():
    assert [raised("loss", 1), raised("loss", 2), raised("1", 2)] == ["loss", "loss^2", "1"]


def test_norms_are_in_double_precision_whatever_the_plan_says(memory):
    model = nn.Linear(3, 2)
    plan = [{"site": "weight", "quantity": "gradient", "reduction": "norm", "dtype": "float16"}]
    with Recorder(model, plan, memory) as recorder, recorder.step(0):
        (model(torch.ones(1, 3)).sum() * 1e-9).backward()
    expected = model.weight.grad.double().norm().item()
    assert memory.values("gradient_norm/weight").tolist() == pytest.approx([expected], rel=1e-12)


def test_a_named_buffer_is_recorded_where_no_parameter_has_the_name(tmp_path):
    model = nn.BatchNorm1d(3)
    plan = [{"site": "running_mean", "quantity": "weight"}, {"site": "*", "quantity": "weight"}]
    with mechlab.record(model, plan[:1], tmp_path / "r"):
        model(torch.arange(12.0).view(4, 3))
    with recording.open(tmp_path / "r") as found:
        assert found["weight/running_mean"][0].tolist() == pytest.approx([0.45, 0.55, 0.65])
    with mechlab.record(model, plan[1:], tmp_path / "s"):
        model(torch.ones(4, 3))
    with recording.open(tmp_path / "s") as found:
        assert set(found) == {"weight/weight", "weight/bias"}, "a pattern of parameters is theirs alone"


def test_whole_numbers_and_what_no_checkpoint_holds_are_no_weights(tmp_path):
    model = nn.BatchNorm1d(3)
    model.register_buffer("passing", torch.ones(2), persistent=False)
    for name in ("num_batches_tracked", "passing"):
        with pytest.raises(MechlabError, match=f"no parameter .*'{name}'"):
            Recorder(model, [{"site": name, "quantity": "weight"}], None).__enter__()
