"""The recorder: hooks of a plan on any `nn.Module`, driven by a loop or by the calls of the model.

Hooks read and never write: outputs and gradients are the same bits with and without them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Any

import torch
from jaxtyping import Int
from numpy import ndarray
from torch import Tensor, nn

from mechlab.errors import MechlabError
from mechlab.files import remove_folder
from mechlab.instrument.activation import ActivationTap
from mechlab.instrument.gradient import GradientTap
from mechlab.instrument.input_gradient import InputGradientTap
from mechlab.instrument.log_det import LogDetTap
from mechlab.instrument.plan import read_plan
from mechlab.instrument.row_contribution import RowContributionTap
from mechlab.instrument.schedule import is_due
from mechlab.instrument.sink import Moment, Sink, Store
from mechlab.instrument.sites import Site
from mechlab.instrument.statistics import Statistics
from mechlab.instrument.tap import Tap, Target
from mechlab.instrument.weight import WeightTap
from mechlab.specs import PlanEntry

_TAPS: dict[str, Callable[[Target], Tap]] = {
    "activation": ActivationTap,
    "latent": ActivationTap,
    "log_det": LogDetTap,
    "row_contribution": RowContributionTap,
    "patch_gradient_norm": RowContributionTap,
    "input_gradient": InputGradientTap,
    "gradient": GradientTap,
    "weight": WeightTap,
    "weight_delta": WeightTap,
}
Plan = Sequence[PlanEntry | Mapping[str, Any]] | Path | str


class Recorder:
    """Attaches a plan to a model while it is entered, and writes inside `step`.

    `sites` are places that the system names; `grid` is the (rows, columns) of an image's patches, for
    layers that see them flattened; `reference` holds the values that weight deltas are taken from (default:
    those on entry).
    """

    def __init__(
        self,
        model: nn.Module,
        plan: Plan,
        store: Store | None = None,
        *,
        sites: Sequence[Site] = (),
        grid: tuple[int, int] | None = None,
        reference: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Check model and plan; nothing is attached yet. Raises MechlabError for either."""
        refuse_deaf(model)
        self.model, self.plan, self.sites, self.reference = model, read_plan(plan), tuple(sites), reference
        self.sink = Sink(store, grid=grid)
        self.taps: list[tuple[PlanEntry, Tap]] = []
        self.steps = 0
        self.due: set[PlanEntry] = set()  # entries that a step was due for
        self._entered = self._seconds = 0.0
        self._silent: tuple[str, ...] = ()

    def __enter__(self) -> "Recorder":
        """Put the hooks on; on an error none stays."""
        self._entered = perf_counter()
        try:
            for entry in self.plan:
                self.taps.append((entry, self._tap(entry)))
            _refuse_equal_keys(self.taps)
        except BaseException:
            self._detach()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the hooks off, also after an error; an entry that was due and wrote nothing is an error."""
        self._silent = tuple(key for _, tap in self.taps for key in tap.keys if key not in tap.fired)
        idle = [entry for entry, tap in self.taps if entry in self.due and not tap.fired]
        self._detach()
        self._seconds = perf_counter() - self._entered
        if kind is None and idle:
            entry = idle[0]
            raise MechlabError(
                f"nothing was recorded of {entry.quantity} at '{entry.site}' in {self.steps} steps: its "
                "modules "
                "did not run, or no gradient reached them; choose another site."
            )

    def begin(
        self,
        step: int | None = None,
        *,
        items: Int[ndarray, " item"] | None = None,
        stage: int | None = None,
        adapter: int | None = None,
        loss: str | None = None,
    ) -> None:
        """Open a step (from 0); without a number, images that belong to no step of a training."""
        if self.sink.moment is not None:
            raise ValueError("a step is open already; end it first")
        self.sink.moment = Moment(step=step, items=items, stage=stage, adapter=adapter, loss=loss)
        self.steps += 1
        for entry, tap in self.taps:
            if step is None or is_due(step, every=entry.every):
                tap.begin()
                self.due.add(entry)

    def end(self) -> None:
        """Close the step: gradients and weights are written now, so call it after the optimiser."""
        try:
            for _, tap in self.taps:
                tap.end()
        finally:
            self.sink.moment = self.sink.batch = None

    @contextmanager
    def step(
        self,
        step: int | None = None,
        *,
        items: Int[ndarray, " item"] | None = None,
        stage: int | None = None,
        adapter: int | None = None,
        loss: str | None = None,
    ) -> Iterator[None]:
        """Record what the body does: forward, backward and, in a training, the optimiser."""
        self.begin(step, items=items, stage=stage, adapter=adapter, loss=loss)
        try:
            yield
        except BaseException:
            for _, tap in self.taps:
                tap.active = False  # what a broken step held back is not written
            self.sink.moment = self.sink.batch = None
            raise
        self.end()

    def watch(self, name: str, tensor: Tensor) -> None:
        """Hand over the tensor of a site that no module gives (`Site(module=None)`)."""
        for _, tap in self.taps:
            if not isinstance(tap, ActivationTap | InputGradientTap):
                continue
            for site in tap.sites:
                if site.name == name and site.module is None:
                    (tap.watch if isinstance(tap, InputGradientTap) else tap.take)(site, tensor)

    @property
    def statistics(self) -> Statistics:
        """What recording has cost so far."""
        open_for = self._seconds or perf_counter() - self._entered
        return Statistics(
            seconds=open_for,
            seconds_in_hooks=self.sink.seconds_in_hooks,
            seconds_blocked=self.sink.seconds_blocked,
            steps=self.steps,
            bytes=self.sink.bytes,
            silent=self._silent,
        )

    def _tap(self, entry: PlanEntry) -> Tap:
        if entry.quantity not in _TAPS:
            raise MechlabError(
                f"{entry.quantity} is no quantity of a running model; record it from a checkpoint with "
                "'mechlab record'."
            )
        target = Target(
            model=self.model, entry=entry, sink=self.sink, sites=self.sites, reference=self.reference
        )
        return _TAPS[entry.quantity](target)

    def _detach(self) -> None:
        for _, tap in self.taps:
            tap.remove()
        self.taps.clear()
        self.sink.moment = None


@contextmanager
def record(
    model: nn.Module,
    plan: Plan,
    path: Path | str,
    *,
    sites: Sequence[Site] = (),
    grid: tuple[int, int] | None = None,
) -> Iterator[Recorder]:
    """Record any loop over any model: every call of the model opens a step, counted from 0.

    A step lasts until the next call or the end of the block, so it holds the backward pass and the
    optimiser step in between. Calls in evaluation mode count only if the model is in evaluation mode when
    the block is entered. `path` becomes a recording. Raises MechlabError for a plan that does not fit and
    for a loop that calls nothing.
    """
    create = import_module("mechlab.recording.writer").Writer.create
    folder, named = Path(path), {"provenance": {"model": type(model).__name__}}
    # The recorder comes first, so that a plan that does not fit leaves no recording behind.
    with Recorder(model, plan, sites=sites, grid=grid) as recorder:
        try:
            with create(folder, attributes=named) as writer:
                recorder.sink.store = writer
                with _counted(model, recorder):
                    yield recorder
                writer.note({"overhead": asdict(recorder.statistics)})
        finally:
            if recorder.sink.store is not None and not recorder.sink.bytes:
                remove_folder(folder)  # this call made it, and it holds nothing


@contextmanager
def _counted(model: nn.Module, recorder: Recorder) -> Iterator[None]:
    """Open a step of the recorder at every call of the model that counts."""
    counts_evaluation = not model.training
    number = 0

    def opened(module: nn.Module, positional: tuple[Any, ...], named: dict[str, Any]) -> None:
        nonlocal number
        if recorder.sink.moment is not None:
            recorder.end()
        if module.training or counts_evaluation:
            recorder.begin(number)
            number += 1
            tensors = [
                value for value in (*positional, *named.values()) if isinstance(value, Tensor) and value.ndim
            ]
            recorder.sink.batch = len(tensors[0]) if tensors else None

    handle = model.register_forward_pre_hook(opened, with_kwargs=True)
    try:
        yield
        if recorder.sink.moment is not None:
            recorder.end()
    finally:
        handle.remove()
    if not number:
        raise MechlabError(
            "nothing was recorded: the block did not call the model in training mode; call model(...) "
            "inside it, "
            "or model.eval() before it to record an evaluation."
        )


def refuse_deaf(model: nn.Module) -> None:
    """Refuse models whose hooks do not see what runs: scripted and compiled ones."""
    for path, module in model.named_modules():
        compiled = hasattr(module, "_orig_mod") or getattr(module, "_compiled_call_impl", None) is not None
        if compiled or isinstance(module, torch.jit.ScriptModule):
            kind = "compiled" if compiled else "scripted"
            raise MechlabError(
                f"'{path or type(model).__name__}' is {kind}, so hooks do not see what runs inside it; "
                "record the "
                "model before torch.compile or torch.jit.script."
            )


def _refuse_equal_keys(taps: Sequence[tuple[PlanEntry, Tap]]) -> None:
    seen: dict[str, PlanEntry] = {}
    for entry, tap in taps:
        for key in tap.keys:
            if key in seen:
                raise MechlabError(
                    f"two entries of the plan write '{key}' (sites '{seen[key].site}' and '{entry.site}'); "
                    "give each site to one entry."
                )
            seen[key] = entry
