"""Modules of other libraries and awkward ones: timm, in-place operations, shared weights, graphs."""

import numpy as np
import pytest
import timm
import torch
from torch import nn

import mechlab
from mechlab import recording
from mechlab.errors import MechlabError


def resnet():
    torch.manual_seed(0)
    return timm.create_model("resnet10t", pretrained=False, num_classes=3)


def images(count=3, *, batch=2, size=32):
    draw = torch.Generator().manual_seed(2)
    return [(torch.randn(batch, 3, size, size, generator=draw),) for _ in range(count)]


def test_a_timm_resnet_trains_to_the_same_bits(foreign):
    plan = [
        {"site": "layer?", "quantity": "activation", "dtype": "float16"},
        {"site": "layer2.0.conv*", "quantity": "row_contribution"},
        {"site": "fc", "quantity": "row_cosine"},
        {"site": "conv1.0", "quantity": "gradient_cosine"},
    ]
    found, plain = foreign(resnet, images(), plan)
    assert found["activation/layer1"].axes == ("item", "channel", "height", "width")
    assert found["row_contribution/layer2.0.conv1"].axes == ("item", "row", "column")
    gradients = [step.ravel().astype(np.float64) for step in plain.gradients["conv1.0.weight"]]
    unit = [gradient / np.linalg.norm(gradient) for gradient in gradients]
    found_cosines = found["gradient_cosine/conv1.0"].read()
    np.testing.assert_allclose(found_cosines[1:], [unit[0] @ unit[1], unit[1] @ unit[2]], rtol=1e-5)


def test_gradient_norms_of_single_images_in_a_timm_resnet_equal_single_backward_passes(tmp_path):
    model = resnet().double().eval()
    (x,) = images(1, batch=3)[0]
    plan = [{"site": "*", "quantity": "sample_gradient_norm", "dtype": "float64", "reduction": "total"}]
    with mechlab.record(model, plan, tmp_path / "recording"):
        model(x.double()).square().sum().backward()
    counted = [p for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear) for p in m.parameters()]
    expected = []
    for image in x.double():
        model.zero_grad()
        model(image[None]).square().sum().backward()
        expected.append(float(torch.cat([p.grad.flatten() for p in counted]).norm()))
    with recording.open(tmp_path / "recording") as found:
        np.testing.assert_allclose(found["sample_gradient_norm/total"].read(), expected, rtol=1e-10)


class Awkward(nn.Module):
    """An in-place ReLU after each layer, and a decoder that shares the encoder's weight."""

    def __init__(self):
        super().__init__()
        self.encode, self.relu = nn.Linear(6, 6), nn.ReLU(inplace=True)
        self.decode = nn.Linear(6, 6)
        self.decode.weight = self.encode.weight

    def forward(self, x):
        return self.decode(self.relu(self.encode(x)).mul(2).add_(1))


def awkward():
    torch.manual_seed(0)
    return Awkward()


def vectors(count=3):
    draw = torch.Generator().manual_seed(3)
    return [(torch.randn(4, 6, generator=draw),) for _ in range(count)]


def test_in_place_operations_do_not_reach_what_was_recorded(foreign):
    plan = [{"site": "encode", "quantity": "activation"}, {"site": "relu", "quantity": "activation"}]
    found, _ = foreign(awkward, vectors(), plan)
    model, (x,) = awkward(), vectors(1)[0]
    before = model.encode(x).detach().numpy()
    assert before.min() < 0  # the ReLU would have cleared it
    np.testing.assert_array_equal(found["activation/encode"][:4], before)
    np.testing.assert_array_equal(found["activation/relu"][:4], np.maximum(before, 0))


def test_a_shared_weight_has_one_gradient_under_one_name_and_no_row_contributions(foreign, tmp_path):
    found, _ = foreign(awkward, vectors(), [])
    assert set(found.keys("gradient/*")) == {
        "gradient/encode",
        "gradient/encode.bias",
        "gradient/decode.bias",
    }
    for quantity in ("row_contribution", "sample_gradient_norm", "row_cosine"):
        with (
            pytest.raises(MechlabError, match="'encode' and 'decode' share one weight"),
            mechlab.record(awkward(), [{"site": "*", "quantity": quantity}], tmp_path / quantity),
        ):
            pytest.fail("the plan does not fit")


class GraphNetwork(nn.Module):
    """Two graph convolutions; nodes are rows."""

    def __init__(self):
        super().__init__()
        from torch_geometric.nn import GCNConv

        self.first, self.second = GCNConv(5, 4), GCNConv(4, 2)

    def forward(self, x, edges):
        return self.second(torch.relu(self.first(x, edges)), edges)


def graph_network():
    torch.manual_seed(0)
    return GraphNetwork()


def graphs(count=3, *, nodes=6):
    draw = torch.Generator().manual_seed(4)
    ring = torch.arange(nodes)
    edges = torch.stack([torch.cat([ring, ring.roll(1)]), torch.cat([ring.roll(1), ring])])
    return [(torch.randn(nodes, 5, generator=draw), edges) for _ in range(count)]


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # when torch_geometric is imported
def test_a_graph_network_of_torch_geometric_records_nodes_as_rows(foreign):
    plan = [
        {"site": "type:GCNConv", "quantity": "activation"},
        {"site": "first", "quantity": "input_gradient"},
    ]
    found, _ = foreign(graph_network, graphs(), plan)
    assert found["activation/first"].shape == (18, 4)
    assert found["activation/first"].axes == ("item", "dim")
    assert found["input_gradient/first"].shape == (18,)
    model, (x, edges) = graph_network(), graphs(1)[0]
    np.testing.assert_array_equal(found["activation/first"][:6], model.first(x, edges).detach().numpy())


def test_a_sparse_output_is_refused(tmp_path):
    class Sparse(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Identity()

        def forward(self, x):
            return self.inner(x.to_sparse()).to_dense()

    model = Sparse()
    with (
        pytest.raises(MechlabError, match="'inner' gives a sparse tensor"),
        mechlab.record(model, [{"site": "inner", "quantity": "activation"}], tmp_path / "recording"),
    ):
        model(torch.ones(2, 2))
    assert not list(tmp_path.iterdir())
