"""The local executor: N capped worker processes, finished jobs skipped, a failure told in one sentence.

A job that fails does not stop the others, but for those that take its run; it is told when all have ended.
Workers end with this process.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from mechlab.errors import MechlabError
from mechlab.files import read_json, write_json
from mechlab.sweep.ledger import Job, Ledger

POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class _Running:
    job: Job
    process: subprocess.Popen[bytes]
    log: IO[bytes]
    answer: Path
    began: float


def run(
    jobs: Sequence[Job], *, folder: Path, processes: int, report: Callable[[str], None]
) -> list[dict[str, Any]]:
    """Run what the ledger in `folder` does not hold as finished; return one result a job, in order.

    A job that takes the run of another one begins when that one is done, and not at all where it failed.

    Raises:
        MechlabError: a job failed; its log is named, and the jobs that have finished stay finished.
    """
    if processes < 1:
        raise MechlabError(f"{processes} processes were asked for; give at least 1.")
    ledger = Ledger(folder / "ledger.jsonl")
    results = {job.hash: found for job in jobs if (found := ledger.finished(job)) is not None}
    waiting = [job for job in jobs if job.hash not in results]
    report(f"{len(jobs)} runs: {len(results)} already done, {len(waiting)} to do, {processes} at a time")
    threads = max(1, (os.cpu_count() or 1) // min(processes, max(1, len(waiting))))
    running: list[_Running] = []
    failures: list[MechlabError] = []
    seconds: list[float] = []
    try:
        while waiting or running:
            while len(running) < processes and (job := _ready(waiting, results)) is not None:
                waiting.remove(job)
                running.append(_start(job, folder, ledger, threads=threads, results=results))
            if not running:
                break  # what waits takes runs of jobs that failed
            time.sleep(POLL_SECONDS)
            for one in [one for one in running if one.process.poll() is not None]:
                running.remove(one)
                try:
                    results[one.job.hash] = _collect(one, ledger)
                except MechlabError as failure:
                    failures.append(failure)
                    report(f"  {failure}")
                    continue
                seconds.append(time.monotonic() - one.began)
                left = remaining(seconds, waiting=len(waiting), running=len(running), processes=processes)
                report(
                    f"  {one.job.name}: done in {duration(seconds[-1])} ({len(results)}/{len(jobs)}){left}"
                )
    finally:
        _end(running)
    _refuse_failed(failures, waiting)
    return [results[job.hash] for job in jobs]


def _ready(waiting: Sequence[Job], results: Mapping[str, Any]) -> Job | None:
    """Return the first job that waits for no other one."""
    return next((job for job in waiting if all(needed in results for needed in job.after.values())), None)


def _end(running: Sequence[_Running]) -> None:
    for one in running:
        one.process.terminate()
    for one in running:
        one.process.wait()
        _close(one)


def _refuse_failed(failures: Sequence[MechlabError], waiting: Sequence[Job]) -> None:
    if not failures:
        assert not waiting, "a job waits for one that is not among the jobs"
        return
    more = f" And {len(failures) - 1} more failed." if len(failures) > 1 else ""
    if waiting:
        more += f" {len(waiting)} that take their runs were not begun, the first '{waiting[0].name}'."
    raise MechlabError(f"{failures[0]}{more}")


def remaining(seconds: Sequence[float], *, waiting: int, running: int, processes: int) -> str:
    """Return how long the rest takes if it goes on like this; jobs that run are taken as half done."""
    if not waiting and not running:
        return ""
    mean = sum(seconds) / len(seconds)
    return f"; about {duration(mean * (waiting + running / 2) / min(processes, waiting + running))} left"


def duration(seconds: float) -> str:
    """Return seconds as a person reads them."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _start(
    job: Job, folder: Path, ledger: Ledger, *, threads: int, results: Mapping[str, Mapping[str, Any]]
) -> _Running:
    asked, answer = folder / "jobs" / f"{job.hash}.json", folder / "jobs" / f"{job.hash}.result.json"
    document = job.document()
    request = {"threads": threads} | document["request"]
    if job.after:
        taken = {key: str(results[needed]["path"]) for key, needed in job.after.items()}
        request["settings"] = dict(request.get("settings", {})) | taken
    write_json(asked, document | {"request": request})
    ledger.append(job, "started")
    log = (folder / "jobs" / f"{job.hash}.log").open("wb")
    command = [sys.executable, "-m", "mechlab.sweep.worker", str(asked), str(answer)]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log, env=environment)
    return _Running(job, process, log, answer, time.monotonic())


def _collect(one: _Running, ledger: Ledger) -> dict[str, Any]:
    _close(one)
    if one.process.returncode == 0:
        result = dict(read_json(one.answer))
        ledger.append(one.job, "finished", result=result)
        return result
    ledger.append(one.job, "failed")
    lines = Path(one.log.name).read_text(errors="replace").strip().splitlines() or ["no message"]
    raise MechlabError(f"run '{one.job.name}' failed: {lines[-1]} (its log is '{one.log.name}').")


def _close(one: _Running) -> None:
    one.log.close()
    assert one.process.stdin is not None
    one.process.stdin.close()
