"""The coefficients of a coupling from products of a precision; the affine step itself stays float32.

So log-dets are exact in every precision: they are the sums of the log-scales that are applied. The inverse
makes the same products of the same channels, hence the same coefficients.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, runtime_checkable

from torch import Tensor

from mechlab.specs import Precision
from mechlab.train.precision import products

Given = ParamSpec("Given")
Coefficients = tuple[Tensor, Tensor]  # raw log-scales and shifts, both (batch, row, column, active)


@runtime_checkable
class Precise(Protocol):
    """What makes products in a precision of its own."""

    precision: Precision


def precise(
    made: Callable[Concatenate[Any, Tensor, Given], Coefficients],
) -> Callable[Concatenate[Any, Tensor, Given], Coefficients]:
    """Make a method's products in the precision of its module, and what it returns in that of its input."""

    @wraps(made)
    def coefficients(self: Precise, x: Tensor, *others: Given.args, **settings: Given.kwargs) -> Coefficients:
        with products(self.precision, x.device):
            log_scale, shift = made(self, x, *others, **settings)
        return log_scale.to(x.dtype), shift.to(x.dtype)

    return coefficients
