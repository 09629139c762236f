"""Where the hooks put what they see: one clock, one set of coordinates, one writer.

The sink knows the step under way and gives every array its axes and coordinates; it counts the seconds
spent in hooks and the seconds for which the writer held the loop back. Source: numerics notes, "Recording
overhead".
"""

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Int, Shaped
from torch import Tensor

from mechlab.errors import MechlabError
from mechlab.instrument.half import halved

DTYPES = {"float16": torch.float16, "float32": torch.float32, "float64": torch.float64}
LEADING = ("item", "row", "column")


@runtime_checkable
class Store(Protocol):
    """What the sink asks of a recording's writer."""

    def append(
        self,
        key: str,
        values: np.ndarray,
        *,
        axes: tuple[str, ...],
        coordinates: dict[str, np.ndarray],
        unit: str,
        attributes: dict[str, Any] | None = None,
    ) -> None:
        """Take a copy of rows of one key."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """What is under way: a training step, or images under one adapter, stage and loss."""

    step: int | None = None
    items: Int[np.ndarray, " item"] | None = None  # rows of the item table, in batch order
    stage: int | None = None
    adapter: int | None = None
    loss: str | None = None
    loss_scale: float = 1.0  # what the loss was multiplied by before backward

    def coordinates(self, growing: str, length: int, *, of_loss: bool) -> dict[str, np.ndarray]:
        """Return the coordinates of `length` rows along the growing axis."""
        found: dict[str, np.ndarray] = {}
        if self.step is not None:
            found["step"] = np.full(length, self.step, dtype=np.int64)
        for name, value in (("stage", self.stage), ("adapter", self.adapter)):
            if value is not None:
                found[name] = np.full(length, value, dtype=np.int32)
        if of_loss and self.loss is not None:
            found["loss"] = np.array([self.loss] * length)
        if growing == "item" and self.items is not None:
            if len(self.items) != length:
                raise MechlabError(
                    f"the step names {len(self.items)} items, a site gives {length} rows; name one item a "
                    "row, or say which axis is the items with Site(axes=...)."
                )
            found["item"] = np.asarray(self.items, dtype=np.int64)
        return found


class Sink:
    """Writes tensors of the step under way, and times itself."""

    def __init__(self, store: Store | None, *, grid: tuple[int, int] | None = None) -> None:
        """Write to `store`; `grid` is the (rows, columns) of an image's patches where sites flatten them."""
        self.store = store
        self.grid = grid
        self.moment: Moment | None = None
        self.batch: int | None = None  # images in the forward pass under way, where known
        self.seconds_in_hooks = 0.0
        self.seconds_blocked = 0.0
        self.bytes = 0

    @property
    def per_parameter_axis(self) -> Literal["step", "item", "stage"]:
        """Name the axis along which values of a parameter grow now: steps, single images, or checkpoints."""
        now = self._now()
        if now.step is not None:
            return "step"
        return "stage" if now.items is None else "item"

    @property
    def images(self) -> int | None:
        """Return the number of images in the batch under way, where it is known."""
        items = self._now().items
        return self.batch if items is None else len(items)

    def put(
        self,
        key: str,
        values: Shaped[Tensor, "row *rest"],
        *,
        axes: tuple[str, ...],
        unit: str,
        dtype: str = "float32",
        of_loss: bool = False,
    ) -> None:
        """Append a tensor's rows; `axes[0]` grows. What is of a loss has its name and, in fp16, a scale."""
        values = values.detach()
        extra: dict[str, np.ndarray] = {}
        if of_loss and dtype == "float16":
            half = halved(values)
            values, length = half.stored, len(values)
            extra["scale"] = np.full(length, half.scale)
            extra["overflow"] = np.full(length, half.overflow, dtype=np.int64)
            extra["underflow"] = np.full(length, half.underflow, dtype=np.int64)
        array = values.to(device="cpu", dtype=DTYPES[dtype]).numpy()
        self.append(key, array, axes=axes, unit=unit, of_loss=of_loss, extra=extra)

    def append(
        self,
        key: str,
        array: Shaped[np.ndarray, "row *rest"],
        *,
        axes: tuple[str, ...],
        unit: str,
        of_loss: bool = False,
        extra: dict[str, np.ndarray] | None = None,
    ) -> None:
        """Append an array's rows as they are, with the coordinates of the moment and any `extra` ones."""
        if self.store is None:
            raise ValueError("the recorder has no store; give one before the first step")
        coordinates = self._now().coordinates(axes[0], len(array), of_loss=of_loss) | (extra or {})
        self.bytes += array.nbytes
        began = perf_counter()
        self.store.append(key, array, axes=axes, coordinates=coordinates, unit=unit, attributes=None)
        self.seconds_blocked += perf_counter() - began

    def unscaled(self, values: Shaped[Tensor, "*shape"]) -> Shaped[Tensor, "*shape"]:
        """Return what is linear in the loss divided by the loss scale of the step, or as it is without one."""
        scale = self._now().loss_scale
        return values if scale == 1.0 else values / scale

    def folded(self, values: Shaped[Tensor, "row *rest"]) -> Shaped[Tensor, "item *folded"]:
        """Return values with flattened patches (batch-major) folded back to images, rows and columns.

        Only the first axis is folded, and only where its length is a multiple of the images of the batch.
        """
        images, length = self.images, len(values)
        if not images or length == images or length % images:
            return values
        rows, columns = self.grid or (0, 0)
        lead = (images, rows, columns) if rows * columns * images == length else (images, length // images)
        return values.reshape(*lead, *values.shape[1:])

    def timed(self, function: Callable[..., None]) -> Callable[..., None]:
        """Return the function with its seconds counted, less those in which the writer blocked."""

        def run(*arguments: Any) -> None:  # noqa: ANN401 - whatever torch hands a hook
            blocked, began = self.seconds_blocked, perf_counter()
            try:
                function(*arguments)
            finally:
                self.seconds_in_hooks += perf_counter() - began - (self.seconds_blocked - blocked)

        return run

    def _now(self) -> Moment:
        if self.moment is None:
            raise ValueError("no step is under way; record inside 'with recorder.step(...):'")
        return self.moment
