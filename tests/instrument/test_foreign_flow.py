"""A FrEIA graph: latents, its log-det, and the log-det of each node, which the graph does not return."""

import FrEIA.framework as graph
import FrEIA.modules as blocks
import numpy as np
import pytest
import torch
from torch import nn

import mechlab
from mechlab import recording
from mechlab.errors import MechlabError
from mechlab.instrument.graph_nodes import node_names


def subnet(width_in, width_out):
    return nn.Sequential(nn.Linear(width_in, 8), nn.Tanh(), nn.Linear(8, width_out))


def flow(*, named=True):
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 - FrEIA draws its permutations from the global generator
    nodes = [graph.InputNode(6, name="input")]
    for number in range(2):
        name = f"coupling{number}" if named else None
        nodes.append(graph.Node(nodes[-1], blocks.AllInOneBlock, {"subnet_constructor": subnet}, name=name))
    nodes.append(graph.Node(nodes[-1], blocks.PermuteRandom, {"seed": 1}, name="shuffle" if named else None))
    nodes.append(graph.OutputNode(nodes[-1], name="output"))
    return graph.GraphINN(nodes)


def batches(count=3):
    draw = torch.Generator().manual_seed(5)
    return [(torch.randn(4, 6, generator=draw),) for _ in range(count)]


def test_a_flow_trains_to_the_same_bits_and_gives_the_log_det_of_each_node(foreign):
    plan = [{"site": "*", "quantity": "log_det"}, {"site": "", "quantity": "latent"}]
    found, plain = foreign(flow, batches(), plan)
    assert set(found.keys("log_det/*")) == {"log_det/coupling0", "log_det/coupling1", "log_det/shuffle"}
    total = np.frombuffer(plain.outputs[0][1], dtype=np.float32)
    parts = sum(found[key][:4].astype(np.float64) for key in found.keys("log_det/*"))
    np.testing.assert_allclose(parts, total, rtol=1e-5)
    np.testing.assert_array_equal(found["log_det/shuffle"].read(), np.zeros(12))
    assert found["log_det/coupling0"].unit == "nat"
    latent = np.frombuffer(plain.outputs[0][0], dtype=np.float32).reshape(4, 6)
    np.testing.assert_array_equal(found["latent/model"][:4], latent)


def test_a_nodes_log_det_is_that_of_its_jacobian(tmp_path):
    model, (x,) = flow().double().eval(), batches(1)[0]
    with mechlab.record(
        model, [{"site": "coupling0", "quantity": "log_det", "dtype": "float64"}], tmp_path / "r"
    ):
        model(x.double())
    block = model.get_module_by_name("coupling0")
    for image, value in zip(
        x.double(), recording.open(tmp_path / "r")["log_det/coupling0"].read(), strict=True
    ):
        jacobian = torch.autograd.functional.jacobian(lambda v: block((v[None],))[0][0][0], image)
        assert value == pytest.approx(float(torch.linalg.slogdet(jacobian)[1]), rel=1e-10)


@pytest.mark.parametrize(
    ("pattern", "keys"),
    [
        pytest.param("coupling1", {"log_det/coupling1"}, id="a node by name"),
        pytest.param("module_list.0", {"log_det/coupling0"}, id="a node by its module"),
        pytest.param("type:AllInOneBlock", {"log_det/coupling0", "log_det/coupling1"}, id="a type of block"),
        pytest.param("", {"log_det/model"}, id="the whole graph"),
    ],
)
def test_nodes_are_chosen_by_name_module_or_type(tmp_path, pattern, keys):
    model = flow()
    with mechlab.record(model, [{"site": pattern, "quantity": "log_det"}], tmp_path / "recording"):
        model(*batches(1)[0])
    with recording.open(tmp_path / "recording") as found:
        assert set(found) == keys


def test_the_latent_of_a_node_has_the_nodes_name(tmp_path):
    model, (x,) = flow(), batches(1)[0]
    with mechlab.record(model, [{"site": "coupling0", "quantity": "latent"}], tmp_path / "recording"):
        model(x)
    with recording.open(tmp_path / "recording") as found:
        expected = model.get_module_by_name("coupling0")((x,))[0][0].detach().numpy()
        np.testing.assert_array_equal(found["latent/coupling0"].read(), expected)


def test_nodes_without_a_name_have_that_of_their_module():
    assert set(node_names(flow(named=False)).values()) == {f"module_list.{n}" for n in range(3)}


def test_a_graph_inside_a_model_has_its_path_before_the_names():
    model = nn.ModuleDict({"flow": flow()})
    assert set(node_names(model).values()) == {"flow.coupling0", "flow.coupling1", "flow.shuffle"}


def test_the_inverse_gives_the_opposite_log_det(tmp_path):
    model, (x,) = flow().double().eval(), batches(1)[0]
    plan = [{"site": "coupling*", "quantity": "log_det", "dtype": "float64"}]
    with mechlab.record(model, plan, tmp_path / "recording"), torch.no_grad():
        z, _ = model(x.double())
        model(z, rev=True)
    with recording.open(tmp_path / "recording") as found:
        there, back = np.split(found["log_det/coupling1"].read(), 2)
        np.testing.assert_allclose(there, -back, rtol=1e-8)


def test_a_module_without_a_log_det_is_refused(tmp_path):
    model = nn.Sequential(nn.Linear(3, 3))
    with (
        pytest.raises(MechlabError, match="'0' returns no log-det beside its output"),
        mechlab.record(model, [{"site": "0", "quantity": "log_det"}], tmp_path / "recording"),
    ):
        model(torch.ones(2, 3))
