"""Whatever a module returns, its tensors are found in order and replaced without touching the rest."""

from collections import OrderedDict, namedtuple
from dataclasses import dataclass

import pytest
import torch

from mechlab.instrument.output_parts import changed, tensors

Pair = namedtuple("Pair", "latent log_det")


@dataclass(frozen=True)
class Flowed:
    latent: torch.Tensor
    log_det: torch.Tensor


A, B = torch.ones(2, 3), torch.full((2,), 2.0)
VALUES = {
    "tensor": (A, [A]),
    "tuple": ((A, B), [A, B]),
    "list": ([A, (B,)], [A, B]),
    "named tuple": (Pair(A, B), [A, B]),
    "dataclass": (Flowed(A, B), [A, B]),
    "mapping": ({"x": A, "y": {"z": B}}, [A, B]),
    "ordered mapping": (OrderedDict(x=A, y=B), [A, B]),
    "with others": ((A, None, torch.arange(3), "word", B), [A, B]),
    "nothing": ((None, torch.arange(3)), []),
}


@pytest.mark.parametrize(("value", "expected"), VALUES.values(), ids=list(VALUES))
def test_floating_point_tensors_are_found_in_order(value, expected):
    found = tensors(value)
    assert len(found) == len(expected)
    assert all(one is other for one, other in zip(found, expected, strict=True))


@pytest.mark.parametrize(("value", "expected"), VALUES.values(), ids=list(VALUES))
def test_they_are_replaced_in_a_value_of_the_same_type_and_the_old_one_stays(value, expected):
    found = changed(value, lambda parts: [part + 10 for part in parts])
    assert type(found) is type(value)
    assert [part.flatten()[0].item() for part in tensors(found)] == [11.0, 12.0][: len(expected)]
    assert all(one is other for one, other in zip(tensors(value), expected, strict=True))


@pytest.mark.parametrize(
    ("value", "output"),
    [
        ((A, B), 1),
        (Pair(A, B), "log_det"),
        (Flowed(A, B), "log_det"),
        ({"x": A, "y": B}, "y"),
        (((A,), (B,)), 1),
    ],
    ids=["tuple", "named tuple", "dataclass", "mapping", "wrapped"],
)
def test_one_part_is_replaced_and_the_other_is_the_same_object(value, output):
    found = tensors(changed(value, lambda parts: [part * 0 for part in parts], [output]))
    assert found[0] is A
    assert torch.equal(found[1], torch.zeros(2))


def test_what_is_no_tensor_stays_where_it_is():
    found = changed((A, None, torch.arange(3), "word"), lambda parts: [part * 0 for part in parts])
    assert found[1] is None
    assert torch.equal(found[2], torch.arange(3))
    assert found[3] == "word"


@pytest.mark.parametrize("output", [2, "latent"], ids=["position", "name"])
def test_a_part_that_is_not_there_is_refused(output):
    with pytest.raises(ValueError, match="has no part"):
        changed((A, B), list, [output])
