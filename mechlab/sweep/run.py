"""Run what a sweep lacks, and tell where it stands; a killed sweep goes on where it was.

`<studies>/sweep-<name>-<size>/`: the ledger; a request, an answer and a log a job; `sweep.json`, the table.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mechlab.files import is_locked, lock, write_json
from mechlab.runs.folder import RunFolder
from mechlab.sweep import local
from mechlab.sweep.arms import Arm, Place, resolved
from mechlab.sweep.file import Sweep
from mechlab.sweep.jobs import Cell, cells, jobs
from mechlab.sweep.ledger import Ledger
from mechlab.sweep.table import Outcome, class_means, metrics_of, no_ops, parameters, table

Report = Callable[[str], None]


def run(sweep: Sweep, *, place: Place, report: Report) -> dict[str, Any]:
    """Train and evaluate what is missing of every arm and seed; return `standing` with the table.

    Raises:
        MechlabError: an arm that cannot be, a sweep that another process runs, or a job that failed.
    """
    arms = resolved(sweep, place=place)
    found, folder = cells(arms, seeds=sweep.seeds), place.studies / sweep.folder
    with lock(folder / "lock", wait=False, what="sweep"):
        try:
            local.run(jobs(found), folder=folder, processes=place.processes, report=report)
        finally:
            write_json(folder / "sweep.json", _document(sweep, arms, found, folder))
    return _document(sweep, arms, found, folder)


def standing(sweep: Sweep, *, place: Place) -> dict[str, Any]:
    """Return the state of every arm and seed, and the table of what is finished; runs nothing.

    A state is waiting, running, interrupted, failed or finished; a running job has the last line of its log.
    """
    arms = resolved(sweep, place=place)
    return _document(sweep, arms, cells(arms, seeds=sweep.seeds), place.studies / sweep.folder)


def planned(sweep: Sweep, *, place: Place) -> dict[str, Any]:
    """Return the arms, what tells each from which, and how many trainings they need; runs nothing."""
    arms = resolved(sweep, place=place)
    needed = jobs(cells(arms, seeds=sweep.seeds))
    return {
        "sweep": sweep.name,
        "size": sweep.size,
        "question": sweep.question,
        "folder": str(place.studies / sweep.folder),
        "arms": [{"arm": arm.name, "against": arm.against, "differs": list(arm.differs)} for arm in arms],
        "seeds": sweep.seeds,
        "runs": len(needed),
    }


def _document(sweep: Sweep, arms: Sequence[Arm], found: Sequence[Cell], folder: Path) -> dict[str, Any]:
    ledger, is_running = Ledger(folder / "ledger.jsonl"), is_locked(folder / "lock")
    rows = [_row(cell, ledger, folder, is_running=is_running) for cell in found]
    done = {(row["arm"], row["seed"]): outcome(cell, ledger) for row, cell in zip(rows, found, strict=True)
            if row["state"] == "finished"}  # fmt: skip
    return {
        "sweep": sweep.name,
        "size": sweep.size,
        "question": sweep.question,
        "folder": str(folder),
        "rows": rows,
        "metrics": list(metrics_of(arms)),
        "arms": table(arms, done),
        "classes": class_means(arms, done),
        "no_ops": no_ops(arms, done),
    }


def _row(cell: Cell, ledger: Ledger, folder: Path, *, is_running: bool) -> dict[str, Any]:
    last = ledger.rows().get(cell.job.hash)
    state = "waiting" if last is None else str(last["state"])
    if state == "finished" and ledger.finished(cell.job) is None:
        state = "waiting"  # its run was removed
    if state == "started":
        state = "running" if is_running else "interrupted"
    row: dict[str, Any] = {"arm": cell.arm, "seed": cell.seed, "state": state}
    if state == "finished" and last is not None:
        row |= {"run": Path(last["result"]["path"]).name, "seconds": last["result"].get("seconds")}
    if state in ("running", "failed"):
        row["last"] = _last_line(folder / "jobs" / f"{cell.job.hash}.log")
    return row


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    return lines[-1].strip() if lines else ""


def outcome(cell: Cell, ledger: Ledger) -> Outcome:
    """Return what a finished cell measured."""
    result = ledger.finished(cell.job)
    assert result is not None, "only finished cells have an outcome"
    run = RunFolder(Path(result["path"]))
    summary = run.summary()
    own = cell.evaluation is None
    measured = summary if cell.evaluation is None else result["evaluations"][cell.evaluation]
    return Outcome(
        mean=measured["mean"],
        metrics=measured["metrics"],
        forgetting=summary["forgetting"] if own else None,
        seconds=float(summary["seconds"]),
        parameters=parameters(run),
        trajectory=str(summary["trajectory"]),
        is_evaluation=not own,
    )
