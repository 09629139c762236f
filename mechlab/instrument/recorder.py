"""The recorder: hooks of a plan on any `nn.Module`, driven by a loop or by the calls of the model.

Hooks read and never write: outputs and gradients are the same bits with and without them.
"""

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import isfinite
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import TYPE_CHECKING, Any

from jaxtyping import Int
from numpy import ndarray
from torch import Tensor, nn

from mechlab.errors import MechlabError
from mechlab.instrument.activation import ActivationTap
from mechlab.instrument.deaf import refuse_deaf
from mechlab.instrument.gradient import GradientTap
from mechlab.instrument.gradient_cosine import GradientCosineTap
from mechlab.instrument.input_gradient import InputGradientTap
from mechlab.instrument.item_table import Chosen
from mechlab.instrument.log_det import LogDetTap
from mechlab.instrument.plan import read_plan
from mechlab.instrument.row_contribution import RowContributionTap
from mechlab.instrument.row_cosine import RowCosineTap
from mechlab.instrument.sample_gradient import SampleGradientTap
from mechlab.instrument.schedule import is_due
from mechlab.instrument.sink import Moment, Sink, Store
from mechlab.instrument.sites import Site
from mechlab.instrument.statistics import Statistics
from mechlab.instrument.tap import Tap, Target
from mechlab.instrument.update import UpdateTap
from mechlab.instrument.weight import WeightTap
from mechlab.specs import PlanEntry

if TYPE_CHECKING:  # the calls of a model drive a recorder, which so far knows no more of them
    from mechlab.instrument.calls import Calls

_TAPS: dict[str, Callable[[Target], Tap]] = {
    "activation": ActivationTap,
    "latent": ActivationTap,
    "log_det": LogDetTap,
    "row_contribution": RowContributionTap,
    "patch_gradient_norm": RowContributionTap,
    "sample_gradient_norm": SampleGradientTap,
    "row_cosine": RowCosineTap,
    "gradient_cosine": GradientCosineTap,
    "input_gradient": InputGradientTap,
    "gradient": GradientTap,
    "update": UpdateTap,
    "weight": WeightTap,
    "weight_delta": WeightTap,
}
Plan = Sequence[PlanEntry | Mapping[str, Any]] | Path | str
LossScale = float | Callable[[], float]  # what the loss is multiplied by, or what tells it at a step's begin


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
        self.calls: Calls | None = None  # of the model, while `mechlab.record` lets them drive
        self.steps = 0
        self.due: set[PlanEntry] = set()  # entries that a step was due for
        self.written: set[PlanEntry] = set()  # entries that wrote something, known on exit
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
        self.written |= {entry for entry, tap in self.taps if tap.fired}
        self._detach()
        self._seconds = perf_counter() - self._entered
        if kind is None:
            refuse_silent(self.plan, due=self.due, written=self.written, steps=self.steps)

    def begin(
        self,
        step: int | None = None,
        *,
        items: Int[ndarray, " item"] | None = None,
        stage: int | None = None,
        adapter: int | None = None,
        loss: str | None = None,
        loss_scale: LossScale = 1.0,
    ) -> None:
        """Open a step (from 0); without a number, images that belong to no step of a training.

        `loss_scale` is what the loss is multiplied by before backward; recorded gradients are divided by it.
        """
        if self.sink.moment is not None:
            raise ValueError("a step is open already; end it first")
        scale = _positive(loss_scale() if callable(loss_scale) else loss_scale)
        self.sink.moment = Moment(
            step=step, items=items, stage=stage, adapter=adapter, loss=loss, loss_scale=scale
        )
        self.steps += 1
        for entry, tap in self.taps:
            if step is None or is_due(step, entry):
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
        loss_scale: LossScale = 1.0,
    ) -> Iterator[None]:
        """Record what the body does: forward, backward and, in a training, the optimiser."""
        self.begin(step, items=items, stage=stage, adapter=adapter, loss=loss, loss_scale=loss_scale)
        try:
            yield
        except BaseException:
            for _, tap in self.taps:
                tap.active = False  # what a broken step held back is not written
            self.sink.moment = self.sink.batch = None
            raise
        self.end()

    def batch(self, items: Chosen | None = None, *, loss: str | None = None) -> None:
        """Say what the next call of the model holds: rows, names or Items of the table, and its loss's name.

        Inside `mechlab.record` only; a recorder of your own takes both in `step`.
        """
        if self.calls is None:
            raise MechlabError(
                "batch() speaks of the next call inside 'with mechlab.record(...)'; with a Recorder of your "
                "own, give items and loss to step(...)."
            )
        self.calls.announce(items, loss=loss)

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


def refuse_silent(
    plan: Sequence[PlanEntry], *, due: Container[PlanEntry], written: Container[PlanEntry], steps: int
) -> None:
    """Refuse a recording of which an entry was due and wrote nothing.

    Raises:
        MechlabError: the first such entry.
    """
    for entry in plan:
        if entry in due and entry not in written:
            raise MechlabError(
                f"nothing was recorded of {entry.quantity} at '{entry.site}' in {steps} steps: its modules "
                "did not run, or no gradient reached them; choose another site."
            )


def _positive(scale: float) -> float:
    """Return a loss scale as a float; a MechlabError unless it is finite and above 0."""
    if not (isfinite(scale) and scale > 0):
        raise MechlabError(f"the loss scale is {scale}; give a finite number above 0, or scaler.get_scale.")
    return float(scale)


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
