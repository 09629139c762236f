"""The ledger of a study: one line a change of state of a job; the last line of a job counts."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mechlab.files import canonical_json, sha256_bytes, told


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One training with its recordings: what a worker process is handed."""

    name: str
    request: dict[str, Any]  # TrainRequest.document()
    record: Sequence[dict[str, Any]] = field(default_factory=tuple)  # Recorded documents
    evaluate: Sequence[dict[str, Any]] = field(default_factory=tuple)  # changes to the run's evaluation
    after: Mapping[str, str] = field(default_factory=dict)  # setting -> hash of the job whose run it names

    def document(self) -> dict[str, Any]:
        """Return what a worker reads: nothing that is not given, so that a later word changes no hash."""
        given = {key: value for key, value in self.request.items() if value not in (None, (), [], {})}
        asked = {"request": given, "record": list(self.record)}
        asked |= {"evaluate": list(self.evaluate)} if self.evaluate else {}
        return asked | ({"after": dict(self.after)} if self.after else {})

    @property
    def hash(self) -> str:
        """SHA-256 of what a worker reads, 12 hex digits; folders count, so that files are found."""
        return sha256_bytes(canonical_json(self.document()).encode())[:12]


@dataclass(frozen=True, slots=True)
class Ledger:
    """`ledger.jsonl`: append-only; a torn last line is ignored."""

    path: Path

    def append(self, job: Job, state: str, *, result: dict[str, Any] | None = None) -> None:
        """Write one line: state is "started", "finished" or "failed"."""
        line = json.dumps({"job": job.hash, "name": job.name, "state": state, "result": result})
        with told(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a") as stream:
                stream.write(line + "\n")
                stream.flush()
                os.fsync(stream.fileno())

    def rows(self) -> dict[str, dict[str, Any]]:
        """Return the last line of each job by its hash."""
        found: dict[str, dict[str, Any]] = {}
        text = self.path.read_text() if self.path.exists() else ""
        for line in text[: text.rfind("\n") + 1].splitlines():
            row = json.loads(line)
            found[row["job"]] = row
        return found

    def finished(self, job: Job) -> dict[str, Any] | None:
        """Return a finished job's result if its files are still there."""
        row = self.rows().get(job.hash)
        if row is None or row["state"] != "finished":
            return None
        paths = [row["result"]["path"], *row["result"]["recordings"]]
        return dict(row["result"]) if all(Path(path).exists() for path in paths) else None
