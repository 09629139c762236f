"""One training from request to summary: the run folder, loop, log and recorder are the toolkit's.

`mechlab train` comes here for systems whose catalog names this file as its SESSION, and `mechlab evaluate`,
`score` and `record` with their runs.
"""

import time
from collections.abc import Callable
from typing import Any

from mechlab import fingerprint
from mechlab.files import lock, sweep_parts, write_json
from mechlab.runs.request import TrainRequest
from mechlab.train import determinism, scopes
from mechlab.train.devices import device_of
from mechlab.train.session import watched, watchers
from mechlab.train.tasks import TaskTraining
from mechlab.train.world import ALONE
from reproductions.can_ids.detector_work import detector_work
from reproductions.can_ids.fusion_work import fusion_work
from reproductions.can_ids.models import WHAT
from reproductions.can_ids.own_logs import score_logs as score
from reproductions.can_ids.places import enter
from reproductions.can_ids.reevaluation import reevaluate as evaluate
from reproductions.can_ids.window_recording import record
from reproductions.can_ids.work import Work

__all__ = ["evaluate", "outline", "record", "score", "train", "work_of"]

Report = Callable[[str], None]


def outline(request: TrainRequest) -> dict[str, Any]:
    """Return what `mechlab train --dry-run --json` prints: the run that a request names, untrained."""
    plan = work_of(request, say=_silent).plan
    state = "trained" if plan.run.is_finished else "begun" if plan.run.path.exists() else "absent"
    return {
        "run": plan.run.name,
        "path": str(plan.run.path),
        "state": state,
        "spec": plan.spec.model_dump(mode="json"),
        "allowed": [],
        "warnings": list(plan.warnings),
    }


def work_of(request: TrainRequest, *, say: Report) -> Work:
    """Return what a request asks for; MechlabError as its system's resolution."""
    return (fusion_work if request.system == "fusion" else detector_work)(request, say=say)


def train(request: TrainRequest, *, report: Report) -> dict[str, Any]:
    """Train what is missing of a request and return its summary; a finished run is only read."""
    begun = time.monotonic()
    determinism.settle(seed=request.seed, threads=request.threads)
    work = work_of(request, say=report)
    run = work.plan.run
    for warning in work.plan.warnings:
        report(f"warning: {warning}")
    if run.is_finished:
        report(f"{run.name} is already trained; reading its summary")
        if request.record is not None:
            watched(work.plan)  # refuses a plan that was not followed
    else:
        with lock(run.path / "lock", wait=False, what="run"):
            _train(work, begun=begun, report=report)
    enter(run, work.place)
    return run.summary()


def _train(work: Work, *, begun: float, report: Report) -> None:
    plan, device = work.plan, device_of(work.plan.request.device)
    run = plan.run
    system = work.build(device)
    scopes.refuse_idle_freeze([system.stage(0)], plan.request.freeze)
    sweep_parts(run.path)
    run.create(plan.spec, parts=plan.parts, request=plan.request,
               provenance=determinism.provenance(device))  # fmt: skip
    write_json(run.path / WHAT, work.what)
    report(f"{run.name}: {len(plan.inputs.fitting(0))} windows, {work.place.path}")
    training = TaskTraining(plan.inputs, run, system, seed=plan.spec.seed, device=device, report=report,
                            watchers=watchers(plan, system, ALONE), freeze=plan.request.freeze)  # fmt: skip
    is_complete = False
    try:
        if run.checkpoints():
            training.restore(0)
        else:
            training.run_task(0)
        document = work.judge(system)
        is_complete = True
    finally:
        training.close(is_complete=is_complete)
    summary = {
        "run": run.name,
        "path": str(run.path),
        **document,
        **work.told,
        "forgetting": None,
        "scores_identical": None,
        "place": str(work.place.path),
        "trajectory": fingerprint.trajectory(fingerprint.load(run.path / "fingerprint.json")),
        "recording": None if plan.request.record is None else watched(plan),
        "seconds": round(time.monotonic() - begun, 1),
    }
    write_json(run.path / "summary.json", summary)


def _silent(_: str) -> None:
    """Say nothing."""
