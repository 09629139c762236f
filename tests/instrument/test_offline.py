"""Recording from a checkpoint: the right images, experts, losses and arrays; the system stays as it was."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import nn

from mechlab import recording
from mechlab.errors import MechlabError
from mechlab.instrument.offline import Images, record_checkpoint
from mechlab.instrument.sites import Site
from mechlab.recording import Writer


@dataclass
class Flowed:
    latent: torch.Tensor
    log_det: torch.Tensor


class Block(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.linear = nn.Linear(dim, dim)

    def forward(self, x):
        scale = torch.tanh(self.linear(x))
        return x * scale.exp(), scale.sum(dim=-1)


class Flow(nn.Module):
    """Two experts over one shared block, as small as the protocol allows."""

    def __init__(self, dim=4):
        super().__init__()
        self.adapted, self.flow = nn.Identity(), nn.ModuleList([Block(dim), Block(dim)])
        self.expert = nn.ModuleList([nn.Linear(dim, dim), nn.Linear(dim, dim)])
        self.dropout = nn.Dropout(0.5)

    def forward(self, batch, *, task):
        z, log_det = self.dropout(self.adapted(self.expert[task](batch))), 0.0
        for block in self.flow:
            z, more = block(z)
            log_det = log_det + more
        return Flowed(latent=z, log_det=log_det)


def nll(system, batch, task):
    flowed = system(batch, task=task)
    return (0.5 * flowed.latent.square().sum(dim=-1) - flowed.log_det).mean()


def worst(system, batch, task):
    flowed = system(batch, task=task)
    return (0.5 * flowed.latent.square().sum(dim=-1) - flowed.log_det).max()


SITES = (
    Site(name="latent", module="", output=0, quantity="latent", axes=("item", "row", "column", "dim")),
    Site(name="flow.0.log_det", module="flow.0", output=1, quantity="log_det"),
)
LOSSES = {"mean": nll, "worst": worst}


@pytest.fixture
def system():
    torch.manual_seed(0)
    return Flow()


@pytest.fixture
def images(rng):
    def some(task, first, count):
        shape = (count, 3, 2, 4)
        scores = {
            "patch": rng.standard_normal(shape[:3]),
            "label": np.arange(count) % 2,
            "image": rng.random(count),
        }
        scores["mask"] = rng.random((count, 6, 6)) > 0.5
        return Images(
            items=np.arange(first, first + count),
            features=rng.standard_normal(shape).astype(np.float32),
            task=task,
            scores=scores,
        )

    return [some(0, 0, 5), some(1, 5, 4)]


@pytest.fixture
def recorded(system, images, tmp_path):
    def run(plan, **named):
        folder = tmp_path / f"recording-{len(list(tmp_path.iterdir()))}"
        with Writer.create(folder, attributes={}) as writer:
            statistics = record_checkpoint(system, plan, writer, stage=1, images=images, sites=SITES, **named)
        return recording.open(folder), statistics

    return run


def tensor(part):
    return torch.from_numpy(part.features)


def test_latents_and_log_dets_are_those_of_each_images_own_expert(system, images, recorded):
    plan = [{"site": "latent", "quantity": "latent"}, {"site": "flow.0.log_det", "quantity": "log_det"}]
    found, _ = recorded(plan, batch_size=2)
    system.eval()
    expected = [system(tensor(part), task=part.task).latent.detach().numpy() for part in images]
    np.testing.assert_allclose(found["latent/latent"].read(), np.concatenate(expected), rtol=1e-5, atol=1e-6)
    assert found["latent/latent"].axes == ("item", "row", "column", "dim")
    assert found["latent/latent"].coordinates["item"].tolist() == list(range(9))
    assert found["latent/latent"].coordinates["adapter"].tolist() == [0] * 5 + [1] * 4
    assert found["latent/latent"].coordinates["stage"].tolist() == [1] * 9
    assert found["log_det/flow.0"].shape == (9, 3, 2)
    assert found["log_det/flow.0"].unit == "nat"


def test_the_same_inputs_go_through_every_adapter_that_is_asked_for(system, images, recorded):
    found, _ = recorded([{"site": "latent", "quantity": "latent"}], adapters=(0, 1))
    quantity = found["latent/latent"]
    system.eval()
    for adapter in (0, 1):
        rows = quantity.coordinates["adapter"] == adapter
        assert sorted(quantity.coordinates["item"][rows]) == list(range(9))
        expected = system(tensor(images[0]), task=adapter).latent.detach().numpy()
        chosen = rows & (quantity.coordinates["item"] < 5)
        np.testing.assert_allclose(quantity[chosen], expected, rtol=1e-5, atol=1e-6)


def test_gradients_are_those_of_one_images_loss(system, images, recorded):
    plan = [
        {"site": "*", "quantity": "row_contribution", "reduction": "total"},
        {"site": "flow.0.linear", "quantity": "row_contribution"},
        {"site": "adapted", "quantity": "input_gradient"},
        {"site": "input", "quantity": "input_gradient"},
        {"site": "flow.0", "quantity": "gradient"},
        {"site": "flow.0.linear", "quantity": "gradient", "reduction": "norm"},
    ]
    plan = [*plan[:1], *plan[2:4], plan[5]]
    found, _ = recorded(plan, losses=LOSSES)
    system.eval()
    total = found["row_contribution/total"]
    assert total.shape == (18, 3, 2)
    for at in (0, 7, 12):
        item, loss = int(total.coordinates["item"][at]), str(total.coordinates["loss"][at])
        part = images[0] if item < 5 else images[1]
        batch = tensor(part)[[item - int(part.items[0])]].requires_grad_()
        system.zero_grad()
        LOSSES[loss](system, batch, part.task).backward()
        norm = float(system.flow[0].linear.weight.grad.norm())
        np.testing.assert_allclose(found["gradient_norm/flow.0.linear"][at], norm, rtol=1e-5)
        np.testing.assert_allclose(found["input_gradient/input"][at], batch.grad[0].norm(dim=-1), rtol=1e-5)
        assert found["input_gradient/adapted"].shape == (18, 3, 2)
    assert set(total.coordinates["loss"]) == {"mean", "worst"}


def test_a_loss_of_one_patch_gives_the_other_patches_nothing(recorded):
    found, _ = recorded(
        [{"site": "*", "quantity": "row_contribution", "reduction": "total"}], losses={"worst": worst}
    )
    assert ((found["row_contribution/total"].read() > 0).sum(axis=(1, 2)) == 1).all()


def test_contributions_do_not_depend_on_flags_and_leave_the_system_as_it_was(system, recorded):
    plan = [{"site": "*", "quantity": "row_contribution", "reduction": "total"}]
    first, _ = recorded(plan, losses={"mean": nll})
    system.flow.requires_grad_(False)
    system.expert[0].weight.grad = torch.ones(4, 4)
    system.flow.eval()
    second, _ = recorded(plan, losses={"mean": nll})
    np.testing.assert_array_equal(
        first["row_contribution/total"].read(), second["row_contribution/total"].read()
    )
    assert [p.requires_grad for p in system.parameters()] == [False] * 4 + [True] * 4
    assert system.expert[0].weight.grad.sum() == 16
    assert system.expert[1].weight.grad is None
    assert system.training
    assert not system.flow.training
    assert not any(module._forward_hooks for module in system.modules())


def test_weights_are_written_once_a_stage(system, recorded):
    plan = [
        {"site": "flow.*.weight", "quantity": "weight_delta"},
        {"site": "flow.0.linear.weight", "quantity": "weight"},
    ]
    reference = {name: torch.zeros_like(p) for name, p in system.named_parameters()}
    found, _ = recorded(plan, reference=reference)
    weight = system.flow[0].linear.weight.detach().numpy()
    np.testing.assert_array_equal(found["weight/flow.0.linear"].read(), weight[None])
    np.testing.assert_array_equal(found["weight_delta/flow.0.linear"].read(), weight[None])
    assert found["weight/flow.0.linear"].axes == ("stage", "fan_out", "fan_in")
    assert found["weight/flow.0.linear"].coordinates["stage"].tolist() == [1]


def test_scores_labels_and_masks_are_kept_as_they_are(images, recorded):
    found, statistics = recorded([{"site": "*", "quantity": "score", "dtype": "float64"}])
    for name, axes in [
        ("patch", ("item", "row", "column")),
        ("mask", ("item", "height", "width")),
        ("label", ("item",)),
        ("image", ("item",)),
    ]:
        expected = np.concatenate([part.scores[name] for part in images])
        np.testing.assert_array_equal(found[f"score/{name}"].read(), expected)
        assert found[f"score/{name}"].axes == axes
    assert found["score/mask"].dtype == np.bool_
    assert (found["score/patch"].unit, found["score/label"].unit) == ("nat", "1")
    assert statistics.bytes > 0


def test_every_counts_images(recorded):
    plan = [
        {"site": "latent", "quantity": "latent", "every": 2},
        {"site": "image", "quantity": "score", "every": 4},
        {"site": "flow.0.log_det", "quantity": "log_det"},
    ]
    found, _ = recorded(plan)
    assert found["latent/latent"].coordinates["item"].tolist() == [0, 2, 4, 5, 7]
    assert found["score/image"].coordinates["item"].tolist() == [0, 4, 5]
    assert found["log_det/flow.0"].shape[0] == 9


def test_each_entry_keeps_its_own_schedule(recorded):
    plan = [
        {"site": "latent", "quantity": "latent", "at": [1]},
        {"site": "flow.0.log_det", "quantity": "log_det", "first": 2},
        {"site": "image", "quantity": "score", "log_spaced": 1},
    ]
    found, _ = recorded(plan)  # of classes of 5 and 4 images
    assert found["latent/latent"].coordinates["item"].tolist() == [1, 6]
    assert found["log_det/flow.0"].coordinates["item"].tolist() == [0, 1, 5, 6]
    assert found["score/image"].coordinates["item"].tolist() == [0, 1, 2, 4, 5, 6, 7]


@pytest.mark.parametrize(
    ("plan", "named", "sentence"),
    [
        pytest.param(
            [{"site": "*", "quantity": "update"}],
            {},
            "update does not come from one checkpoint's modules; train with --record to record it",
            id="of an optimiser",
        ),
        pytest.param(
            [{"site": "*", "quantity": "row_contribution"}],
            {},
            "taken under a loss and none is named",
            id="no loss",
        ),
        pytest.param(
            [{"site": "latent", "quantity": "latent"}],
            {"losses": LOSSES},
            "no quantity of a loss",
            id="unused loss",
        ),
        pytest.param(
            [{"site": "ptch", "quantity": "score"}],
            {},
            "no score named 'ptch'. Did you mean 'patch'",
            id="no score",
        ),
        pytest.param([{"site": "flw.*", "quantity": "latent"}], {}, "no site named 'flw", id="no site"),
    ],
)
def test_a_plan_that_does_not_fit_is_refused(recorded, plan, named, sentence):
    with pytest.raises(MechlabError, match=sentence):
        recorded(plan, **named)


def test_no_images_are_refused(images, recorded):
    images.clear()
    with pytest.raises(MechlabError, match="no images to record"):
        recorded([{"site": "latent", "quantity": "latent"}])


def test_arrays_of_another_length_are_refused(images, recorded):
    images[0] = replace(images[0], scores={"image": np.zeros(4)})
    with pytest.raises(ValueError, match="5 images have features"):
        recorded([{"site": "image", "quantity": "score"}])
