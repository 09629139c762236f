"""One training from request to summary: features, stages, checkpoints, evaluations; resumable.

On several devices this process makes the features and starts one process a rank, whose first one writes.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from importlib import import_module
from types import ModuleType
from typing import Any

import torch
from torch import nn

from mechlab import fingerprint, systems
from mechlab.errors import MechlabError
from mechlab.files import lock, read_json, sweep_parts, write_json
from mechlab.metrics.smoothing import Smoothing
from mechlab.runs.aggregation_keys import merged
from mechlab.runs.folder import RunFolder, find
from mechlab.runs.interventions import NOTHING, Asked
from mechlab.runs.request import TrainRequest
from mechlab.runs.settings import EvaluationSettings
from mechlab.specs import EvalSpec, validated
from mechlab.train import determinism, evaluation, scopes
from mechlab.train.alteration import UNALTERED, Alteration
from mechlab.train.checkpoint import load_weights
from mechlab.train.devices import accelerator, device_of
from mechlab.train.given import take_base
from mechlab.train.launch import launch
from mechlab.train.matrix import accuracy_matrix, forgetting, scores_identical
from mechlab.train.precision import refuse_absent
from mechlab.train.resolution import Plan, plan_of, resolve
from mechlab.train.stage import Trainable, modules_of
from mechlab.train.tasks import TaskTraining
from mechlab.train.world import ALONE, World, meet

Report = Callable[[str], None]


def silent(_: str) -> None:
    """Report nothing."""


def build(plan: Plan, *, tasks: int) -> Trainable:
    """Return the untrained system with the parameters of its first `tasks` tasks."""
    system, inputs = systems.load(systems.catalog(plan.request.system).SYSTEM.target), plan.inputs
    own: dict[str, Any] = {"grids": inputs.grids} if inputs.sizes else {}
    if plan.parts.get("starts") == "classes":
        own |= {"classes": plan.spec.tasks}
    built: Trainable
    if systems.layout(plan.request.system) == "pyramid":
        built = system.create(plan.parts, pyramid=inputs.extractor.pyramid, seed=plan.spec.seed)
    else:
        built = system.create(plan.parts, dim=inputs.dim, grid=inputs.grid, seed=plan.spec.seed, **own)
    if plan.request.base_from is not None and tasks == 0:
        take_base(
            modules_of(built), find(plan.request.base_from, plan.request.out), system=plan.request.system
        )
    for task in range(tasks):
        built.add_task(task)
    return built


def train(request: TrainRequest, *, report: Report = silent) -> dict[str, Any]:
    """Train what is missing of a request and return its summary; a finished run is only read."""
    if (own := systems.session(request.system)) is not None:
        return dict(own.train(request, report=report))
    begun = time.monotonic()
    determinism.settle(seed=request.seed, threads=request.threads)
    plan = resolve(request)
    run = plan.run
    for warning in plan.warnings:
        report(f"warning: {warning}")
    if run.is_finished:
        return _finished(plan, device=request.device, report=report)
    if request.freeze:
        whole = build(plan, tasks=len(plan.spec.tasks))
        scopes.refuse_idle_freeze([whole.stage(task) for task in range(len(plan.spec.tasks))], request.freeze)
    if request.devices == 1:
        _train(plan, ALONE, device=device_of(request.device), begun=begun, report=report)
    else:
        accelerator(request.device, devices=request.devices)
        plan.inputs.compute()
        launch(request, run=run.path, spent=time.monotonic() - begun, report=report)
    return run.summary()


def _finished(plan: Plan, *, device: str, report: Report) -> dict[str, Any]:
    """Return the summary of a run that is trained, under the evaluation that was asked, which may be new.

    The first one stays in `summary.json`; another one is kept beside it, with the seconds of the training.
    """
    run, stages = plan.run, range(len(plan.spec.tasks))
    if plan.request.record is not None:
        _watching().refuse_unrecorded(plan)
    first = run.summary()
    specs = [
        evaluation.spec_of(plan.spec, plan.inputs, stage=stage, settings=plan.evaluation) for stage in stages
    ]
    if run.is_evaluation(first["evaluation"], specs[-1]):
        report(f"{run.name} is already trained; reading its summary")
        return first
    file = run.path / "summaries" / f"{specs[-1].hash}.json"
    report(f"{run.name} is already trained; evaluating it as asked: {specs[-1].hash}")
    if not file.exists():
        where = device_of(device)
        with lock(run.path / "lock", wait=False, what="run"):
            documents = [
                _evaluated(plan, None, stage=stage, device=where, is_loaded=False) for stage in stages
            ]
            write_json(file, summarise(plan, documents, seconds=first["seconds"]))
    return run.summary(specs[-1].hash)


def train_rank(
    request: TrainRequest, world: World, *, device: torch.device, spent: float, report: Report
) -> None:
    """Train as one rank; the first leaves the summary. `spent` are the seconds that went before."""
    begun = time.monotonic() - spent
    determinism.settle(seed=request.seed, threads=request.threads)
    heard = report if world.rank == 0 else silent
    _train(resolve(request), world, device=device, begun=begun, report=heard)


def _train(plan: Plan, world: World, *, device: torch.device, begun: float, report: Report) -> None:
    run, is_first = plan.run, world.rank == 0
    refuse_absent(plan.parts.get("precision", "float32"), device)
    with lock(run.path / "lock", wait=False, what="run") if is_first else nullcontext():
        if is_first:
            sweep_parts(run.path)
        meet(world)  # the others look for checkpoints in a folder that is swept
        system = build(plan, tasks=len(run.checkpoints()))  # may refuse, so before there is a run
        if is_first:
            run.create(plan.spec, parts=plan.parts, request=plan.request,
                       provenance=determinism.provenance(device))  # fmt: skip
        stages = _train_tasks(plan, system, world, device=device, report=report)
        if is_first:
            summary = summarise(plan, stages, seconds=time.monotonic() - begun)
            write_json(run.path / "summary.json", summary)


def _train_tasks(
    plan: Plan, system: Trainable, world: World, *, device: torch.device, report: Report
) -> list[dict[str, Any]]:
    run, inputs = plan.run, plan.inputs
    done = len(run.checkpoints())
    report(f"{run.name}: {len(inputs.tasks)} tasks" + (f", resuming after task {done - 1}" if done else ""))
    module = modules_of(system).to(device)
    training = TaskTraining(plan.inputs, run, system, seed=plan.spec.seed, device=device, report=report,
                            watchers=watchers(plan, module, world), world=world,
                            freeze=plan.request.freeze)  # fmt: skip
    documents, is_complete = [], False
    try:
        for task in range(len(inputs.tasks)):
            if task >= done:
                training.run_task(task)
            elif task == done - 1:
                training.restore(task)
            if world.rank > 0:
                continue
            documents.append(_evaluated(plan, system, stage=task, device=device, is_loaded=task >= done - 1))
            routed = {name: found["routing_accuracy"] for name, found in documents[-1]["metrics"].items()}
            training.end_task(task, image_auroc=accuracy_matrix(documents, inputs.tasks)[-1], routing=routed)
            _told(report, documents[-1], inputs.tasks[: task + 1])
        is_complete = True
    finally:
        training.close(is_complete=is_complete)
    return documents


def watchers(plan: Plan, module: nn.Module, world: World) -> Sequence[Any]:
    """Return the recorder that a request asks for."""
    if plan.request.record is None:
        return ()
    found = _watching().watch(plan, module, world)
    return () if found is None else (found,)


def _evaluated(
    plan: Plan, system: Trainable | None, *, stage: int, device: torch.device, is_loaded: bool
) -> dict[str, Any]:
    spec = evaluation.spec_of(plan.spec, plan.inputs, stage=stage, settings=plan.evaluation)
    if system is None or not is_loaded:
        file = plan.run.path / "evals" / spec.hash / "metrics.json"
        if file.exists():
            return dict(read_json(file))
        system = restore(plan, checkpoint=stage, device=device)
    return evaluation.evaluate(system, plan.inputs, plan.run, spec, settings=plan.evaluation, device=device)


def reevaluate(
    run: RunFolder,
    *,
    settings: dict[str, Any],
    interventions: Asked = NOTHING,
    device: str = "auto",
    report: Report = silent,
) -> dict[str, Any]:
    """Evaluate a finished run's last checkpoint in another way, or with a changed flow; never trains."""
    plan = plan_of(run)
    chosen = validated(EvaluationSettings, merged(plan.evaluation.model_dump(), settings), what="evaluation")
    Smoothing.read(chosen.sigma).refuse_strangers(name for task in plan.spec.tasks for name in task)
    stage = max(run.checkpoints(), default=-1)
    if stage < 0:
        raise MechlabError(f"run '{run.path}' has no checkpoint; train it first.")
    spec = evaluation.spec_of(plan.spec, plan.inputs, stage=stage, settings=chosen,
                              interventions=interventions.texts)  # fmt: skip
    report(f"{run.name}: evaluation {spec.hash} after task {stage}")
    where = device_of(device)
    system = restore(plan, checkpoint=stage, device=where)
    changed = alteration_of(plan, system, interventions, stage=stage)
    return evaluation.evaluate(system, plan.inputs, run, spec, settings=chosen, device=where,
                               alteration=changed)  # fmt: skip


def alteration_of(plan: Plan, system: Trainable, asked: Asked, *, stage: int) -> Alteration:
    """Return what changes a system as asked; found by name, since training knows no instrument."""
    if not asked.texts:
        return UNALTERED
    found = import_module("mechlab.instrument.intervening").intervening(plan, system, asked, stage=stage)
    assert isinstance(found, Alteration)
    return found


def restore(plan: Plan, *, checkpoint: int, device: torch.device) -> Trainable:
    """Return the system as it was after a task."""
    if not plan.run.checkpoints():
        raise MechlabError(f"run '{plan.run.path}' has no finished task yet; train it first.")
    if checkpoint not in plan.run.checkpoints():
        have = ", ".join(map(str, plan.run.checkpoints()))
        raise MechlabError(
            f"run '{plan.run.path}' has no checkpoint after task {checkpoint}; it has: {have}."
        )
    system = build(plan, tasks=checkpoint + 1)
    module = modules_of(system)
    load_weights(plan.run.checkpoint(checkpoint), module)
    module.to(device).eval()
    return system


def summarise(plan: Plan, stages: list[dict[str, Any]], *, seconds: float) -> dict[str, Any]:
    """Return what `mechlab train --json` prints, and keeps in summary.json."""
    matrix = accuracy_matrix(stages, plan.spec.tasks)
    return {
        "run": plan.run.name,
        "path": str(plan.run.path),
        "metrics": stages[-1]["metrics"],
        "mean": stages[-1]["mean"],
        "forgetting": forgetting(matrix),
        "scores_identical": scores_identical(stages, plan.spec.tasks),
        "accuracy_matrix": matrix,
        "evaluation": EvalSpec.model_validate(stages[-1]["spec"]).hash,
        "trajectory": fingerprint.trajectory(fingerprint.load(plan.run.path / "fingerprint.json")),
        **({"allowed": list(plan.allowed)} if plan.allowed else {}),
        "recording": None if plan.request.record is None else _watching().watched(plan),
        "seconds": round(seconds, 1),
    }


def watched(plan: Plan) -> dict[str, Any]:
    """Return where the recording of a training is; a run that did not follow the plan is a MechlabError."""
    room = _watching()
    room.refuse_unrecorded(plan)
    return dict(room.watched(plan))


def _watching() -> ModuleType:
    """Return the room that records a training, found by name, since training knows only observers."""
    return import_module("mechlab.instrument.watching")


def _told(report: Report, document: dict[str, Any], tasks: Sequence[Sequence[str]]) -> None:
    for name in tasks[-1]:
        metrics = document["metrics"][name]
        numbers = [metrics[key] for key in ("image_auroc", "trivial_image_auroc", "pixel_auroc")]
        shown = ["n/a" if value is None else f"{value:.3f}" for value in numbers]
        report(f"  {name}: image AUROC {shown[0]} (trivial statistic {shown[1]}), pixel AUROC {shown[2]}")
        if metrics["image_auroc"] is None:
            report(
                f"  {name}: test images of one label alone, so image metrics are absent; add the other kind."
            )
        if metrics["pixel_auroc"] is None and metrics["defective_images"]:
            report(
                f"  {name}: no test image has a mask, so pixel metrics are absent, not zero; "
                "add ground_truth."
            )
