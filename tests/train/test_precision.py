"""In which precision products are made: what a context sets it puts back, and nothing slips in."""

import warnings

import pytest
import torch

from mechlab.errors import MechlabError
from mechlab.train import determinism
from mechlab.train.precision import lowered, products, products_behind, refuse_absent

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def cuts() -> tuple[str, bool]:
    """How CUDA devices treat float32 in products and in convolutions."""
    return torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32


@pytest.fixture(autouse=True)
def settled():
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = before


def test_settling_switches_off_what_torch_cuts_unasked():
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.backends.cudnn.allow_tf32 = True  # torch's own default
    determinism.settle(seed=0, threads=None)
    assert cuts() == ("highest", False)
    torch.use_deterministic_algorithms(deterministic)
    torch.set_num_threads(threads)


@pytest.mark.parametrize("block", [lambda: products("tf32", CUDA), lambda: products_behind("tf32")])
def test_tf32_holds_inside_a_block_and_is_put_back(block):
    with block():
        assert cuts() == ("high", True)
    assert cuts() == ("highest", False)
    with pytest.raises(KeyError), block():
        raise KeyError
    assert cuts() == ("highest", False)


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_other_precisions_leave_tf32_alone(precision):
    with products(precision, CPU), products_behind(precision):
        assert cuts() == ("highest", False)


def test_bf16_makes_products_of_eight_bits_and_leaves_sums_alone():
    x = torch.full((1, 1), 1 + 2**-9)  # a number that bfloat16 does not have
    with products("bf16", CPU):
        assert (x @ x).dtype is torch.bfloat16 and float(x @ x) == 1
        assert (x + x).dtype is torch.float32
        assert (x.double() @ x.double()).dtype is torch.float64
    assert (x @ x).dtype is torch.float32


def test_products_of_ones_own_are_lowered_where_others_are():
    x, double = torch.ones(2), torch.ones(2, dtype=torch.float64)
    assert [each.dtype for each in lowered(x, double)] == [torch.float32, torch.float64]
    with products("bf16", CPU):
        assert [each.dtype for each in lowered(x, double)] == [torch.bfloat16, torch.float64]


def test_a_precision_that_the_cpu_does_not_have_is_refused():
    with pytest.raises(MechlabError, match="changes nothing on the CPU; give --device cuda, or"):
        refuse_absent("tf32", CPU)
    for precision, device in (("bf16", CPU), ("float32", CPU), ("tf32", CUDA)):
        refuse_absent(precision, device)


def test_no_switch_warns():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with products("tf32", CUDA), products_behind("tf32"), products("bf16", CPU):
            assert cuts() == ("high", True)
