"""Which images a recording of a foreign model holds: told by the caller, checked, refused when unclear."""

import numpy as np
import pytest
import torch
from torch import nn

import mechlab
from mechlab import recording
from mechlab.errors import MechlabError
from mechlab.instrument.deaf import refuse_deaf
from mechlab.instrument.item_table import ItemTable
from mechlab.instrument.recorder import Recorder
from mechlab.specs import Item

PLAN = [{"site": "0", "quantity": "activation"}]
GRADIENTS = [{"site": "0", "quantity": "row_contribution"}]


def item(name, **changed):
    given = {"sha256": "0" * 64, "class_name": "bolt", "split": "train", "label": 1, "defect": "spot"}
    return Item(**(given | changed), image=name)


def model():
    return nn.Sequential(nn.Linear(3, 2)).eval()


def test_calls_hold_the_items_that_were_said(tmp_path):
    network, table = model(), ["a.png", ("b.png", 1), item("c.png"), "d.png"]
    with mechlab.record(network, PLAN, tmp_path / "recording", items=table) as recorder:
        for chosen in (["c.png", "a.png"], [3], np.array([1])):
            recorder.batch(chosen)
            network(torch.randn(len(chosen), 3))
    with recording.open(tmp_path / "recording") as found:
        assert found["activation/0"].coordinates["item"].tolist() == [2, 0, 3, 1]
        assert [entry.image for entry in found.items] == ["a.png", "b.png", "c.png", "d.png"]
        assert [entry.label for entry in found.items] == [0, 1, 1, 0]
        assert found.items[2] == item("c.png")
        assert len({entry.sha256 for entry in found.items}) == 4


def test_a_batch_takes_whatever_the_table_takes(tmp_path):
    network, table = model(), ["a.png", ("b.png", 1), item("c.png"), ("d.png", 0)]
    with mechlab.record(network, PLAN, tmp_path / "recording", items=table) as recorder:
        recorder.batch(table[::-1])
        network(torch.randn(4, 3))
    with recording.open(tmp_path / "recording") as found:
        assert found["activation/0"].coordinates["item"].tolist() == [3, 2, 1, 0]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        pytest.param(("b.png", 0), "'b.png' was given label 0 and has 1 in items; correct one", id="label"),
        pytest.param(item("a.png"), "'a.png' was given label 1 and has 0 in items", id="label of an Item"),
        pytest.param(("c.png", 0), "no item named 'c.png'. Did you mean", id="name"),
        pytest.param(("b.png", 2), r"\('b.png', 2\) is no item; give an Item, a name, or", id="no label"),
        pytest.param(True, "True names no item; give its row, its name", id="a truth value"),
    ],
)
def test_what_names_no_row_of_the_table_is_refused(entry, message):
    with pytest.raises(MechlabError, match=message):
        ItemTable(["a.png", ("b.png", 1)]).rows([entry])


def test_the_name_of_a_loss_is_kept_with_what_comes_from_it(tmp_path):
    network = model()
    with mechlab.record(network, GRADIENTS, tmp_path / "recording", items=["a", "b"]) as recorder:
        for loss in ("mean", "tail:0.7:0.02"):
            recorder.batch([0, 1], loss=loss)
            network(torch.randn(2, 3)).sum().backward()
    with recording.open(tmp_path / "recording") as found:
        losses = found["row_contribution/0"].coordinates["loss"].tolist()
        assert losses == ["mean", "mean", "tail:0.7:0.02", "tail:0.7:0.02"]


def test_recordings_of_foreign_models_are_told_apart(tmp_path):
    network = model()
    for name in ("one", "two"):
        with mechlab.record(network, PLAN, tmp_path / name):
            network(torch.ones(1, 3))
    with recording.open(tmp_path / "one") as one, recording.open(tmp_path / "two") as two:
        assert one.attributes["run_id"] != two.attributes["run_id"]
        assert one.attributes["spec"] is None


@pytest.mark.parametrize(
    ("items", "batch", "message"),
    [
        pytest.param(
            ["a", "b"], None, r"call 0 of the model does not say which items it holds", id="not said"
        ),
        pytest.param(None, ["a", "b"], r"2 items, but the recording has no table of them", id="no table"),
        pytest.param(["a", "b"], ["a", "c"], r"no item named 'c'.* Known: a, b", id="an unknown name"),
        pytest.param(
            ["a", "b"], [0, 2], r"item 2 is not in the table of 2; give 0 to 1", id="an unknown row"
        ),
        pytest.param(
            ["a", "b"], ["a"], r"call 0 was said to hold 1 items, and .* \(2, 3\)", id="another number"
        ),
    ],
)
def test_a_call_whose_items_are_unclear_is_refused(tmp_path, items, batch, message):
    network = model()
    with (
        pytest.raises(MechlabError, match=message),
        mechlab.record(network, PLAN, tmp_path / "recording", items=items) as recorder,
    ):
        if batch is not None:
            recorder.batch(batch)
        network(torch.randn(2, 3))
    assert not list(tmp_path.iterdir())


def test_patches_that_come_flattened_are_folded_by_the_grid(tmp_path):
    network = model()
    with mechlab.record(network, PLAN, tmp_path / "recording", items=["a", "b"], grid=(2, 3)) as recorder:
        recorder.batch(["b", "a"])
        output = network(torch.randn(12, 3))
    with recording.open(tmp_path / "recording") as found:
        assert found["activation/0"].axes == ("item", "row", "column", "dim")
        np.testing.assert_array_equal(found["activation/0"].read().reshape(12, 2), output.detach().numpy())
        assert found["activation/0"].coordinates["item"].tolist() == [1, 0]


def test_what_was_said_holds_for_one_call(tmp_path):
    network = model()
    with (
        pytest.raises(MechlabError, match="call 1 of the model does not say"),
        mechlab.record(network, PLAN, tmp_path / "recording", items=["a"]) as recorder,
    ):
        recorder.batch(["a"])
        network(torch.randn(1, 3))
        network(torch.randn(1, 3))


@pytest.mark.parametrize(
    ("items", "message"),
    [
        pytest.param([], "items is empty", id="none"),
        pytest.param(["a", "b", "a"], "image 'a' stands at rows 0 and 2 of items", id="one twice"),
        pytest.param([("a", 2)], r"\('a', 2\) is no item", id="a label that is none"),
    ],
)
def test_a_table_that_is_none_is_refused(items, message):
    with pytest.raises(MechlabError, match=message):
        ItemTable(items)


def test_a_recorder_of_ones_own_takes_items_in_its_step():
    class Nowhere:
        def append(self, key, values, *, axes, coordinates, unit, attributes=None):
            raise AssertionError("nothing is written")

    with (
        pytest.raises(MechlabError, match=r"with a Recorder of your own, give items and loss to step"),
        Recorder(model(), PLAN, Nowhere()) as recorder,
    ):
        recorder.batch(["a"])


class _Wrapper(nn.Module):
    def __init__(self, module):
        super().__init__()
        self.module = module


@pytest.mark.parametrize("name", ["DistributedDataParallel", "FullyShardedDataParallel"])
def test_wrappers_that_hide_gradients_are_refused_by_the_name_of_their_type(name):
    wrapper = type(name, (_Wrapper,), {"__module__": "torch.nn.parallel"})(model())
    with pytest.raises(
        MechlabError, match=rf"wrapped in {name}, which .*; record the model before it is wrapped"
    ):
        refuse_deaf(wrapper)


def test_data_parallel_is_refused_and_a_class_of_ones_own_of_that_name_is_not():
    with pytest.raises(MechlabError, match="wrapped in DataParallel, which runs copies of the model"):
        refuse_deaf(nn.DataParallel(model()))
    refuse_deaf(type("DataParallel", (_Wrapper,), {})(model()))
