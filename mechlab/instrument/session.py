"""A recording of a trained run: images go through its checkpoints, a RecordSpec names it."""

import math
import shutil
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mechlab import systems
from mechlab.errors import MechlabError
from mechlab.files import lock, remove_folder, size
from mechlab.instrument.offline import NamedLoss, record_checkpoint
from mechlab.instrument.one_grid import refuse_grids
from mechlab.instrument.run_images import RAW, RunImages, classes, picked
from mechlab.instrument.schedule import is_due
from mechlab.recording import reader
from mechlab.recording.writer import Writer
from mechlab.runs.folder import RunFolder
from mechlab.runs.interventions import Asked
from mechlab.specs import PlanEntry, RecordSpec
from mechlab.train import evaluation
from mechlab.train.alteration import COMPARABLE, Alteration
from mechlab.train.devices import device_of
from mechlab.train.resolution import Plan, plan_of
from mechlab.train.session import Report, alteration_of, build, restore, silent
from mechlab.train.stage import Trainable, modules_of

SHARE_OF_DISK = 0.9  # of the free disk that a recording may be expected to take


def record_run(
    path: Path, document: dict[str, Any], *, device: str = "auto", report: Report = silent
) -> dict[str, Any]:
    """Record what `document` (a `mechlab.study.plan.Recorded`) asks of a run; one that exists is only read.

    Returns `{recording, bytes, overhead_ratio, dropped}`; the ratio is None, since nothing was trained.

    Raises:
        MechlabError: an unknown site, quantity, loss, checkpoint or adapter, or too little disk.
    """
    run = RunFolder.open(path)
    if (own := systems.session(run.spec().system)) is not None:
        return dict(own.record(run, document, device=device, report=report))
    plan = plan_of(run)
    spec = spec_of(plan, document)
    refuse_grids(spec.plan, plan.inputs, tasks=range(max(spec.stages) + 1), adapters=spec.adapters)
    return kept(plan.run, spec, partial(write, plan, spec, document, device=device, report=report))


def kept(run: RunFolder, spec: RecordSpec, writing: Callable[[Path], None]) -> dict[str, Any]:
    """Return what `record_run` does of the recording of a spec; `writing` makes it where it is not there."""
    folder = run.path / "recordings" / spec.hash
    with lock(run.path / "recordings" / f".{spec.hash}.lock", what="recording"):
        if not finished(folder):
            remove_folder(folder)
            try:
                writing(folder)
            except BaseException:
                remove_folder(folder)
                raise
    found = {"recording": str(folder), "bytes": folder_bytes(folder), "overhead_ratio": None, "dropped": 0}
    if spec.evaluation is not None and spec.evaluation.interventions:
        found |= {"interventions": list(spec.evaluation.interventions), "comparable": COMPARABLE}
    return found


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
        evaluation=evaluation.spec_of(
            plan.spec,
            plan.inputs,
            stage=max(stages),
            settings=plan.evaluation,
            interventions=document.get("interventions", ()),
        ),
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
    where = device_of(device)
    attributes = {
        "run_id": plan.run.name,
        "spec": spec.model_dump(mode="json"),
        "request": document,
        "train": plan.spec.model_dump(mode="json"),
        "provenance": {"run": plan.run.name},
    }
    expected(plan, spec, report)
    with Writer.create(folder, attributes=attributes) as writer:
        tables = RunImages(plan, spec)
        writer.items(tables.items)
        if any(entry.quantity == RAW for entry in spec.plan):
            tables.write_raw(writer)
        has_model = any(entry.quantity != RAW for entry in spec.plan)
        assert spec.evaluation is not None
        if spec.evaluation.interventions and not has_model:
            raise MechlabError(
                f"'{spec.evaluation.interventions[0]}' changes the model and the plan reads raw images "
                "alone; leave one of them out."
            )
        for stage in spec.stages if has_model else ():
            report(f"  recording {plan.run.name} after task {stage}")
            _write_stage(plan, spec, document, writer, tables, stage=stage, device=where, report=report)


def _write_stage(
    plan: Plan,
    spec: RecordSpec,
    document: dict[str, Any],
    writer: Writer,
    tables: RunImages,
    *,
    stage: int,
    device: torch.device,
    report: Report,
) -> None:
    system = restore(plan, checkpoint=stage, device=device)
    module, scored = modules_of(system), needs_scores(spec)
    sites = import_module(f"{systems.catalog(plan.spec.system).__package__}.sites").sites(module)
    with altered(plan, system, spec, document, stage=stage) as alteration:
        record_checkpoint(
            module,
            [entry for entry in spec.plan if entry.quantity != RAW],
            writer,
            stage=stage,
            images=tables.images(
                system, stage=stage, with_scores=scored, device=device, alteration=alteration
            ),
            adapters=spec.adapters,
            losses=named_losses(plan, spec),
            reference=reference(plan, stage=stage) if needs_reference(spec) else None,
            sites=sites,
            around=tables.around(alteration),
        )
    for effect in alteration.effects():
        report(f"  {effect['intervention']}: " + ("acted" if effect["changed"] else "changed no bit"))


def altered(
    plan: Plan, system: Trainable, spec: RecordSpec, document: dict[str, Any], *, stage: int
) -> Alteration:
    """Return what changes the system while a checkpoint is recorded."""
    assert spec.evaluation is not None
    paths = {name: Path(path) for name, path in document.get("recordings", {}).items()}
    asked = Asked(texts=spec.evaluation.interventions, recordings=paths)
    return alteration_of(plan, system, asked, stage=stage)


def expected(plan: Plan, spec: RecordSpec, report: Report) -> None:
    """Say how much a recording of latents may take and how much disk is free; refuse what cannot fit."""
    counts = [len(picked(plan, spec, name)) for name in classes(plan, max(spec.stages))]
    passes = max(1, len(spec.adapters)) * len(spec.stages)
    outputs = [entry for entry in spec.plan if entry.quantity in {"latent", "activation"}]
    whole = [entry for entry in outputs if entry.reduction is None]
    kept = passes * sum(latent_bytes(plan, entry, counts) for entry in whole)
    free = shutil.disk_usage(plan.run.path).free
    latents = f"up to {size(kept)} of latents a site and as much again while it is packed, " if kept else ""
    report(f"  {sum(counts)} images; {latents}{size(free)} free")
    if 2 * kept > SHARE_OF_DISK * free:
        raise MechlabError(
            f"the recording may take {size(2 * kept)}, half of it while it is packed, and {size(free)} are "
            "free; give fewer sites, --limit, or --dtype float16."
        )


def latent_bytes(plan: Plan, entry: PlanEntry, counts: Sequence[int]) -> int:
    """Return the size of one site's latents of the images that are due, of `counts` in each class."""
    due = sum(is_due(image, entry) for count in counts for image in range(count))
    return due * math.prod(plan.inputs.grid) * plan.inputs.dim * np.dtype(entry.dtype).itemsize


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
