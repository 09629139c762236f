"""In which precision matrix products are made; what they give, and all else, stays float32.

bf16: products of bfloat16 numbers, 8 bits each, with the range of float32, so that gradients need no scaler;
backwards as forwards. tf32: products of float32 numbers cut to 11 bits, in CUDA devices of 2020 and later.
Source: NVIDIA, "TensorFloat-32", 2020; Kalamkar et al. 2019 (bfloat16).
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor

from mechlab.errors import MechlabError
from mechlab.specs import Precision


def refuse_absent(precision: Precision, device: torch.device) -> None:
    """Refuse to train in a precision that a device does not have, where it would change nothing.

    Raises:
        MechlabError: tf32 on the CPU.
    """
    if precision == "tf32" and device.type != "cuda":
        raise MechlabError(
            "precision=tf32 is a precision of CUDA devices and changes nothing on the CPU; give --device "
            "cuda, or precision=float32 or bf16."
        )


def products(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Make the products of a forward pass in a precision until the block ends.

    On the CPU tf32 is float32: a run trained with it can be scored there.
    """
    if precision == "bf16":
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return tf32() if precision == "tf32" else nullcontext()


def products_behind(precision: Precision) -> AbstractContextManager[None]:
    """Make the products of a backward pass in the precision of its forward pass."""
    return tf32() if precision == "tf32" else nullcontext()  # those of bf16 follow their tensors


@contextmanager
def tf32() -> Iterator[None]:
    """Let CUDA devices cut the numbers of products and convolutions until the block ends."""
    before = (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32)
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.allow_tf32 = True
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]


def lowered(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Return float32 tensors in the precision that products are made in here, for products of one's own."""
    device = tensors[0].device.type
    if not torch.is_autocast_enabled(device):
        return tensors
    dtype = torch.get_autocast_dtype(device)
    return tuple(tensor.to(dtype) if tensor.dtype is torch.float32 else tensor for tensor in tensors)
