"""Outputs of modules: units, where a subsample lies, sizes that change, and models in half precision."""

import numpy as np
import pytest
import torch
from torch import nn

import mechlab
from mechlab import recording
from mechlab.instrument.recorder import Recorder


def test_units_and_places_of_reductions_are_in_the_recording(tmp_path):
    model = nn.Sequential(nn.Identity(), nn.Identity(), nn.Identity())
    plan = [
        {"site": "0", "quantity": "activation", "reduction": "subsample:3"},
        {"site": "1", "quantity": "activation", "reduction": "quantiles"},
        {"site": "2", "quantity": "activation", "reduction": "covariance"},
    ]
    x = torch.randn(2, 9, 4)
    with mechlab.record(model, plan, tmp_path / "r"):
        model(x)
    with recording.open(tmp_path / "r") as found:
        places = found["activation_subsample/0"].attributes["places"]
        assert places == [0, 4, 8]
        np.testing.assert_array_equal(found["activation_subsample/0"].read(), x[:, places])
        assert found["activation_quantiles/1"].attributes["probabilities"][4] == 0.5
        assert {found[key].unit for key in found} == {"1"}


def test_a_site_that_gives_vectors_and_then_sequences_names_both_rightly(memory):
    model = nn.Linear(4, 3)
    plan = [{"site": "", "quantity": "activation"}]
    with Recorder(model, plan, memory) as recorder:
        for step, shape in enumerate([(5, 4), (5, 7, 4), (6, 4)]):
            with recorder.step(step):
                model(torch.randn(shape))
    axes = [axes for _, axes, _ in memory.rows["activation/model"]]
    assert axes == [("item", "dim"), ("item", "row", "dim"), ("item", "dim")]


def test_norms_of_a_model_in_half_precision_do_not_overflow(memory):
    model = nn.Sequential(nn.Identity())
    plan = [{"site": "0", "quantity": "activation", "reduction": "norm"}]
    with Recorder(model, plan, memory) as recorder, recorder.step(0):
        model(torch.full((2, 100), 3e4, dtype=torch.float16))
    np.testing.assert_allclose(memory.values("activation_norm/0"), [3e5, 3e5], rtol=1e-3)


def test_sites_of_one_entry_keep_their_own_axes(memory):
    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.image, self.grid = nn.Conv2d(3, 4, 1), nn.Linear(4, 2)

        def forward(self, x):
            return self.grid(self.image(x).permute(0, 2, 3, 1))

    plan = [{"site": "*", "quantity": "activation", "reduction": "norm"}]
    with Recorder(Mixed(), plan, memory) as recorder, recorder.step(0):
        recorder.model(torch.randn(2, 3, 6, 5))
    assert memory.axes("activation_norm/image") == ("item", "height", "width")
    assert memory.axes("activation_norm/grid") == ("item", "row", "column")
    assert memory.values("activation_norm/grid").shape == memory.values("activation_norm/image").shape


@pytest.mark.parametrize("reduction", ["norm", "moments", "covariance", "quantiles"])
@pytest.mark.parametrize("size", [1e-10, 1e6])
def test_what_is_computed_of_an_output_keeps_its_digits_in_fp16(tmp_path, reduction, size):
    model, x = nn.Sequential(nn.Identity()), size * torch.randn(2, 9, 4)
    for dtype in ("float16", "float64"):
        plan = [{"site": "0", "quantity": "activation", "reduction": reduction, "dtype": dtype}]
        with mechlab.record(model, plan, tmp_path / dtype):
            model(x)
    with recording.open(tmp_path / "float16") as half, recording.open(tmp_path / "float64") as exact:
        assert list(half) == list(exact)
        for key in half:
            kept, values = half[key].exact(slice(None)), exact[key].read()
            np.testing.assert_allclose(kept, values, rtol=2**-10, atol=abs(values).max() * 2**-12)
            assert half[key].coordinates["overflow"].max() == 0


def test_outputs_that_leave_fp16_are_counted_and_told(tmp_path, caplog):
    model, x = nn.Sequential(nn.Identity(), nn.Identity()), torch.full((2, 3), 65504.0)
    x[0, 1] = 7e4
    plan = [{"site": "?", "quantity": "activation", "dtype": "float16"}]
    with mechlab.record(model, plan, tmp_path / "r"):
        model(x)
    with recording.open(tmp_path / "r") as found:
        assert [found[key].not_finite for key in found] == [1, 1]
        assert np.isinf(found["activation/0"].read()).sum() == 1
    assert [message for message in caplog.messages if "ends at 65504" in message] == caplog.messages[:1]
