"""A recording of a trained run: images go through its checkpoints, a RecordSpec names it."""

import shutil
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mechlab import systems
from mechlab.errors import MechlabError
from mechlab.files import lock, remove_folder
from mechlab.instrument.offline import Images, NamedLoss, record_checkpoint
from mechlab.metrics.class_metrics import Scoring
from mechlab.recording import reader
from mechlab.recording.writer import Writer
from mechlab.runs.folder import RunFolder
from mechlab.specs import Item, PlanEntry, RecordSpec, Split
from mechlab.train import evaluation
from mechlab.train.devices import fabric
from mechlab.train.scoring import Scores, score
from mechlab.train.session import Plan, Report, build, plan_of, restore, silent
from mechlab.train.stage import Trainable, modules_of

RAW = "image"  # the quantity that comes from the raw images and needs no model
SHARE_OF_DISK = 0.9  # of the free disk that a recording may be expected to take


def record_run(
    path: Path, document: dict[str, Any], *, device: str = "auto", report: Report = silent
) -> dict[str, Any]:
    """Record what `document` (a `mechlab.study.plan.Recorded`) asks of a run; one that exists is only read.

    Returns `{recording, bytes, overhead_ratio, dropped}`; the ratio is None, since nothing was trained.

    Raises:
        MechlabError: an unknown site, quantity, loss, checkpoint or adapter, or too little disk.
    """
    plan = plan_of(RunFolder.open(path))
    spec = spec_of(plan, document)
    folder = plan.run.path / "recordings" / spec.hash
    with lock(plan.run.path / "recordings" / f".{spec.hash}.lock", what="recording"):
        if not finished(folder):
            remove_folder(folder)
            try:
                write(plan, spec, document, folder, device=device, report=report)
            except BaseException:
                remove_folder(folder)
                raise
    return {"recording": str(folder), "bytes": folder_bytes(folder), "overhead_ratio": None, "dropped": 0}


def spec_of(plan: Plan, document: dict[str, Any]) -> RecordSpec:
    """Return the RecordSpec of a request, with its checkpoints made definite."""
    have = plan.run.checkpoints()
    stages = tuple(document["stages"] or have[-1:])
    missing = [stage for stage in stages if stage not in have]
    if missing or not stages:
        raise MechlabError(
            f"run '{plan.run.path}' has no checkpoint after task {missing[0] if missing else 0}; it has: "
            f"{', '.join(map(str, have)) or 'none'}."
        )
    unknown = [adapter for adapter in document["adapters"] if adapter > min(stages)]
    if unknown:
        raise MechlabError(
            f"adapter {unknown[0]} does not exist after task {min(stages)}; give 0 to {min(stages)}."
        )
    return RecordSpec(
        evaluation=evaluation.spec_of(plan.spec, plan.inputs, stage=max(stages), settings=plan.evaluation),
        train=plan.spec.hash,
        plan=tuple(PlanEntry.model_validate(entry) for entry in document["plan"]),
        stages=stages,
        split=document["split"],
        adapters=tuple(document["adapters"]),
        losses=tuple(document["losses"]),
        limit=document["limit"],
        normal_only=document["normal_only"],
    )


def finished(folder: Path) -> bool:
    """Return whether a recording is whole: it was packed at its end."""
    if not (folder / "recording.h5").exists():
        return False
    with reader.open(folder) as recording:
        return bool(recording.attributes)


def folder_bytes(folder: Path) -> int:
    """Return the size of a recording on disk."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def write(
    plan: Plan, spec: RecordSpec, document: dict[str, Any], folder: Path, *, device: str, report: Report
) -> None:
    """Write a recording: one pass a checkpoint."""
    where = fabric(device).device
    attributes = {
        "run_id": plan.run.name,
        "spec": spec.model_dump(mode="json"),
        "request": document,
        "train": plan.spec.model_dump(mode="json"),
        "provenance": {"run": plan.run.name},
    }
    expected(plan, spec, report)
    with Writer.create(folder, attributes=attributes) as writer:
        tables = _Tables(plan, spec)
        writer.items(tables.items)
        if any(entry.quantity == RAW for entry in spec.plan):
            tables.write_raw(writer)
        entries = [entry for entry in spec.plan if entry.quantity != RAW]
        for stage in spec.stages if entries else ():
            report(f"  recording {plan.run.name} after task {stage}")
            system = restore(plan, checkpoint=stage, device=where)
            module = modules_of(system)
            record_checkpoint(
                module,
                entries,
                writer,
                stage=stage,
                images=tables.images(system, stage=stage, with_scores=needs_scores(spec), device=where),
                adapters=spec.adapters,
                losses=named_losses(plan, spec),
                reference=reference(plan, stage=stage) if needs_reference(spec) else None,
                sites=import_module(f"{systems.catalog(plan.spec.system).__package__}.sites").sites(module),
            )


def expected(plan: Plan, spec: RecordSpec, report: Report) -> None:
    """Say how much a recording of latents may take and how much disk is free; refuse what cannot fit."""
    rows, columns = plan.inputs.grid
    images = sum(len(_picked(plan, spec, name)) for name in _classes(plan, max(spec.stages)))
    passes = max(1, len(spec.adapters)) * len(spec.stages)
    largest = images * rows * columns * plan.inputs.dim * 4 * passes
    kept = sum(largest // entry.every for entry in spec.plan if entry.quantity in {"latent", "activation"})
    free = shutil.disk_usage(plan.run.path).free
    report(f"  {images} images; up to {kept / 1e6:.0f} MB of latents a site, {free / 1e9:.1f} GB free")
    if kept > SHARE_OF_DISK * free:
        raise MechlabError(
            f"the recording may take {kept / 1e9:.1f} GB and {free / 1e9:.1f} GB are free; "
            "give fewer sites, --limit, or --dtype float16."
        )


def needs_scores(spec: RecordSpec) -> bool:
    """Return whether a plan asks for scores."""
    return any(entry.quantity == "score" for entry in spec.plan)


def needs_reference(spec: RecordSpec) -> bool:
    """Return whether a plan asks for weight changes."""
    return any(entry.quantity == "weight_delta" for entry in spec.plan)


def named_losses(plan: Plan, spec: RecordSpec) -> dict[str, NamedLoss]:
    """Return the losses of a spec as functions of (system, batch, task)."""
    loss_by_name = import_module(f"{systems.catalog(plan.spec.system).__package__}.losses").loss_by_name

    def of(name: str) -> NamedLoss:
        loss: Callable[[Tensor], Tensor] = loss_by_name(name)
        return lambda system, batch, task: loss(system.patch_scores(batch, task=task))  # type: ignore[operator]

    return {name: of(name) for name in spec.losses}


def reference(plan: Plan, *, stage: int) -> dict[str, Tensor]:
    """Return the parameters before a stage began: those of the checkpoint before, new ones as initialised."""
    system = build(plan, tasks=stage + 1)
    values = {name: value.detach().clone() for name, value in modules_of(system).named_parameters()}
    if stage > 0:
        before = modules_of(restore(plan, checkpoint=stage - 1, device=torch.device("cpu")))
        values |= {name: value.detach().clone() for name, value in before.named_parameters()}
    return values


def _classes(plan: Plan, stage: int) -> list[str]:
    return [name for task in plan.spec.tasks[: stage + 1] for name in task]


def _picked(plan: Plan, spec: RecordSpec, name: str) -> list[int]:
    split: Split = "train" if spec.split == "train" else "test"
    items = plan.inputs.features(name, split).items
    kept = [index for index, item in enumerate(items) if not (spec.normal_only and item.label)]
    return kept[: spec.limit]


class _Tables:
    """The images of a recording: their table, features and scores."""

    def __init__(self, plan: Plan, spec: RecordSpec) -> None:
        self.plan, self.spec = plan, spec
        self.split: Split = "train" if spec.split == "train" else "test"
        self.picked = {name: _picked(plan, spec, name) for name in _classes(plan, max(spec.stages))}
        self.items: list[Item] = []
        self.rows: dict[str, np.ndarray] = {}
        for name, chosen in self.picked.items():
            self.rows[name] = np.arange(len(self.items), len(self.items) + len(chosen), dtype=np.int64)
            self.items += [plan.inputs.features(name, self.split).items[index] for index in chosen]

    def write_raw(self, writer: Writer) -> None:
        """Write the statistics of the raw images."""
        for name, chosen in self.picked.items():
            for statistic, values in self.plan.inputs.statistics(name, self.split).items():
                writer.append(
                    f"{RAW}/{statistic}",
                    values[chosen],
                    axes=("item",),
                    coordinates={"item": self.rows[name]},
                    unit="grey level",
                )

    def images(
        self, system: Trainable, *, stage: int, with_scores: bool, device: torch.device
    ) -> list[Images]:
        """Return the images of the classes seen by a stage, with scores where they are asked for."""
        found = []
        for task, names in enumerate(self.plan.spec.tasks[: stage + 1]):
            for name in names:
                chosen = self.picked[name]
                if not chosen:
                    continue
                features = np.asarray(self.plan.inputs.features(name, self.split).values[chosen])
                scores: dict[str, np.ndarray] = {}
                if with_scores:
                    scored = score(
                        system,
                        features,
                        task=task,
                        tasks=stage + 1,
                        router=self.plan.evaluation.router,
                        device=device,
                    )
                    scores = self._scores(scored, name)
                found.append(Images(items=self.rows[name], features=features, task=task, scores=scores))
        return found

    def _scores(self, scored: Scores, name: str) -> dict[str, np.ndarray]:
        settings, chosen = self.plan.evaluation, self.picked[name]
        features = self.plan.inputs.features(name, self.split)
        scoring = Scoring(
            aggregation=settings.aggregation, value=settings.aggregation_value, sigma=settings.sigma
        )
        found = {
            "image": scoring.image_scores(scored.routed),
            "patch": scored.given,
            "label": np.array([features.items[index].label for index in chosen], dtype=np.int64),
            "routed": scored.routes.astype(np.int64),
        }
        if features.masks is not None:
            found["mask"] = np.asarray(features.masks[chosen], dtype=bool)
        return found
