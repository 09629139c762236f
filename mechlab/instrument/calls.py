"""A recording that is driven by the calls of a model: each call opens a step, counted from 0.

A step lasts until the next call or the end of the block, so that the backward pass and the optimiser in
between belong to it.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any
from uuid import uuid4

from torch import Tensor, nn

from mechlab.errors import MechlabError
from mechlab.files import remove_folder
from mechlab.instrument.forecast import check_steps
from mechlab.instrument.item_table import Chosen, ItemTable, Named
from mechlab.instrument.recorder import LossScale, Plan, Recorder
from mechlab.instrument.schedule import check_fires
from mechlab.instrument.sink import Moment
from mechlab.instrument.sites import Site
from mechlab.recording.fault import OnFault


class Calls:
    """Opens a step of a recorder at every call of its model that counts.

    Calls in evaluation mode count only if the model was in evaluation mode to begin with.
    """

    def __init__(
        self, recorder: Recorder, *, table: ItemTable | None = None, loss_scale: LossScale = 1.0
    ) -> None:
        """Hook the model; `remove` takes the hook off."""
        self.recorder, self.table, self.loss_scale = recorder, table, loss_scale
        self.counts_evaluation = not recorder.model.training
        self.number = 0  # calls that counted
        self.next: Moment | None = None  # what the caller said of the next call
        self.after_first: Callable[[], None] | None = None  # called once, when the first step is written
        hook = recorder.model.register_forward_pre_hook(self._opened, with_kwargs=True)
        self.remove = hook.remove

    def announce(self, items: Chosen | None, *, loss: str | None) -> None:
        """Say which items the next call holds and under which loss; without a table items are refused."""
        if items is not None and self.table is None:
            raise MechlabError(
                f"the next call was said to hold {len(items)} items, but the recording has no table of them; "
                "give mechlab.record(..., items=[...]) the names of all images."
            )
        rows = None if items is None or self.table is None else self.table.rows(items)
        self.next = Moment(items=rows, loss=loss)

    def _opened(self, module: nn.Module, positional: tuple[Any, ...], named: dict[str, Any]) -> None:
        told, self.next = self.next or Moment(), None
        if self.recorder.sink.moment is not None:
            self.recorder.end()
            if self.number == 1 and self.after_first is not None:
                self.after_first()
        if not (module.training or self.counts_evaluation):
            return
        if self.table is not None and told.items is None:
            raise MechlabError(
                f"call {self.number} of the model does not say which items it holds; call "
                "recorder.batch([...]) before it, or leave items out of mechlab.record."
            )
        tensors = [value for value in (*positional, *named.values()) if isinstance(value, Tensor)]
        shape = next((tuple(value.shape) for value in tensors if value.ndim), ())
        if told.items is not None and shape:
            self._refuse_other_number(len(told.items), shape)
        self.recorder.begin(self.number, items=told.items, loss=told.loss, loss_scale=self.loss_scale)
        self.number += 1
        self.recorder.sink.batch = shape[0] if shape else None

    def _refuse_other_number(self, items: int, shape: tuple[int, ...]) -> None:
        """Refuse a number of items that no axis of the input has: rows would pass for an item's patches."""
        rows, columns = self.recorder.sink.grid or (0, 0)
        if items not in shape and items * rows * columns != shape[0]:
            raise MechlabError(
                f"call {self.number} was said to hold {items} items, and its input has shape {shape}; name "
                "one item an image, or give the grid of an image's patches if the input holds them flattened."
            )


@contextmanager
def record(
    model: nn.Module,
    plan: Plan,
    path: Path | str,
    *,
    sites: Sequence[Site] = (),
    grid: tuple[int, int] | None = None,
    items: Sequence[Named] | None = None,
    loss_scale: LossScale = 1.0,
    steps: int | None = None,
    on_fault: OnFault = "stop",
) -> Iterator[Recorder]:
    """Record any loop over any model: every call of the model opens a step, counted from 0.

    Calls in evaluation mode count only if the model is in evaluation mode when the block is entered. `path`
    becomes a recording. `items` are its images, and `recorder.batch` says which of them a call holds.
    `loss_scale` is what the loss is multiplied by before backward (a GradScaler's get_scale): recorded
    gradients are divided by it. `steps` is the number of calls to come: with it a recording that the disk
    cannot hold is refused after the first. `on_fault="go-on"` lets the loop outlive a disk that fills up.
    Raises MechlabError for a plan that does not fit and for a loop that calls nothing.
    """
    create = import_module("mechlab.recording.writer").Writer.create
    table = None if items is None else ItemTable(items)
    named = {"run_id": uuid4().hex, "provenance": {"model": type(model).__name__}}
    folder = Path(path)
    # The recorder comes first, so that a plan that does not fit leaves no recording behind.
    with Recorder(model, plan, sites=sites, grid=grid) as recorder:
        try:
            with create(folder, attributes=named, on_fault=on_fault) as writer:
                recorder.sink.store = writer
                if table is not None:
                    writer.items(table.items)
                with _called(recorder, table=table, loss_scale=loss_scale) as calls:
                    if steps is not None:
                        check_fires(recorder.plan, steps=steps)
                        calls.after_first = partial(
                            check_steps, recorder, writer.sizes, folder, steps=range(steps)
                        )
                    yield recorder
                check_fires(recorder.plan, steps=recorder.steps)
                writer.note({"overhead": asdict(recorder.statistics)})
        finally:
            if recorder.sink.store is not None and not recorder.sink.bytes:
                remove_folder(folder)  # this call made it, and it holds nothing


@contextmanager
def _called(recorder: Recorder, *, table: ItemTable | None, loss_scale: LossScale) -> Iterator[Calls]:
    """Let the calls of the model drive a recorder; MechlabError if none counted."""
    calls = recorder.calls = Calls(recorder, table=table, loss_scale=loss_scale)
    try:
        yield calls
        if recorder.sink.moment is not None:
            recorder.end()
    finally:
        calls.remove()
        recorder.calls = None
    if not calls.number:
        raise MechlabError(
            "nothing was recorded: the block did not call the model in training mode; call model(...) inside "
            "it, or model.eval() before it to record an evaluation."
        )
