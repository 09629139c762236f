"""The recorder changes nothing, misses nothing, leaves nothing behind, and times itself."""

import time

import numpy as np
import pytest
import torch
from torch import nn

from mechlab.errors import MechlabError
from mechlab.instrument import sink
from mechlab.instrument.recorder import Recorder
from mechlab.instrument.sites import Site
from mechlab.specs import PlanEntry

EVERYTHING = [
    {"site": "type:Linear", "quantity": "activation", "dtype": "float16"},
    {"site": "*", "quantity": "row_contribution", "reduction": "total"},
    {"site": "type:ReLU", "quantity": "input_gradient"},
    {"site": "*", "quantity": "gradient"},
    {"site": "*", "quantity": "weight"},
    {"site": "*", "quantity": "weight_delta", "reduction": "norm"},
]


class Memory:
    """A store that keeps copies."""

    def __init__(self):
        self.rows = {}

    def append(self, key, values, *, axes, coordinates, unit, attributes=None):
        assert all(len(column) == len(values) for column in coordinates.values())
        self.rows.setdefault(key, []).append(
            (np.array(values), axes, {k: np.array(v) for k, v in coordinates.items()})
        )

    def values(self, key):
        return np.concatenate([values for values, _, _ in self.rows[key]])

    def coordinate(self, key, name):
        return np.concatenate([coordinates[name] for _, _, coordinates in self.rows[key]]).tolist()

    def axes(self, key):
        return self.rows[key][0][1]


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.ReLU(inplace=True), nn.Dropout(0.5), nn.Linear(5, 3))


def hooks_on(model):
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    on_modules = sum(len(getattr(module, kind)) for module in model.modules() for kind in kinds)
    return on_modules + sum(len(p._post_accumulate_grad_hooks or {}) for p in model.parameters())


def trained(model, *, steps=5, recorder=None, momentum=0.9):
    """Train on fixed batches; return the losses, gradients and final parameters as bytes."""
    optimizer, draw = (
        torch.optim.SGD(model.parameters(), lr=0.1, momentum=momentum),
        torch.Generator().manual_seed(1),
    )
    torch.manual_seed(2)  # of the dropout
    seen = []
    for step in range(steps):
        x = torch.randn(6, 4, generator=draw)
        if recorder is not None:
            recorder.begin(step, items=np.arange(6))
        optimizer.zero_grad()
        loss = model(x).square().sum()
        loss.backward()
        seen += [loss.detach().numpy().tobytes(), *(p.grad.numpy().tobytes() for p in model.parameters())]
        optimizer.step()
        if recorder is not None:
            recorder.end()
    return seen + [p.detach().numpy().tobytes() for p in model.parameters()]


def test_training_is_bit_identical_with_and_without_recording():
    memory, model = Memory(), network()
    with Recorder(model, EVERYTHING, memory) as recorder:
        with_recording = trained(model, recorder=recorder)
    assert with_recording == trained(network())
    assert len(memory.rows) == 2 + 1 + 1 + 4 + 4 + 4


def test_hooks_are_gone_afterwards_and_after_an_error():
    model = network()
    with Recorder(model, EVERYTHING, Memory()) as recorder:
        assert hooks_on(model) > 0
        trained(model, recorder=recorder, steps=1)
    assert hooks_on(model) == 0
    with (
        pytest.raises(ZeroDivisionError),
        Recorder(model, EVERYTHING, Memory()) as recorder,
        recorder.step(0),
    ):
        raise ZeroDivisionError
    assert hooks_on(model) == 0
    with (
        pytest.raises(MechlabError),
        Recorder(model, [*EVERYTHING, {"site": "no", "quantity": "weight"}], Memory()),
    ):
        pytest.fail("the plan does not fit")
    assert hooks_on(model) == 0


def test_outputs_are_those_of_the_moment_although_they_change_in_place_later():
    model, memory = network().eval(), Memory()
    x = torch.randn(6, 4)
    with Recorder(model, [{"site": "0", "quantity": "activation"}], memory) as recorder, recorder.step(0):
        model(x)
    np.testing.assert_array_equal(memory.values("activation/0"), model[0](x).detach().numpy())
    assert (memory.values("activation/0") < 0).any()  # the ReLU after it works in place


def test_recorded_gradients_are_those_of_a_plain_loop_also_when_they_accumulate():
    model, memory, x = network().eval(), Memory(), torch.randn(2, 6, 4)
    plan = [
        {"site": "0.*", "quantity": "gradient"},
        {"site": "3", "quantity": "gradient", "reduction": "norm"},
    ]
    with Recorder(model, plan, memory) as recorder, recorder.step(7):
        for part in x:
            model(part).square().sum().backward()
        expected = {name: p.grad.clone().numpy() for name, p in model.named_parameters()}
        nn.utils.clip_grad_norm_(model.parameters(), 1e-3)
        model.zero_grad()
    np.testing.assert_array_equal(memory.values("gradient/0")[0], expected["0.weight"])
    assert memory.axes("gradient/0") == ("step", "fan_out", "fan_in")
    assert memory.coordinate("gradient/0", "step") == [7]
    norm = memory.values("gradient_norm/3")
    assert norm.dtype == np.float64
    np.testing.assert_allclose(norm, [np.linalg.norm(expected["3.weight"].astype(np.float64))], rtol=1e-14)


def test_norms_of_large_gradients_are_exact():
    model, memory = nn.Linear(4096, 4096, bias=False), Memory()
    with (
        Recorder(model, [{"site": "*", "quantity": "gradient", "reduction": "norm"}], memory) as recorder,
        recorder.step(0),
    ):
        model(torch.full((1, 4096), 0.1)).sum().backward()
    expected = float(np.float32(0.1)) * 4096
    np.testing.assert_allclose(memory.values("gradient_norm/weight"), [expected], rtol=1e-10)


def test_weights_and_deltas_are_those_after_the_optimiser():
    model, memory = network(), Memory()
    start = model[0].weight.detach().clone().numpy()
    plan = [{"site": "0.weight", "quantity": "weight"}, {"site": "0.weight", "quantity": "weight_delta"}]
    with Recorder(model, plan, memory) as recorder:
        trained(model, recorder=recorder, steps=2)
    end = model[0].weight.detach().numpy()
    np.testing.assert_array_equal(memory.values("weight/0")[-1], end)
    np.testing.assert_array_equal(memory.values("weight_delta/0")[-1], end - start)
    assert memory.coordinate("weight/0", "step") == [0, 1]


def test_deltas_are_taken_from_a_reference_that_is_given():
    model, memory = network(), Memory()
    plan = [{"site": "0.weight", "quantity": "weight_delta"}]
    with (
        Recorder(model, plan, memory, reference={"0.weight": torch.zeros(5, 4)}) as recorder,
        recorder.step(stage=1),
    ):
        pass
    np.testing.assert_array_equal(memory.values("weight_delta/0")[0], model[0].weight.detach().numpy())
    assert memory.axes("weight_delta/0")[0] == "stage"
    assert memory.coordinate("weight_delta/0", "stage") == [1]


@pytest.mark.parametrize(
    "reference", [{}, {"0.weight": torch.zeros(2, 2)}], ids=["absent", "of another shape"]
)
def test_a_reference_that_does_not_fit_is_refused(reference):
    plan = [{"site": "0.weight", "quantity": "weight_delta"}]
    with (
        pytest.raises(
            MechlabError, match=r"reference of '0.weight' has .*, the parameter has shape \(5, 4\)"
        ),
        Recorder(network(), plan, Memory(), reference=reference),
    ):
        pytest.fail("the reference does not fit")


def test_only_steps_that_are_due_are_written():
    model, memory = network(), Memory()
    plan = [
        {"site": "0", "quantity": "activation", "every": 3},
        {"site": "0.bias", "quantity": "gradient", "every": 2},
        {"site": "3.bias", "quantity": "weight", "every": 4},
    ]
    with Recorder(model, plan, memory) as recorder:
        trained(model, recorder=recorder, steps=7)
    assert sorted(set(memory.coordinate("activation/0", "step"))) == [0, 3, 6]
    assert memory.coordinate("gradient/0.bias", "step") == [0, 2, 4, 6]
    assert memory.coordinate("weight/3.bias", "step") == [0, 4]


def test_coordinates_name_step_item_stage_adapter_and_loss():
    model, memory = network(), Memory()
    plan = [{"site": "0", "quantity": "activation"}, {"site": "3", "quantity": "row_contribution"}]
    with (
        Recorder(model, plan, memory) as recorder,
        recorder.step(4, items=np.array([9, 2]), stage=1, adapter=0, loss="mean"),
    ):
        model(torch.randn(2, 4)).sum().backward()
    assert memory.coordinate("activation/0", "item") == [9, 2]
    assert memory.coordinate("activation/0", "stage") == [1, 1]
    assert "loss" not in memory.rows["activation/0"][0][2]
    assert memory.coordinate("row_contribution/3", "loss") == ["mean", "mean"]
    assert memory.rows["row_contribution/3"][0][2]["item"].dtype == np.int64
    assert memory.rows["row_contribution/3"][0][2]["adapter"].dtype == np.int32


def test_items_of_another_number_than_the_batch_are_refused():
    model = network()
    with (
        pytest.raises(MechlabError, match="names 3 items, a site gives 2 rows; name one item a row"),
        Recorder(model, [{"site": "0", "quantity": "activation"}], Memory()) as recorder,
        recorder.step(0, items=np.arange(3)),
    ):
        model(torch.randn(2, 4))


@pytest.mark.parametrize(
    ("model", "shape", "axes"),
    [
        pytest.param(nn.Linear(4, 3), (5, 4), ("item", "dim"), id="vectors"),
        pytest.param(nn.Linear(4, 3), (5, 7, 4), ("item", "row", "dim"), id="sequences"),
        pytest.param(nn.Linear(4, 3), (5, 6, 7, 4), ("item", "row", "column", "dim"), id="grids"),
        pytest.param(nn.Conv2d(4, 3, 1), (5, 4, 6, 7), ("item", "channel", "height", "width"), id="images"),
        pytest.param(
            nn.Sequential(nn.BatchNorm2d(4), nn.ReLU()),
            (5, 4, 6, 7),
            ("item", "channel", "height", "width"),
            id="nets",
        ),
    ],
)
def test_axes_are_guessed_from_shapes_and_layers(model, shape, axes):
    memory = Memory()
    with Recorder(model, [{"site": "", "quantity": "activation"}], memory) as recorder, recorder.step(0):
        model(torch.randn(shape))
    assert memory.axes("activation/model") == axes


def test_an_activation_function_takes_its_axes_from_the_net_around_it():
    model, memory = nn.Sequential(nn.Conv2d(4, 3, 1), nn.ReLU()), Memory()
    with Recorder(model, [{"site": "1", "quantity": "activation"}], memory) as recorder, recorder.step(0):
        model(torch.randn(5, 4, 6, 7))
    assert memory.axes("activation/1") == ("item", "channel", "height", "width")


def test_axes_that_a_site_names_win_and_items_come_first():
    memory, model = Memory(), nn.Linear(4, 3)
    named = (Site(name="sequence", module="", axes=("row", "item", "dim")),)
    plan = [{"site": "sequence", "quantity": "activation", "reduction": "norm"}]
    x = torch.randn(7, 5, 4)
    with Recorder(model, plan, memory, sites=named) as recorder, recorder.step(0):
        output = model(x)
    assert memory.axes("activation_norm/sequence") == ("item", "row")
    expected = output.detach().norm(dim=-1).T.numpy()
    np.testing.assert_allclose(memory.values("activation_norm/sequence"), expected, rtol=1e-6)


def test_input_gradients_are_the_norms_that_autograd_gives():
    model, memory, x = network().eval(), Memory(), torch.randn(6, 4, requires_grad=True)
    named = (Site(name="features", module=None, axes=("item", "dim")),)
    plan = [{"site": "features", "quantity": "input_gradient"}, {"site": "1", "quantity": "input_gradient"}]
    with Recorder(model, plan, memory, sites=named) as recorder, recorder.step(0):
        recorder.watch("features", x)
        model(x).square().sum().backward()
    np.testing.assert_allclose(
        memory.values("input_gradient/features"), x.grad.norm(dim=-1).numpy(), rtol=1e-6
    )
    assert memory.values("input_gradient/1").shape == (6,)


def test_log_dets_are_the_second_output_of_a_block_and_their_sum_is_exact():
    class Block(nn.Module):
        def forward(self, x):
            return x, x.sum(dim=-1)

    model, memory, x = nn.Sequential(Block()), Memory(), torch.randn(2, 3, 4, 5)
    plan = [{"site": "0", "quantity": "log_det"}]
    with Recorder(model, plan, memory) as recorder, recorder.step(0):
        model(x)
    with Recorder(model, [plan[0] | {"reduction": "sum"}], memory) as recorder, recorder.step(0):
        model(x)
    np.testing.assert_array_equal(memory.values("log_det/0"), x.sum(dim=-1).numpy())
    assert memory.axes("log_det/0") == ("item", "row", "column")
    assert memory.values("log_det_sum/0").dtype == np.float64
    np.testing.assert_allclose(memory.values("log_det_sum/0"), x.sum(dim=-1).double().sum(dim=(1, 2)).numpy())


def test_a_site_that_never_runs_is_told_at_the_end():
    class Skipping(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.unused = nn.Linear(3, 3), nn.Linear(3, 3)

        def forward(self, x):
            return self.used(x)

    model = Skipping()
    with (
        pytest.raises(MechlabError, match="nothing was recorded of activation at 'unused' in 1 steps"),
        Recorder(model, [{"site": "unused", "quantity": "activation"}], Memory()) as recorder,
        recorder.step(0),
    ):
        model(torch.randn(2, 3))
    with Recorder(model, [{"site": "*", "quantity": "activation"}], Memory()) as recorder, recorder.step(0):
        model(torch.randn(2, 3))
    assert recorder.statistics.silent == ("activation/unused",)


@pytest.mark.parametrize(
    ("plan", "sentence"),
    [
        pytest.param([{"site": "2.9", "quantity": "activation"}], "no site named '2.9'", id="unknown site"),
        pytest.param(
            [{"site": "7.bias", "quantity": "weight"}], "no parameter named '7.bias'", id="parameter"
        ),
        pytest.param([{"site": "image", "quantity": "score"}], "record it from a checkpoint", id="score"),
        pytest.param(
            [{"site": "0", "quantity": "activation"}, {"site": "*", "quantity": "activation"}],
            r"two entries of the plan write 'activation/0' \(sites '0' and '\*'\)",
            id="one key twice",
        ),
    ],
)
def test_a_plan_that_does_not_fit_the_model_is_refused(plan, sentence):
    with pytest.raises(MechlabError, match=sentence), Recorder(network(), plan, Memory()):
        pytest.fail("the plan does not fit")


def test_gradients_of_frozen_parameters_are_refused():
    model = network().requires_grad_(False)
    with (
        pytest.raises(MechlabError, match="none of the 2 parameters at '0' is trained"),
        Recorder(model, [{"site": "0", "quantity": "gradient"}], Memory()),
    ):
        pytest.fail("nothing trains")


def test_models_that_hooks_cannot_see_into_are_refused():
    compiled = network()
    compiled.compile()
    with pytest.raises(MechlabError, match="'Sequential' is compiled, so hooks do not see"):
        Recorder(compiled, [{"site": "0", "quantity": "activation"}], Memory())
    with pytest.raises(MechlabError, match="is compiled"):
        Recorder(torch.compile(network()), [{"site": "0", "quantity": "activation"}], Memory())


def test_the_recorder_counts_the_time_that_it_takes():
    class Slow(Memory):
        def append(self, *arguments, **named):
            time.sleep(0.02)
            super().append(*arguments, **named)

    model = network()
    with Recorder(model, [{"site": "0", "quantity": "activation"}], Slow()) as recorder:
        trained(model, recorder=recorder, steps=3)
    cost = recorder.statistics
    assert cost.seconds_blocked >= 3 * 0.02, "sleeping never ends early"
    assert cost.seconds_in_hooks > 0
    plain = cost.seconds - cost.seconds_blocked - cost.seconds_in_hooks
    assert plain > 0, "hooks and waiting are parts of the whole, and none is counted twice"
    assert cost.overhead_ratio == cost.seconds / plain > 1
    assert (cost.steps, cost.bytes) == (3, 3 * 6 * 5 * 4)


def test_what_the_writer_holds_back_is_no_time_of_the_hooks(monkeypatch):
    clock = iter(range(1000))
    monkeypatch.setattr(sink, "perf_counter", lambda: next(clock))  # each look at the clock takes 1 s

    class Slow(Memory):
        def append(self, *arguments, **named):
            for _ in range(50):
                next(clock)
            super().append(*arguments, **named)

    model = network()
    with Recorder(model, [{"site": "0", "quantity": "activation"}], Slow()) as recorder:
        trained(model, recorder=recorder, steps=3)
    # A hook looks when it begins and ends, and around the writer: 1 + 1 s of its own, 50 + 1 s blocked.
    assert (recorder.statistics.seconds_blocked, recorder.statistics.seconds_in_hooks) == (3 * 51, 3 * 2)


def test_a_gradient_in_fp16_keeps_its_digits():
    model, memory = nn.Linear(4, 3), Memory()
    with (
        Recorder(model, [{"site": "weight", "quantity": "gradient", "dtype": "float16"}], memory) as recorder,
        recorder.step(0),
    ):
        (1e-12 * model(torch.randn(5, 4)).sum()).backward()
    kept = (
        memory.values("gradient/weight").astype(np.float64) / memory.coordinate("gradient/weight", "scale")[0]
    )
    np.testing.assert_allclose(kept[0], model.weight.grad.numpy(), rtol=1e-3)


def test_a_step_that_breaks_writes_no_more_and_the_next_one_is_whole():
    model, memory, x = network().eval(), Memory(), torch.randn(6, 4)
    plan = [
        {"site": "*", "quantity": "row_contribution", "reduction": "total", "dtype": "float64"},
        {"site": "0", "quantity": "gradient"},
        {"site": "0", "quantity": "activation"},
    ]
    with Recorder(model, plan, memory) as recorder:
        with pytest.raises(ZeroDivisionError), recorder.step(0):
            model(x).sum().backward()
            raise ZeroDivisionError
        model(x).sum().backward()  # outside of any step
        model.zero_grad()
        with recorder.step(1):
            model(x).sum().backward()
    assert memory.coordinate("row_contribution/total", "step") == [1] * 6
    assert memory.coordinate("gradient/0", "step") == [1]
    assert memory.coordinate("activation/0", "step") == [0] * 6 + [1] * 6
    with Recorder(model, plan[:1], again := Memory()) as recorder, recorder.step(1):
        model(x).sum().backward()
    np.testing.assert_array_equal(
        memory.values("row_contribution/total"), again.values("row_contribution/total")
    )


def test_steps_do_not_nest_and_nothing_is_written_between_them():
    model, memory = network(), Memory()
    with Recorder(model, [PlanEntry(site="0", quantity="activation")], memory) as recorder:
        recorder.begin(0)
        with pytest.raises(ValueError, match="a step is open already"):
            recorder.begin(1)
        model(torch.randn(2, 4))
        recorder.end()
        model(torch.randn(2, 4))
    assert memory.values("activation/0").shape == (2, 5)
