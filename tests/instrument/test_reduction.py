"""Reductions: closed forms against NumPy, whatever the layout; and what a recorder writes of them."""

import numpy as np
import pytest
import torch
from torch import nn

from mechlab.errors import MechlabError
from mechlab.instrument import reduction
from mechlab.instrument.recorder import Recorder
from mechlab.instrument.reduction import (
    PROBABILITIES,
    channel_rows,
    covariance,
    moments,
    plane_moments,
    quantiles,
    reduced,
    subsample,
)


def rows(count=3000, dim=7, offset=0.0):
    return (
        torch.randn(count, dim, generator=torch.Generator().manual_seed(0)) * torch.arange(1.0, dim + 1)
        + offset
    )


@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_moments_are_those_of_double_precision_also_far_from_zero(offset):
    x = rows(offset=offset)
    (mean, variance), exact = moments(x), x.double().numpy()
    np.testing.assert_allclose(mean.numpy(), exact.mean(axis=0), rtol=1e-8, atol=1e-6)
    np.testing.assert_allclose(variance.numpy(), exact.var(axis=0), rtol=3e-6)
    np.testing.assert_allclose(covariance(x).numpy(), np.cov(exact.T, bias=True), rtol=1e-5, atol=1e-4)


def test_moments_do_not_depend_on_where_blocks_end():
    x = torch.randn(100_000, 40)  # 16 MB: many blocks
    mean, variance = moments(x)
    np.testing.assert_allclose(mean, x.double().mean(dim=0), atol=1e-7)
    np.testing.assert_allclose(variance, x.double().var(dim=0, correction=0), rtol=5e-6)


def test_moments_of_many_rows_do_not_gather_rounding():
    x = torch.randn(200_003, 3, generator=torch.Generator().manual_seed(0)) + 3  # a prime: no rows are joined
    mean, variance = moments(x)
    np.testing.assert_allclose(mean, x.double().mean(dim=0), rtol=1e-7)
    np.testing.assert_allclose(variance, x.double().var(dim=0, correction=0), rtol=1e-6)


@pytest.mark.parametrize("offset", [0.0, 1.0, 1000.0])
@pytest.mark.parametrize("places", [1, 49, 61, 397, 3136])  # one piece, primes, many pieces
def test_moments_of_planes_are_those_of_double_precision(offset, places):
    planes = torch.randn(5, 7, places, generator=torch.Generator().manual_seed(0)).relu() + offset
    planes[:, 2] = 0.0  # a dead channel
    planes[:, 3] = -0.1  # a constant one
    exact = planes.double()
    mean, variance = plane_moments(planes)
    np.testing.assert_allclose(mean, exact.mean(dim=(0, 2)), rtol=1e-7)
    np.testing.assert_allclose(variance, exact.var(dim=(0, 2), correction=0), rtol=3e-6, atol=1e-15)


def test_a_channel_far_from_zero_does_not_lose_its_variance_to_the_others():
    planes = torch.randn(4, 3, 3136, generator=torch.Generator().manual_seed(0))
    planes[:, 1] = 1e4 + planes[:, 1] / 8
    expected = planes.double().var(dim=(0, 2), correction=0)
    np.testing.assert_allclose(plane_moments(planes)[1], expected, rtol=1e-5)


def test_a_mean_that_drifts_from_block_to_block_is_taken_out():
    x = rows(100_000, 6) + torch.linspace(0, 50, 100_000)[:, None] * torch.arange(6)
    exact = x.double().numpy()
    np.testing.assert_allclose(covariance(x), np.cov(exact.T, bias=True), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(moments(x)[1], exact.var(axis=0), rtol=1e-4)


def test_quantiles_of_many_elements_are_not_those_of_the_first():
    x = torch.arange(300_000.0)
    np.testing.assert_allclose(quantiles(x), np.array(PROBABILITIES) * 299_999, atol=10)


def test_channels_are_found_wherever_they_stand():
    image = torch.randn(2, 5, 3, 4)
    expected = image.permute(0, 2, 3, 1).reshape(-1, 5)
    assert torch.equal(channel_rows(image, ("item", "channel", "height", "width")), expected)
    assert torch.equal(channel_rows(expected, ("item", "dim")), expected)
    assert channel_rows(image, ("item", "row", "column", "draw")).shape == (120, 1)


def test_quantiles_have_exact_ends_and_are_equivariant():
    x = torch.randn(300_000, generator=torch.Generator().manual_seed(0))
    found = quantiles(x)
    assert found[0] == x.min() and found[-1] == x.max()
    assert found.sort().values.equal(found)
    torch.testing.assert_close(quantiles(3 * x + 1), 3 * found + 1)
    np.testing.assert_allclose(found[1:-1], np.quantile(x.numpy(), PROBABILITIES[1:-1]), atol=0.03)


def test_a_subsample_keeps_places_and_says_which():
    grid = torch.arange(2 * 4 * 5 * 3.0).reshape(2, 4, 5, 3)
    found = subsample(grid, ("item", "row", "column", "dim"), places=6)
    assert found.axes == ("item", "draw", "dim")
    places = found.attributes["places"]
    assert places[0] == 0 and places[-1] == 19 and len(places) == 6
    assert torch.equal(found.values, grid.reshape(2, 20, 3)[:, places])
    everything = subsample(grid, ("item", "row", "column", "dim"), places=999)
    assert torch.equal(everything.values, grid.reshape(2, 20, 3))


def test_a_subsample_of_tensors_without_places_is_refused():
    with pytest.raises(MechlabError, match="subsample keeps places of an image"):
        next(reduced(rows(), ("item", "dim"), "subsample:4"))


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))


def test_a_step_gives_one_row_of_a_batch_and_an_evaluation_one_an_image(memory):
    model, x = network(), torch.randn(6, 4)
    plan = [{"site": "0", "quantity": "activation", "reduction": "moments"},
            {"site": "2", "quantity": "activation", "reduction": "covariance"},
            {"site": "1", "quantity": "activation", "reduction": "quantiles"}]  # fmt: skip
    with Recorder(model, plan, memory) as recorder, recorder.step(3):
        y = model(x)
    hidden = model[0](x).detach().double().numpy()
    assert memory.axes("activation_mean/0") == ("step", "dim")
    np.testing.assert_allclose(memory.values("activation_mean/0"), hidden.mean(axis=0)[None], rtol=1e-5)
    np.testing.assert_allclose(memory.values("activation_variance/0"), hidden.var(axis=0)[None], rtol=1e-5)
    assert memory.axes("activation_covariance/2") == ("step", "dim", "dim_other")
    expected = np.cov(y.detach().double().numpy().T, bias=True)
    np.testing.assert_allclose(memory.values("activation_covariance/2")[0], expected, rtol=1e-4, atol=1e-6)
    assert memory.values("activation_quantiles/1").shape == (1, len(PROBABILITIES))
    assert memory.coordinate("activation_quantiles/1", "step") == [3]


def test_an_evaluation_gives_the_moments_of_each_image(memory):
    model = nn.Sequential(nn.Identity())
    x = torch.randn(3, 8, 4)
    with (
        Recorder(
            model, [{"site": "0", "quantity": "activation", "reduction": "moments"}], memory
        ) as recorder,
        recorder.step(items=np.arange(3)),
    ):
        model(x)
    np.testing.assert_allclose(
        memory.values("activation_mean/0"), x.double().mean(dim=1), rtol=1e-6, atol=1e-7
    )
    assert memory.axes("activation_mean/0") == ("item", "dim")
    assert memory.coordinate("activation_mean/0", "item") == [0, 1, 2]


@pytest.mark.parametrize("reduction", ["moments", "covariance", "quantiles", "norm"])
def test_an_evaluation_reduces_each_image_also_where_channels_stand_second(memory, reduction):
    torch.manual_seed(0)
    model, x = nn.Conv2d(3, 5, 3).eval(), torch.randn(4, 3, 8, 7)
    plan = [{"site": "", "quantity": "activation", "reduction": reduction, "dtype": "float64"}]
    with Recorder(model, plan, memory) as recorder, recorder.step(items=np.arange(4)):
        image = model(x).detach().double().numpy()
    flat = image.reshape(4, 5, -1)
    expected = {
        "moments": {"mean": flat.mean(axis=2), "variance": flat.var(axis=2)},
        "covariance": {"covariance": np.stack([np.cov(one, bias=True) for one in flat])},
        "quantiles": {"quantiles": np.quantile(flat.reshape(4, -1), PROBABILITIES, axis=1).T},
        "norm": {"norm": np.linalg.norm(image, axis=1)},
    }[reduction]
    assert set(memory.rows) == {f"activation_{name}/model" for name in expected}
    for name, values in expected.items():
        np.testing.assert_allclose(memory.values(f"activation_{name}/model"), values, rtol=2e-5, atol=1e-6)
        assert memory.coordinate(f"activation_{name}/model", "item") == [0, 1, 2, 3]


def test_moments_and_quantiles_of_gradients_are_numbers_in_double_precision(memory):
    model, x = network(), torch.randn(6, 4)
    plan = [{"site": "0", "quantity": "gradient", "reduction": "moments"},
            {"site": "2", "quantity": "gradient", "reduction": "quantiles"}]  # fmt: skip
    with Recorder(model, plan, memory) as recorder, recorder.step(0):
        model(x).square().sum().backward()
    gradient = model[0].weight.grad.double().numpy()
    np.testing.assert_allclose(memory.values("gradient_mean/0"), [gradient.mean()], rtol=1e-5)
    np.testing.assert_allclose(memory.values("gradient_variance/0"), [gradient.var()], rtol=1e-5)
    assert memory.values("gradient_quantiles/2")[0, -1] == model[2].weight.grad.max()


@pytest.mark.parametrize("name", ["SGD", "Adam"])
def test_an_update_is_what_the_optimiser_did(name, memory):
    model, x = network(), torch.randn(6, 4)
    optimizer = getattr(torch.optim, name)(model.parameters(), lr=0.1)
    plan = [{"site": "0.*", "quantity": "update"}, {"site": "2", "quantity": "update", "reduction": "norm"}]
    moved = []
    with Recorder(model, plan, memory) as recorder:
        for step in range(3):
            before = [p.detach().double().clone() for p in model.parameters()]
            with recorder.step(step):
                optimizer.zero_grad()
                model(x).square().sum().backward()
                optimizer.step()
            moved.append(
                [(p.detach().double() - b).numpy() for p, b in zip(model.parameters(), before, strict=True)]
            )
    np.testing.assert_allclose(memory.values("update/0"), [step[0] for step in moved], rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(
        memory.values("update_norm/2"), [np.linalg.norm(step[2]) for step in moved], rtol=1e-5
    )
    assert memory.coordinate("update/0", "step") == [0, 1, 2]


def test_an_update_of_a_step_without_an_optimiser_is_zero(memory):
    model = network()
    plan = [{"site": "*", "quantity": "update", "reduction": "norm"}]
    with Recorder(model, plan, memory) as recorder, recorder.step(0):
        model(torch.ones(1, 4)).sum().backward()
    assert [memory.values(key).tolist() for key in memory.rows] == [[0.0]] * 4


def test_a_regular_expression_selects_whole_names(memory):
    model = network()
    plan = [{"site": r"regex:[02]", "quantity": "activation", "reduction": "norm"}]
    with Recorder(model, plan, memory) as recorder, recorder.step(0):
        model(torch.ones(2, 4))
    assert sorted(memory.rows) == ["activation_norm/0", "activation_norm/2"]
    for pattern, sentence in (
        ("regex:[", "is no regular expression"),
        ("regex:x+", "no site named 'regex:x\\+'"),
    ):
        with pytest.raises(MechlabError, match=sentence):
            Recorder(model, [{"site": pattern, "quantity": "activation"}], memory).__enter__()


@pytest.mark.parametrize("offset", [0.0, 300.0])
@pytest.mark.parametrize("block", [64, 1024**2])
@pytest.mark.parametrize("memory", [None, 5, 10_000])
def test_moments_of_images_are_those_of_their_places(offset, block, memory, monkeypatch):
    monkeypatch.setattr(reduction, "_BLOCK_BYTES", block)
    images = torch.randn(5, 6, 9, 7) * torch.arange(1, 7).view(6, 1, 1) + offset
    work = None if memory is None else torch.empty(memory)
    axes = ("item", "channel", "height", "width")
    mean, variance = (part.values for part in reduced(images, axes, "moments", work=work))
    exact = images.double().movedim(1, -1).reshape(-1, 6)
    np.testing.assert_allclose(mean, exact.mean(dim=0), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(variance, exact.var(dim=0, correction=0), rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_memory_that_is_lent_changes_no_bit(dtype):
    x = rows(count=700).to(dtype)
    for given, own in zip(moments(x, work=torch.full((2**18,), torch.nan)), moments(x), strict=True):
        assert torch.equal(given, own)
