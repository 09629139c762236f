"""One job in its own process: train what is missing, then make the recordings that are missing.

Torch is loaded here by name, so that a ledger can be read without it.
"""

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from mechlab.errors import MechlabError
from mechlab.files import read_json, write_json
from mechlab.runs.request import TrainRequest


def work(job: dict[str, Any]) -> dict[str, Any]:
    """Do one job and return where its files are."""
    summary = import_module("mechlab.train.session").train(TrainRequest.read(job["request"]), report=_say)
    record = import_module("mechlab.instrument.session").record_run
    recordings = [
        record(Path(summary["path"]), document, report=_say)["recording"] for document in job["record"]
    ]
    return {"path": summary["path"], "recordings": recordings, "trajectory": summary["trajectory"],
            "mean": summary["mean"]}  # fmt: skip


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
    sys.exit(main(sys.argv[1], sys.argv[2]))
