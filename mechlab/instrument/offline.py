"""Recording from a checkpoint: images go through a loaded system, and a plan says what is kept.

Latents, activations and log-dets come from batches without gradients. What comes from a loss is taken image
by image, so that it is the gradient of that image's loss whatever the batch. Source: design notes,
"RecordSpec".
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from time import perf_counter

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from mechlab.errors import MechlabError, unknown
from mechlab.instrument.plan import read_plan
from mechlab.instrument.recorder import Plan, Recorder
from mechlab.instrument.schedule import check_fires, is_due, schedule_of
from mechlab.instrument.sink import Moment, Sink, Store
from mechlab.instrument.sites import Site, find_layers, find_parameters
from mechlab.instrument.statistics import Statistics
from mechlab.specs import PlanEntry
from mechlab.train.scoring import Around, nothing
from mechlab.train.stage import unit_of

NamedLoss = Callable[[nn.Module, Tensor, int], Tensor]  # (system, batch of one image, task) -> scalar
OF_LOSS = (
    "row_contribution",
    "patch_gradient_norm",
    "sample_gradient_norm",
    "row_cosine",
    "input_gradient",
    "gradient",
)
OF_OUTPUTS = ("activation", "latent", "log_det")
OF_WEIGHTS = ("weight", "weight_delta")
INPUT = Site(name="input", module=None, axes=("item", "row", "column", "dim"))  # the features themselves
_SCORE_AXES = {1: ("item",), 2: ("item", "adapter"), 3: ("item", "row", "column")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Images:
    """Images of one task: their rows in the item table, their features, and arrays kept as they are.

    `scores` holds arrays with one entry an image first: "image", "patch", "label", "routed", "mask".
    """

    items: Int[np.ndarray, " item"]
    features: Float[np.ndarray, "item row column dim"]
    task: int
    scores: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """What does not change while a checkpoint is recorded."""

    system: nn.Module
    store: Store
    stage: int
    images: Sequence[Images]
    adapters: Sequence[int]
    losses: Mapping[str, NamedLoss]
    reference: Mapping[str, Tensor] | None
    sites: tuple[Site, ...]
    batch_size: int
    around: Around  # block in which images (rows of the item table) go through an adapter

    def recorder(self, plan: Sequence[PlanEntry]) -> Recorder:
        """Return a recorder of some entries."""
        grid = (int(self.images[0].features.shape[1]), int(self.images[0].features.shape[2]))
        sites = (*self.sites, INPUT) if any(entry.site == INPUT.name for entry in plan) else self.sites
        return Recorder(self.system, plan, self.store, sites=sites, grid=grid, reference=self.reference)

    def batch(self, images: Images, chosen: Int[np.ndarray, " item"]) -> Tensor:
        """Return features of some images in the system's dtype and place."""
        like = next(self.system.parameters())
        values = np.array(images.features[chosen])  # a private copy of a memory map
        return torch.from_numpy(values).to(device=like.device, dtype=like.dtype)

    def passes(self, *, like: PlanEntry) -> Iterator[tuple[Images, int, Int[np.ndarray, " item"]]]:
        """Yield images, adapter and the indices that are due to an entry."""
        for images in self.images:
            due = [index for index in range(len(images.items)) if is_due(index, like)]
            for adapter in self.adapters or (images.task,):
                yield images, adapter, np.array(due, dtype=np.int64)


def record_checkpoint(
    system: nn.Module,
    plan: Plan,
    store: Store,
    *,
    stage: int,
    images: Sequence[Images],
    adapters: Sequence[int] = (),
    losses: Mapping[str, NamedLoss] | None = None,
    reference: Mapping[str, Tensor] | None = None,
    sites: Sequence[Site] = (),
    batch_size: int = 16,
    around: Around = nothing,
) -> Statistics:
    """Write what a plan asks of a system that is loaded as it was after task `stage`.

    Images go through the expert of their own task, or through each of `adapters`. An entry's schedule
    counts images. Gradients are those of each of `losses` for one image. `around` gives the block in which
    items go through an adapter, such as an intervention. Modes, gradients and flags of the system are as
    before. Raises MechlabError for a plan that does not fit, and where losses or scores are missing.
    """
    entries = read_plan(plan)
    job = _Job(
        system=system,
        store=store,
        stage=stage,
        images=_checked(images),
        adapters=tuple(adapters),
        losses=dict(losses or {}),
        reference=reference,
        sites=tuple(sites),
        batch_size=batch_size,
        around=around,
    )
    _check_quantities(entries)
    _check_losses(entries, job)
    of_images = [entry for entry in entries if entry.quantity not in OF_WEIGHTS]
    check_fires(of_images, steps=max(len(part.items) for part in images), what="images of a class")
    kinds: list[tuple[tuple[str, ...], Callable[[_Job, Sequence[PlanEntry]], Statistics]]] = [
        (("score",), _record_scores),
        (OF_WEIGHTS, _record_weights),
        (OF_OUTPUTS, _record_outputs),
        (OF_LOSS, _record_gradients),
    ]
    cost = Statistics()
    with _evaluating(system):
        for quantities, work in kinds:
            kind = [entry for entry in entries if entry.quantity in quantities]
            for schedule in dict.fromkeys(map(schedule_of, kind)):
                cost += work(job, [entry for entry in kind if schedule_of(entry) == schedule])
    return cost


def _record_outputs(job: _Job, entries: Sequence[PlanEntry]) -> Statistics:
    recorder = job.recorder(entries)
    with recorder, torch.no_grad():
        for images, adapter, due in job.passes(like=entries[0]):
            for start in range(0, len(due), job.batch_size):
                chosen = due[start : start + job.batch_size]
                batch = job.batch(images, chosen)
                items = images.items[chosen]
                step = recorder.step(items=items, stage=job.stage, adapter=adapter)
                with job.around(adapter, items), step:
                    recorder.watch(INPUT.name, batch)
                    job.system(batch, task=adapter)
    return recorder.statistics


def _record_gradients(job: _Job, entries: Sequence[PlanEntry]) -> Statistics:
    with _trainable(job.system, _needed(job.system, entries)):
        recorder = job.recorder(entries)
        with recorder:
            for images, adapter, due in job.passes(like=entries[0]):
                for name, loss in job.losses.items():
                    for index in due:
                        _one_gradient(
                            job, recorder, images, index=int(index), adapter=adapter, name=name, loss=loss
                        )
    return recorder.statistics


def _one_gradient(
    job: _Job, recorder: Recorder, images: Images, *, index: int, adapter: int, name: str, loss: NamedLoss
) -> None:
    chosen = np.array([index], dtype=np.int64)
    batch = job.batch(images, chosen).requires_grad_(True)
    job.system.zero_grad(set_to_none=True)
    items = images.items[chosen]
    step = recorder.step(items=items, stage=job.stage, adapter=adapter, loss=name)
    with job.around(adapter, items), step:
        recorder.watch(INPUT.name, batch)
        value = loss(job.system, batch, adapter)
        if not value.requires_grad:
            raise MechlabError(
                f"loss '{name}' does not depend on what the plan differentiates, since what stands between "
                "is replaced; ablate or patch another site, or record no gradient."
            )
        value.backward()  # type: ignore[no-untyped-call]


def _record_weights(job: _Job, entries: Sequence[PlanEntry]) -> Statistics:
    recorder = job.recorder(entries)
    with recorder, recorder.step(stage=job.stage):
        pass
    return recorder.statistics


def _record_scores(job: _Job, entries: Sequence[PlanEntry]) -> Statistics:
    began, sink = perf_counter(), Sink(job.store)
    for entry in entries:
        known = set.intersection(*(set(images.scores) for images in job.images))
        names = [name for name in sorted(known) if fnmatchcase(name, entry.site)]
        if not names:
            raise unknown("score", entry.site, known)
        for images in job.images:
            for name in names:
                due = [index for index in range(len(images.items)) if is_due(index, entry)]
                _write_score(sink, name, images, due=due, stage=job.stage, dtype=entry.dtype,
                             unit=unit_of(job.system))  # fmt: skip
    return Statistics(seconds=perf_counter() - began, seconds_blocked=sink.seconds_blocked, bytes=sink.bytes)


def _write_score(
    sink: Sink, name: str, images: Images, *, due: list[int], stage: int, dtype: str, unit: str
) -> None:
    values = images.scores[name]
    sink.moment = Moment(items=images.items[due], stage=stage)
    axes = ("item", "height", "width") if name == "mask" else _SCORE_AXES[values.ndim]
    is_real = np.issubdtype(values.dtype, np.floating)
    kept = np.asarray(values[due], dtype=dtype) if is_real else np.asarray(values[due])
    sink.append(f"score/{name}", kept, axes=axes, unit=unit if is_real else "1")


def _needed(system: nn.Module, entries: Sequence[PlanEntry]) -> set[str]:
    """Return the parameters that must be differentiable: the fewer, the cheaper the backward pass."""
    names: set[str] = set()
    for entry in entries:
        if entry.quantity == "gradient":
            names |= set(find_parameters(system, entry.site))
        elif entry.quantity != "input_gradient":
            for path in find_layers(system, entry.site):
                names |= {f"{path}.weight", f"{path}.bias"}
    return names


def _check_quantities(entries: Sequence[PlanEntry]) -> None:
    for entry in entries:
        if entry.quantity not in ("score", *OF_WEIGHTS, *OF_OUTPUTS, *OF_LOSS):
            way = (
                "train with --record"
                if entry.quantity in ("gradient_cosine", "update")
                else "use 'mechlab record' on a run"
            )
            raise MechlabError(
                f"{entry.quantity} does not come from one checkpoint's modules; {way} to record it."
            )


def _check_losses(entries: Sequence[PlanEntry], job: _Job) -> None:
    asked = [entry.quantity for entry in entries if entry.quantity in OF_LOSS]
    if asked and not job.losses:
        raise MechlabError(
            f"{asked[0]} is taken under a loss and none is named; name at least one, e.g. 'mean'."
        )
    if job.losses and not asked:
        raise MechlabError(
            f"loss '{next(iter(job.losses))}' is named, but the plan has no quantity of a loss; add one of "
            f"{', '.join(OF_LOSS)}, or leave the loss out."
        )


def _checked(images: Sequence[Images]) -> Sequence[Images]:
    if not images or not all(len(part.items) for part in images):
        raise MechlabError("there are no images to record; give at least one image of each class.")
    for part in images:
        lengths = {"items": len(part.items)} | {name: len(values) for name, values in part.scores.items()}
        if set(lengths.values()) != {len(part.features)}:
            raise ValueError(f"{len(part.features)} images have features, but {lengths}")
    return images


@contextmanager
def _evaluating(system: nn.Module) -> Iterator[None]:
    """Switch every module to evaluation mode, and back to what each was."""
    modes = [(module, module.training) for module in system.modules()]
    system.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@contextmanager
def _trainable(system: nn.Module, names: set[str]) -> Iterator[None]:
    """Make only some parameters differentiable, without gradients so far; restore flags and gradients."""
    before = [(parameter, parameter.requires_grad, parameter.grad) for parameter in system.parameters()]
    for name, parameter in system.named_parameters():
        parameter.grad = None
        parameter.requires_grad_(name in names)
    try:
        yield
    finally:
        for parameter, flag, gradient in before:
            parameter.requires_grad_(flag)
            parameter.grad = gradient
