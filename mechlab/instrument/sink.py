"""Where the hooks put what they see: one clock, one set of coordinates, one writer.

The sink knows the step under way and gives every array its axes and coordinates; it counts the seconds
spent in hooks and the seconds for which the writer held the loop back. Source: numerics notes, "Recording
overhead".
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Int, Shaped
from torch import Tensor

from mechlab.errors import MechlabError
from mechlab.instrument.half import Halved, halved, scratch

DTYPES = {"float16": torch.float16, "float32": torch.float32, "float64": torch.float64}
LEADING = ("item", "row", "column")
LENT_BYTES = 64 * 1024  # smaller arrays are copied sooner than a lent buffer is looked up


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


@runtime_checkable
class Lender(Protocol):
    """A store that lends buffers: what is written into one is handed over without another copy."""

    def lend(self, nbytes: int) -> np.ndarray:
        """Return a buffer of at least `nbytes` bytes, which the caller owns until `append(room=...)`."""
        ...


class Room(NamedTuple):
    """Memory on the CPU that a hook fills: a tensor, and the lent buffer that it lies in, if any."""

    tensor: Shaped[Tensor, "*shape"]
    buffer: np.ndarray | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """What is under way: a training step, or images under one adapter, stage and loss."""

    step: int | None = None
    items: Int[np.ndarray, " item"] | None = None  # rows of the item table, in batch order
    stage: int | None = None
    adapter: int | None = None
    loss: str | None = None
    loss_scale: float = 1.0  # what the loss was multiplied by before backward
    _known: dict[tuple[str, int, bool], dict[str, np.ndarray]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def coordinates(self, growing: str, length: int, *, of_loss: bool) -> dict[str, np.ndarray]:
        """Return the coordinates of `length` rows along the growing axis, for reading alone."""
        asked = (growing, length, of_loss)
        if asked not in self._known:  # a step has one for all its parameters
            self._known[asked] = self._coordinates(growing, length, of_loss=of_loss)
            for values in self._known[asked].values():
                values.flags.writeable = False
        return self._known[asked]

    def _coordinates(self, growing: str, length: int, *, of_loss: bool) -> dict[str, np.ndarray]:
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
            found["item"] = np.array(self.items, dtype=np.int64)
        return found


class Sink:
    """Writes tensors of the step under way, and times itself."""

    def __init__(self, store: Store | None, *, grid: tuple[int, int] | None = None) -> None:
        """Write to `store`; `grid` is the (rows, columns) of an image's patches where sites flatten them."""
        self.store = store
        self.work = scratch()
        self.grid = grid
        self.moment: Moment | None = None
        self.batch: int | None = None  # images in the forward pass under way, where known
        self.seconds_in_hooks = 0.0
        self.seconds_blocked = 0.0
        self.bytes = 0

    @property
    def store(self) -> Store | None:
        """Where rows go."""
        return self._store

    @store.setter
    def store(self, store: Store | None) -> None:
        self._store = store
        # Asked once: looking a protocol up costs as much as copying a small array.
        self._lender = store if isinstance(store, Lender) else None

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
        is_scaled: bool = False,
        attributes: dict[str, Any] | None = None,
    ) -> None:
        """Append a tensor's rows; `axes[0]` grows. What is of a loss has its name.

        In fp16 that, and what `is_scaled`, has a power of two and counts of what fp16 could not hold.
        """
        is_halved = (of_loss or is_scaled) and dtype == "float16"
        if values.numel() * DTYPES[dtype].itemsize < LENT_BYTES and not is_halved:  # copied by the store
            small = values.detach().to(device="cpu", dtype=DTYPES[dtype]).numpy()
            self.append(key, small, axes=axes, unit=unit, of_loss=of_loss, attributes=attributes)
            return
        room = self.room(values.shape, dtype)
        if is_halved:
            half = halved(values.cpu(), into=room.tensor, work=self.work)
            self.give(key, room, axes=axes, unit=unit, of_loss=of_loss, half=half, attributes=attributes)
            return
        room.tensor.copy_(values.detach())
        self.give(key, room, axes=axes, unit=unit, of_loss=of_loss, attributes=attributes)

    def room(self, shape: Sequence[int], dtype: str) -> Room:
        """Return memory for an array: lent by the store where that saves a copy."""
        nbytes = math.prod(shape) * DTYPES[dtype].itemsize
        if nbytes < LENT_BYTES or self._lender is None:
            return Room(torch.empty(tuple(shape), dtype=DTYPES[dtype]), None)
        buffer = self._lender.lend(nbytes)
        array = buffer[:nbytes].view(dtype).reshape(shape)
        return Room(torch.from_numpy(array), buffer)

    def give(
        self,
        key: str,
        room: Room,
        *,
        axes: tuple[str, ...],
        unit: str,
        of_loss: bool = False,
        half: Halved | None = None,
        attributes: dict[str, Any] | None = None,
    ) -> None:
        """Append what stands in `room`; with `half`, the scale and the counts of its making."""
        extra: dict[str, np.ndarray] = {}
        if half is not None:
            length = len(room.tensor)
            extra["scale"] = np.array([half.scale] * length)
            extra["overflow"] = np.array([half.overflow] * length, dtype=np.int64)
            extra["underflow"] = np.array([half.underflow] * length, dtype=np.int64)
        array = room.tensor.numpy()
        self.append(key, array, axes=axes, unit=unit, of_loss=of_loss, extra=extra, room=room.buffer,
                    attributes=attributes)  # fmt: skip

    def append(
        self,
        key: str,
        array: Shaped[np.ndarray, "row *rest"],
        *,
        axes: tuple[str, ...],
        unit: str,
        of_loss: bool = False,
        extra: dict[str, np.ndarray] | None = None,
        room: np.ndarray | None = None,
        attributes: dict[str, Any] | None = None,
    ) -> None:
        """Append an array's rows as they are, with the coordinates of the moment and any `extra` ones.

        `room` is the lent buffer that the array lies in: it goes back to the store.
        """
        if self.store is None:
            raise ValueError("the recorder has no store; give one before the first step")
        coordinates = self._now().coordinates(axes[0], len(array), of_loss=of_loss) | (extra or {})
        self.bytes += array.nbytes
        began = perf_counter()
        lent: dict[str, np.ndarray] = {} if room is None else {"room": room}
        self.store.append(key, array, axes=axes, coordinates=coordinates, unit=unit, attributes=attributes,
                          **lent)  # fmt: skip
        self.seconds_blocked += perf_counter() - began

    def unscaled(self, values: Shaped[Tensor, "*shape"]) -> Shaped[Tensor, "*shape"]:
        """Return what is linear in the loss divided by the step's loss scale, or as it is without one."""
        scale = self._now().loss_scale
        if scale == 1.0:
            return values
        is_exact = values.dtype in (torch.float32, torch.float64)  # a half could vanish in the division
        return (values if is_exact else values.float()) / scale

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
