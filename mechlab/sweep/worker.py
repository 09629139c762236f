"""One job in its own process: train what is missing, then record and evaluate what is missing.

Torch is loaded here by name, so that a ledger can be read without it. The process ends when its standard
input does: then the executor is gone, and whoever goes on with its jobs must not find them locked.
"""

import os
import sys
import threading
import time
from importlib import import_module
from pathlib import Path
from typing import Any

from mechlab.errors import MechlabError
from mechlab.files import read_json, write_json
from mechlab.runs.folder import RunFolder
from mechlab.runs.request import TrainRequest


def work(job: dict[str, Any]) -> dict[str, Any]:
    """Do one job and return where its files are and what was measured."""
    began = time.monotonic()
    session = import_module("mechlab.train.session")
    summary = session.train(TrainRequest.read(job["request"]), report=_say)
    path = Path(summary["path"])
    recordings = []
    if job["record"]:
        record = import_module("mechlab.instrument.session").record_run
        recordings = [record(path, document, report=_say)["recording"] for document in job["record"]]
    evaluations = [
        session.reevaluate(RunFolder.open(path), settings=settings, report=_say)
        for settings in job.get("evaluate", ())
    ]
    scored = [{"mean": found["mean"], "metrics": found["metrics"]} for found in evaluations]
    return {"path": summary["path"], "recordings": recordings, "trajectory": summary["trajectory"],
            "mean": summary["mean"], "evaluations": scored,
            "seconds": round(time.monotonic() - began, 1)}  # fmt: skip


def end_with_executor() -> None:
    """End this process at once when its standard input ends; files are whole at every instant."""

    def listen() -> None:
        while os.read(
            sys.stdin.fileno(), 1024
        ):  # unbuffered: a lock on the buffer would break the normal end
            continue
        os._exit(1)

    threading.Thread(target=listen, daemon=True).start()


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def main(asked: str, answer: str) -> int:
    """Read the job, write its result; a user's mistake is one line and exit status 1."""
    try:
        write_json(Path(answer), work(read_json(Path(asked))))
    except MechlabError as error:
        _say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    end_with_executor()
    sys.exit(main(sys.argv[1], sys.argv[2]))
