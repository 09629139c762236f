"""Gradient norms of single images equal those of a loop of backward passes, one image at a time."""

import numpy as np
import pytest
import torch
from torch import nn

from mechlab.errors import MechlabError
from mechlab.instrument import sample_gradient
from mechlab.instrument.recorder import Recorder
from mechlab.instrument.sample_gradient import summed_squares


class Memory:
    """A store that keeps copies."""

    def __init__(self):
        self.rows = {}

    def append(self, key, values, *, axes, coordinates, unit, attributes=None):
        assert axes == ("item",)
        self.rows.setdefault(key, []).append(np.array(values))

    def one(self, key):
        (values,) = self.rows[key]
        return values


class Flattening(nn.Module):
    """Linear layers that see the patches of all images in one list."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(3, 20), nn.Linear(20, 20)

    def forward(self, x):
        return self.second(torch.tanh(self.first(x.reshape(-1, 3)))).reshape(*x.shape[:-1], 20)


def image_losses(output):
    return output.flatten(1).square().sum(dim=1).sqrt()  # no sum over places: places of an image meet


def one_by_one(model, x):
    norms, totals = {}, []
    for image in x:
        model.zero_grad()
        image_losses(model(image.unsqueeze(0))).sum().backward()
        totals.append(torch.cat([p.grad.flatten() for p in model.parameters()]).norm().item())
        for name, parameter in model.named_parameters():
            norms.setdefault(name.removesuffix(".weight"), []).append(parameter.grad.norm().item())
    return norms, totals


def recorded(model, x, *, reduction=None, loss_scale=1.0, dtype="float64", backward=image_losses):
    plan = [{"site": "*", "quantity": "sample_gradient_norm", "dtype": dtype, "reduction": reduction}]
    memory = Memory()
    with (
        Recorder(model, plan, memory) as recorder,
        recorder.step(items=np.arange(len(x)), loss_scale=loss_scale),
    ):
        (loss_scale * backward(model(x)).sum()).backward()
    return memory


def convolutions():
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, stride=2, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(4, 4, 3, groups=2, dilation=2, padding=2),
    )


CASES = [
    pytest.param(lambda: nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 4)), (4, 3), id="no places"),
    pytest.param(
        lambda: nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 4)), (4, 2, 3), id="few places"
    ),
    pytest.param(
        lambda: nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 4)), (3, 6, 7, 3), id="many places"
    ),
    pytest.param(Flattening, (3, 4, 4, 3), id="flattened places, one layer by pairs and one by its matrix"),
    pytest.param(convolutions, (3, 2, 7, 6), id="convolutions"),
    pytest.param(lambda: nn.Sequential(nn.Conv1d(2, 3, 3), nn.Conv1d(3, 2, 2)), (3, 2, 9), id="1d"),
    pytest.param(lambda: nn.Sequential(nn.Conv3d(2, 3, 2, bias=False)), (3, 2, 3, 4, 3), id="3d"),
]


@pytest.mark.parametrize("largest", [1, 1 << 22], ids=["image by image", "all at once"])
@pytest.mark.parametrize(("make", "shape"), CASES)
def test_norms_equal_backward_passes_of_single_images(make, shape, largest, monkeypatch):
    monkeypatch.setattr(sample_gradient, "_LARGEST", largest)
    torch.manual_seed(0)
    model, x = make().double(), torch.randn(shape, dtype=torch.float64)
    norms, totals = one_by_one(model, x)
    memory = recorded(model, x)
    for key in memory.rows:
        np.testing.assert_allclose(memory.one(key), norms[key.partition("/")[2]], rtol=1e-12)
    total = recorded(model, x, reduction="total")
    np.testing.assert_allclose(total.one("sample_gradient_norm/total"), totals, rtol=1e-12)


@pytest.mark.parametrize("places", [2, 40], ids=["by pairs of places", "by the matrix"])
def test_both_forms_are_the_norm_of_the_summed_terms(places):
    a, b = torch.randn(3, places, 6, dtype=torch.float64), torch.randn(3, places, 5, dtype=torch.float64)
    expected = torch.einsum("nto,nti->noi", b, a).flatten(1).square().sum(dim=1)
    np.testing.assert_allclose(summed_squares(a, b), expected, rtol=1e-12)


def test_terms_that_cancel_give_zero_and_not_a_root_of_less():
    a, b = torch.randn(200, 1, 30), torch.randn(200, 2, 30)
    found = summed_squares(a.repeat(1, 3, 1), torch.cat([b, -b.sum(dim=1, keepdim=True)], dim=1))
    assert (found >= 0).all()
    np.testing.assert_allclose(found, 0, atol=1e-1)


def test_the_order_of_images_is_that_of_their_norms_and_the_batch_does_not_matter():
    torch.manual_seed(0)
    model, x = Flattening().double(), torch.randn(4, 3, 3, 3, dtype=torch.float64)
    one = recorded(model, x).one("sample_gradient_norm/first")
    turned = recorded(model, x.flip(0)).one("sample_gradient_norm/first")
    np.testing.assert_allclose(turned[::-1], one, rtol=1e-12)
    np.testing.assert_allclose(recorded(model, x[:2]).one("sample_gradient_norm/first"), one[:2], rtol=1e-12)


def test_a_loss_scale_is_taken_out():
    torch.manual_seed(0)
    model, x = Flattening(), torch.randn(4, 3, 3, 3)
    plain = recorded(model, x).one("sample_gradient_norm/second")
    np.testing.assert_array_equal(
        recorded(model, x, loss_scale=2.0**14).one("sample_gradient_norm/second"), plain
    )


def test_an_input_of_a_frozen_weight_that_is_overwritten_is_seen_as_it_was():
    class Overwriting(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 2)

        def forward(self, x):
            y = self.layer(x)
            x.mul_(5)
            return y

    torch.manual_seed(0)
    model, x = Overwriting().double(), torch.randn(4, 3, dtype=torch.float64)
    model.layer.weight.requires_grad_(False)
    expected = x.norm(dim=1).numpy() * 2**0.5
    found = recorded(model, x, backward=lambda y: y).one("sample_gradient_norm/layer")
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_images_that_see_one_another_are_refused_and_frozen_statistics_are_not():
    model = nn.Sequential(nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2))
    with pytest.raises(MechlabError, match=r"'1' \(BatchNorm2d\) lets the images of a batch see one another"):
        recorded(model, torch.randn(2, 2, 3, 3))
    assert recorded(model.eval(), torch.randn(2, 2, 3, 3)).one("sample_gradient_norm/0").shape == (2,)


def test_a_layer_that_runs_twice_or_shares_its_weight_is_refused():
    layer = nn.Linear(3, 3)
    with pytest.raises(MechlabError, match="'0' runs twice in one step"):
        recorded(nn.Sequential(layer, nn.Tanh(), layer), torch.randn(2, 3))
    tied = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    tied[1].weight = tied[0].weight
    with pytest.raises(MechlabError, match="'0' and '1' share one weight"):
        recorded(tied, torch.randn(2, 3))


def test_a_total_over_layers_that_see_other_numbers_of_images_is_refused():
    class Halving(nn.Module):
        def __init__(self):
            super().__init__()
            self.all, self.some = nn.Linear(3, 3), nn.Linear(3, 3)

        def forward(self, x):
            return self.some(self.all(x)[: len(x) // 2])

    with pytest.raises(MechlabError, match="another number of images"):
        recorded(Halving(), torch.randn(4, 3), reduction="total")
