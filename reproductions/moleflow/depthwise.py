"""Depthwise convolutions over a grid of patches, as wide as it at any kernel.

An odd kernel has a centre. An even one, which one script of the notes asks for (L6940) and the public code
cannot run, looks one patch further to the left and up than to the right and down.
"""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


class OffCentre(nn.Conv2d):
    """A depthwise convolution with an even kernel, zero-padded by one more before than behind."""

    def forward(
        self, input: Float[Tensor, "batch channel row column"]
    ) -> Float[Tensor, "batch channel row column"]:
        """Return the grid, as large as it was."""
        reach = self.kernel_size[0] // 2
        return super().forward(functional.pad(input, (reach, reach - 1, reach, reach - 1)))


def depthwise(channels: int, kernel: int) -> nn.Conv2d:
    """Return a depthwise convolution whose weights are still to be set."""
    if kernel % 2 == 0:
        return nn.utils.skip_init(OffCentre, channels, channels, kernel, groups=channels)
    return nn.utils.skip_init(nn.Conv2d, channels, channels, kernel, padding=kernel // 2, groups=channels)
