"""Laws of task streams (M34): every class in exactly one task, sizes as asked, the orders of the notes."""

from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mechlab.errors import MechlabError
from mechlab.runs.request import TrainRequest
from mechlab.runs.stream import divided, tasks_of
from reproductions.datasets import mvtec
from reproductions.datasets.layout import LayoutDataset

CLASSES = mvtec.SUBSETS["all"]
BENCHMARK = LayoutDataset(
    name="mvtec", root=mvtec.Path("."), present=CLASSES, subsets=mvtec.SUBSETS, orders=mvtec.ORDERS
)


def tasks(dataset=BENCHMARK, **words):
    return tasks_of(TrainRequest(**words), dataset)


@given(count=st.integers(1, 40), base=st.integers(1, 40), increment=st.integers(1, 40))
def test_every_class_stands_in_exactly_one_task_in_order(count, base, increment):
    classes = [f"c{number}" for number in range(count)]
    if base > count:
        with pytest.raises(MechlabError, match=f"begins with {base} classes, and there are {count}; give"):
            divided(classes, f"{base}-{increment}")
        return
    found = divided(classes, f"{base}-{increment}")
    assert list(chain(*found)) == classes
    assert len(found[0]) == base
    assert all(len(task) == increment for task in found[1:-1])
    assert len(found) == 1 or 1 <= len(found[-1]) <= increment


@pytest.mark.parametrize(
    ("stream", "sizes"),
    [
        ("1-1", [1] * 15), ("3-3", [3] * 5), ("5-5", [5] * 3), ("14-1", [14, 1]), ("10-5", [10, 5]),
        ("10-1", [10, 1, 1, 1, 1, 1]), ("2-2", [2] * 7 + [1]), ("15-1", [15]),
    ],
)  # fmt: skip
def test_the_streams_of_the_notes_have_their_sizes(stream, sizes):
    assert [len(task) for task in tasks(stream=stream)] == sizes


def test_the_streams_of_the_notes_hold_their_classes():
    assert tasks(stream="3-3")[:2] == (("bottle", "cable", "capsule"), ("carpet", "grid", "hazelnut"))
    assert tasks(stream="5-5")[2] == ("tile", "toothbrush", "transistor", "wood", "zipper")
    assert tasks(stream="14-1")[1] == ("zipper",)


@pytest.mark.parametrize(
    ("order", "names"),
    [
        ("default", "bottle cable capsule carpet grid hazelnut leather metal_nut pill screw tile toothbrush "
                    "transistor wood zipper"),
        ("texture-first", "carpet grid leather tile wood bottle cable capsule hazelnut metal_nut pill screw "
                          "toothbrush transistor zipper"),
        ("hard-first", "screw toothbrush capsule cable pill grid zipper transistor carpet wood hazelnut "
                       "metal_nut leather tile bottle"),
        ("easy-first", "bottle leather metal_nut tile hazelnut carpet grid cable pill zipper transistor wood "
                       "capsule toothbrush screw"),
    ],
)  # fmt: skip
def test_the_orders_are_those_of_the_notes(order, names):
    assert tasks(order=order) == tuple((name,) for name in names.split())


def test_an_order_sorts_a_subset_and_a_stream_divides_it():
    assert tasks(tasks="textures", order="hard-first", stream="2-2") == (
        ("grid", "carpet"), ("wood", "leather"), ("tile",),
    )  # fmt: skip


def test_without_stream_and_order_nothing_changes():
    assert tasks(tasks="bottle+cable,screw") == (("bottle", "cable"), ("screw",))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            {"tasks": "bottle,screw", "stream": "1-1"},
            "--stream 1-1 was given beside the tasks 'bottle,screw'",
        ),
        (
            {"tasks": "bottle", "order": "hard-first"},
            "--order hard-first was given beside the tasks 'bottle'",
        ),
        ({"tasks": "textrues", "stream": "1-1"}, "given beside the tasks 'textrues'"),
        ({"stream": "3"}, "stream '3' cannot be read; give the classes"),
        ({"stream": "0-3"}, "cannot be read"),
        ({"stream": "3-0"}, "cannot be read"),
        ({"stream": "3-3-3"}, "cannot be read"),
        ({"stream": "16-1"}, "begins with 16 classes, and there are 15"),
        ({"order": "hard-frist"}, "no order of mvtec named 'hard-frist'. Did you mean 'hard-first'"),
    ],
)
def test_a_stream_that_cannot_be_is_one_sentence(words, sentence):
    with pytest.raises(MechlabError, match=sentence):
        tasks(**words)


def test_a_data_set_without_orders_has_its_default_alone():
    own = LayoutDataset(name="folder", root=mvtec.Path("."), present=("a", "b", "c"))
    assert tasks(own, order="default", stream="2-1") == (("a", "b"), ("c",))
    with pytest.raises(MechlabError, match=r"no order of folder named 'hard-first'\. Known: default"):
        tasks(own, order="hard-first")


def test_a_subset_that_is_not_all_there_is_refused():
    part = LayoutDataset(name="mvtec", root=mvtec.Path("."), present=("bottle",), subsets=mvtec.SUBSETS)
    with pytest.raises(MechlabError, match="14 are not there"):
        tasks(part, stream="3-3")


@pytest.mark.parametrize("order", mvtec.ORDERS)
def test_every_order_holds_every_class_once(order):
    assert sorted(mvtec.ORDERS[order]) == list(CLASSES)
