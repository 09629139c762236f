"""`mechlab.record` around any loop over any module: a recording that can be opened, read and trusted."""

import numpy as np
import pytest
import torch
from torch import nn

import mechlab
from mechlab import recording
from mechlab.errors import MechlabError


def loop(model, *, steps=4, validate=False):
    """Train; return inputs and gradients of every step."""
    optimizer, seen = torch.optim.SGD(model.parameters(), lr=0.1), []
    torch.manual_seed(1)
    for _ in range(steps):
        x = torch.randn(3, 4)
        optimizer.zero_grad()
        model(x).square().sum().backward()
        seen.append((x, [p.grad.clone().numpy() for p in model.parameters()]))
        optimizer.step()
        if validate:
            model.eval()
            with torch.no_grad():
                model(torch.randn(9, 4))
            model.train()
    return seen


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.ReLU(inplace=True), nn.Linear(5, 2))


PLAN = [
    {"site": "2", "quantity": "activation"},
    {"site": "*", "quantity": "gradient"},
    {"site": "*", "quantity": "row_contribution", "reduction": "total"},
]


@pytest.mark.parametrize("validate", [False, True], ids=["training alone", "with validation between"])
def test_three_lines_record_a_training(model, tmp_path, validate):
    with mechlab.record(model, PLAN, tmp_path / "recording"):
        seen = loop(model, validate=validate)
    with recording.open(tmp_path / "recording") as found:
        assert found["activation/2"].shape == (12, 2)
        assert found["activation/2"].coordinates["step"].tolist() == np.repeat(range(4), 3).tolist()
        assert found["row_contribution/total"].axes == ("item",)
        gradients = found["gradient/0"].read()
        np.testing.assert_array_equal(gradients, [step[1][0] for step in seen])
        assert found["gradient/0"].coordinates["step"].tolist() == [0, 1, 2, 3]
        assert found.facts["overhead"]["seconds_in_hooks"] > 0
        assert found.attributes["provenance"] == {"model": "Sequential"}


def test_an_evaluation_is_recorded_when_the_model_is_in_evaluation_mode(model, tmp_path):
    model.eval()
    with mechlab.record(model, PLAN[:1], tmp_path / "recording"), torch.no_grad():
        outputs = [model(torch.randn(3, 4)) for _ in range(2)]
    with recording.open(tmp_path / "recording") as found:
        np.testing.assert_array_equal(found["activation/2"].read(), torch.cat(outputs).numpy())


def test_a_plan_that_does_not_fit_leaves_nothing_behind(model, tmp_path):
    with (
        pytest.raises(MechlabError, match="no site named 'flow"),
        mechlab.record(model, [{"site": "flow.*", "quantity": "activation"}], tmp_path / "recording"),
    ):
        pytest.fail("the plan does not fit")
    assert not list(tmp_path.iterdir())


def test_a_loop_that_never_calls_the_model_is_told_and_leaves_nothing_behind(model, tmp_path):
    with (
        pytest.raises(MechlabError, match="did not call the model in training mode"),
        mechlab.record(model, PLAN, tmp_path / "recording"),
    ):
        model.eval()(torch.randn(3, 4))
    assert not list(tmp_path.iterdir())


def test_an_error_in_the_loop_comes_through_and_keeps_what_was_recorded(model, tmp_path):
    with pytest.raises(ZeroDivisionError), mechlab.record(model, PLAN[:1], tmp_path / "recording"):
        model(torch.randn(3, 4))
        raise ZeroDivisionError
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    with recording.open(tmp_path / "recording") as found:
        assert found["activation/2"].shape == (3, 2)


def test_flattened_patches_are_folded_by_the_models_batch(tmp_path):
    class Patches(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 3)

        def forward(self, x):
            return self.layer(x.reshape(-1, 4)).reshape(*x.shape[:-1], 3)

    model = Patches()
    plan = [{"site": "layer", "quantity": "row_contribution"}]
    with mechlab.record(model, plan, tmp_path / "recording", grid=(2, 3)):
        model(torch.randn(5, 2, 3, 4)).sum().backward()
    with recording.open(tmp_path / "recording") as found:
        assert found["row_contribution/layer"].shape == (5, 2, 3)
        assert found["row_contribution/layer"].axes == ("item", "row", "column")


def test_a_recording_that_will_not_fit_is_refused_after_its_first_step(model, tmp_path, monkeypatch):
    from types import SimpleNamespace

    from mechlab.recording import forecast

    monkeypatch.setattr(forecast.shutil, "disk_usage", lambda _: SimpleNamespace(free=80_000))
    plan = [{"site": "*", "quantity": "gradient"}, {"site": "2", "quantity": "activation", "every": 10}]
    with mechlab.record(model, plan, tmp_path / "fits", steps=100):
        loop(model)
    with (
        pytest.raises(
            MechlabError, match=r"\d+ B a step × 1000 steps, and as much again .* 80.0 kB are free"
        ),
        mechlab.record(model, plan, tmp_path / "not", steps=1000),
    ):
        loop(model)
    with recording.open(tmp_path / "not") as found:
        assert found["gradient/0"].coordinates["step"].tolist() == [0]


def test_a_loop_outlives_a_full_disk_where_it_is_asked_to(model, tmp_path, monkeypatch, caplog):
    from mechlab.recording import segment

    def no_space(path):
        raise OSError(28, "No space left on device")

    with mechlab.record(model, PLAN, tmp_path / "recording", on_fault="go-on") as recorder:
        loop(model)
        recorder.sink.store.commit()
        monkeypatch.setattr(segment, "sync", no_space)
        loop(model)
    assert "The loop goes on without recording" in caplog.text
    with recording.open(tmp_path / "recording") as found:
        found.verify()
        assert found.statistics["dropped_rows"] > 0
