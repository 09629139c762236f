"""The local executor: N capped worker processes, finished jobs skipped, a failure told in one sentence."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
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


def run(
    jobs: Sequence[Job], *, folder: Path, processes: int, report: Callable[[str], None]
) -> list[dict[str, Any]]:
    """Run what the ledger in `folder` does not hold as finished; return one result a job, in order.

    Raises:
        MechlabError: a job failed; its log is named, and the jobs that had finished stay finished.
    """
    if processes < 1:
        raise MechlabError(f"{processes} processes were asked for; give at least 1.")
    ledger = Ledger(folder / "ledger.jsonl")
    results = {job.hash: found for job in jobs if (found := ledger.finished(job)) is not None}
    waiting = [job for job in jobs if job.hash not in results]
    report(f"{len(jobs)} runs: {len(results)} already done, {len(waiting)} to do, {processes} at a time")
    threads = max(1, (os.cpu_count() or 1) // min(processes, max(1, len(waiting))))
    running: list[_Running] = []
    try:
        while waiting or running:
            while waiting and len(running) < processes:
                running.append(_start(waiting.pop(0), folder, ledger, threads=threads))
            time.sleep(POLL_SECONDS)
            for one in [one for one in running if one.process.poll() is not None]:
                running.remove(one)
                results[one.job.hash] = _collect(one, ledger)
                report(f"  {one.job.name}: done ({len(jobs) - len(waiting) - len(running)}/{len(jobs)})")
    finally:
        for one in running:
            one.process.terminate()
        for one in running:
            one.process.wait()
            one.log.close()
    return [results[job.hash] for job in jobs]


def _start(job: Job, folder: Path, ledger: Ledger, *, threads: int) -> _Running:
    asked, answer = folder / "jobs" / f"{job.hash}.json", folder / "jobs" / f"{job.hash}.result.json"
    request = {"threads": threads} | {key: value for key, value in job.request.items() if value is not None}
    write_json(asked, {"request": request, "record": list(job.record)})
    ledger.append(job, "started")
    log = (folder / "jobs" / f"{job.hash}.log").open("wb")
    command = [sys.executable, "-m", "mechlab.sweep.worker", str(asked), str(answer)]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    return _Running(job, subprocess.Popen(command, stdout=log, stderr=log, env=environment), log, answer)


def _collect(one: _Running, ledger: Ledger) -> dict[str, Any]:
    one.log.close()
    if one.process.returncode == 0:
        result = dict(read_json(one.answer))
        ledger.append(one.job, "finished", result=result)
        return result
    ledger.append(one.job, "failed")
    lines = Path(one.log.name).read_text(errors="replace").strip().splitlines() or ["no message"]
    raise MechlabError(f"run '{one.job.name}' failed: {lines[-1]} (its log is '{one.log.name}').")
