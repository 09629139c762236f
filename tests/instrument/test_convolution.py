"""Row contributions of convolutions equal the norms of terms that are made one by one."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from mechlab.errors import MechlabError
from mechlab.instrument.recorder import Recorder


class Memory:
    """A store that keeps copies."""

    def __init__(self):
        self.rows = {}

    def append(self, key, values, *, axes, coordinates, unit, attributes=None):
        self.rows.setdefault(key, []).append((np.array(values), axes))

    def one(self, key):
        ((values, _),) = self.rows[key]
        return values


def recorded(model, x, *, quantity="row_contribution", reduction=None, site="*", dtype="float64"):
    memory = Memory()
    plan = [{"site": site, "quantity": quantity, "dtype": dtype, "reduction": reduction}]
    with Recorder(model, plan, memory) as recorder, recorder.step():
        model(x).square().sum().backward()
    return memory


def terms(conv, x):
    """The term of each place in the gradients of weight and bias: autograd, one output place at a time."""
    y = conv(x)
    b = torch.autograd.grad(y.square().sum(), y, retain_graph=True)[0]
    norms = torch.zeros(y.shape[0], *y.shape[2:], dtype=torch.float64)
    totals = torch.zeros_like(norms)
    for place in np.ndindex(*norms.shape):
        alone = torch.zeros_like(b)
        at = (place[0], slice(None), *place[1:])
        alone[at] = b[at]
        gradients = torch.autograd.grad(y, list(conv.parameters()), alone, retain_graph=True)
        norms[place] = gradients[0].norm()
        totals[place] = torch.cat([gradient.flatten() for gradient in gradients]).norm()
    return norms.numpy(), totals.numpy()


CONVOLUTIONS = [
    pytest.param(nn.Conv1d(2, 3, 3), (2, 2, 7), id="1d"),
    pytest.param(
        nn.Conv2d(2, 3, (3, 2), stride=(2, 1), padding=(1, 0)), (2, 2, 6, 5), id="2d, stride, padding"
    ),
    pytest.param(
        nn.Conv2d(4, 6, 3, padding=2, dilation=2, groups=2), (2, 4, 5, 5), id="2d, dilation, groups"
    ),
    pytest.param(
        nn.Conv2d(4, 4, 4, padding="same", groups=4, bias=False), (2, 4, 5, 6), id="depthwise, same"
    ),
    pytest.param(nn.Conv3d(2, 2, 2, stride=2, padding=1), (2, 2, 3, 4, 3), id="3d"),
]


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize(("conv", "shape"), CONVOLUTIONS)
def test_contributions_of_a_convolution_equal_the_terms_made_one_by_one(conv, shape):
    model = nn.Sequential(conv).double()
    x = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    norms, totals = terms(conv, x)
    np.testing.assert_allclose(recorded(model, x).one("row_contribution/0"), norms, rtol=1e-12)
    total = recorded(model, x, reduction="total").one("row_contribution/total")
    np.testing.assert_allclose(total, totals, rtol=1e-12)


@pytest.mark.parametrize(
    ("conv", "shape", "axes"),
    [
        pytest.param(nn.Conv1d(1, 1, 1), (2, 1, 3), ("item", "row"), id="1d"),
        pytest.param(nn.Conv2d(1, 1, 1), (2, 1, 3, 3), ("item", "row", "column"), id="2d"),
        pytest.param(nn.Conv3d(1, 1, 1), (2, 1, 3, 3, 3), ("item", "row_depth", "row", "column"), id="3d"),
    ],
)
def test_places_have_axes_that_a_recording_allows(conv, shape, axes):
    from mechlab.recording.format import check_axes

    ((_, found),) = recorded(nn.Sequential(conv), torch.randn(shape), dtype="float32").rows[
        "row_contribution/0"
    ]
    assert found == axes
    check_axes(found, ())


def test_a_convolution_of_one_pixel_is_the_linear_layer_of_its_pixels():
    conv, linear = nn.Conv2d(3, 4, 1).double(), nn.Linear(3, 4).double()
    linear.weight.data, linear.bias.data = conv.weight.detach().flatten(1).clone(), conv.bias.detach().clone()
    x = torch.randn(2, 3, 5, 4, dtype=torch.float64)
    one = recorded(nn.Sequential(conv), x).one("row_contribution/0")
    other = recorded(nn.Sequential(linear), x.permute(0, 2, 3, 1)).one("row_contribution/0")
    np.testing.assert_allclose(one, other, rtol=1e-12)


@pytest.mark.parametrize(("inputs", "loss"), [(1.0, 1e-30), (1e-30, 1.0)], ids=["gradients", "inputs"])
def test_numbers_too_small_for_their_square_keep_their_norm(inputs, loss):
    model, x = nn.Sequential(nn.Conv2d(2, 2, 3)), inputs * torch.randn(1, 2, 4, 4)
    memory, plan = Memory(), [{"site": "0", "quantity": "row_contribution", "dtype": "float64"}]
    with Recorder(model, plan, memory) as recorder, recorder.step():
        (loss * model(x)).sum().backward()
    patches = functional.unfold(x.double(), 3).norm(dim=1).reshape(1, 2, 2)
    np.testing.assert_allclose(memory.one("row_contribution/0"), loss * 2**0.5 * patches, rtol=1e-6)


def test_padding_that_is_not_zeros_is_refused():
    with pytest.raises(MechlabError, match=r"'0' pads with mode 'circular'.*record 'gradient' instead"):
        recorded(
            nn.Sequential(nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular")), torch.randn(1, 1, 4, 4)
        )


@pytest.mark.parametrize(
    ("layer", "shape"), [(nn.Conv2d(1, 1, 3), (1, 4, 4)), (nn.Linear(3, 2), (3,))], ids=["an image", "a row"]
)
def test_one_without_an_item_axis_is_refused(layer, shape):
    with pytest.raises(MechlabError, match=r"'0' was given shape .* which has no item axis; give a batch"):
        recorded(nn.Sequential(layer), torch.randn(shape))


def test_a_total_that_attention_would_hide_a_part_of_is_refused():
    model = nn.TransformerEncoderLayer(4, 2, dim_feedforward=8, batch_first=True)
    with pytest.raises(
        MechlabError, match=r"'self_attn' multiplies with the weight of 'self_attn.out_proj' itself"
    ):
        recorded(model, torch.randn(2, 3, 4), reduction="total")
