"""Convolutions as linear maps of patches: y_t = W a_t, with a_t the patch of the input under place t.

The norms of all a_t come from one convolution of the squared input with a kernel of ones; nothing is
unfolded. Where patches themselves are needed they are a view of the padded input. Groups are maps of their
own: the term of a place in the weight's gradient is one block a group. Source: numerics notes, "Per-patch
gradient norms"; Rochette et al. 2019 (arXiv:1912.06015) for gradients of single images.
"""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn import functional

from mechlab.errors import MechlabError

Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
PLACES = {1: ("row",), 2: ("row", "column"), 3: ("row_depth", "row", "column")}


def refuse_unpadded(name: str, conv: Convolution) -> None:
    """Refuse what is no sum over patches padded with zeros: MechlabError for other padding modes."""
    if conv.padding_mode != "zeros":
        raise MechlabError(
            f"'{name}' pads with mode '{conv.padding_mode}', and rows are known for padding with zeros only; "
            "record 'gradient' instead, or leave the layer out."
        )


def patch_norms(
    conv: Convolution, images: Float[Tensor, "item channel *size"]
) -> Float[Tensor, "item group *place"]:
    """Return the Euclidean norm of the patch under each place of the output, a group, in float64."""
    grouped = torch.unflatten(images.detach(), 1, (conv.groups, -1))
    squares = torch.linalg.vector_norm(grouped, dim=2, dtype=torch.float64).square_()
    padded = functional.pad(squares, _padding(conv))
    ones = padded.new_ones(conv.groups, 1, *conv.kernel_size)
    convolve = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}[len(conv.kernel_size)]
    sums = convolve(padded, ones, stride=conv.stride, dilation=conv.dilation, groups=conv.groups)  # type: ignore[operator]
    return sums.clamp_(min=0.0).sqrt_()  # type: ignore[no-any-return]


def output_norms(
    conv: Convolution, gradient: Float[Tensor, "item channel *place"]
) -> Float[Tensor, "item group *place"]:
    """Return the Euclidean norm over the channels of each group, in float64."""
    grouped = torch.unflatten(gradient.detach(), 1, (conv.groups, -1))
    return torch.linalg.vector_norm(grouped, dim=2, dtype=torch.float64)  # type: ignore[no-any-return]


def patches(
    conv: Convolution, images: Shaped[Tensor, "item channel *size"]
) -> Shaped[Tensor, "item group width *places_then_kernel"]:
    """Return the patch under each place, a view of the padded input."""
    view = functional.pad(images, _padding(conv))
    for at, (size, step, gap) in enumerate(zip(conv.kernel_size, conv.stride, conv.dilation, strict=True)):
        view = view.unfold(2 + at, gap * (size - 1) + 1, step)[..., ::gap]
    return torch.unflatten(view, 1, (conv.groups, -1))


def _padding(conv: Convolution) -> list[int]:
    """Return the padding as `torch.nn.functional.pad` takes it: last axis first, both ends of each."""
    return list(conv._reversed_padding_repeated_twice)
