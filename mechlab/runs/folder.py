"""The folder of one run: `run.json`, checkpoints, evaluations, recordings, log; found, listed, removed.

Source: design notes, "On disk".
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mechlab.errors import MechlabError, unknown
from mechlab.files import read_json, write_json
from mechlab.runs.parts import Parts, canonical, complete
from mechlab.runs.request import TrainRequest
from mechlab.specs import EvalSpec, TrainSpec

KIND = "mechlab run"
VERSION = 1


@dataclass(frozen=True, slots=True)
class RunFolder:
    """One run on disk; nothing is read before it is asked for."""

    path: Path

    @classmethod
    def of(cls, out: Path, spec: TrainSpec) -> "RunFolder":
        """Return the folder that belongs to a spec, whether it exists or not.

        A run of the same spec that bears the name of an earlier way to hash is that run.
        """
        named = cls(out / f"{spec.system}-{spec.hash}")
        if (named.path / "run.json").exists():
            return named
        return next((run for run in runs(out) if run.is_of(spec)), named)

    @classmethod
    def open(cls, path: Path) -> "RunFolder":
        """Return an existing run; anything else is a sentence."""
        run = cls(path)
        run.document()
        return run

    def is_of(self, spec: TrainSpec) -> bool:
        """Whether the run was trained as a spec says; one that cannot be read was not."""
        try:
            document = self.document()["spec"]
            return document["system"] == spec.system and canonical(TrainSpec(**document)) == spec
        except (MechlabError, KeyError, TypeError, ValueError, OSError):
            return False

    def create(
        self, spec: TrainSpec, *, parts: Parts, request: TrainRequest, provenance: dict[str, Any]
    ) -> None:
        """Write `run.json` unless it is there; `parts` are complete, the spec's need not be."""
        if not (self.path / "run.json").exists():
            document = {
                "kind": KIND,
                "version": VERSION,
                "hash": spec.hash,
                "spec": spec.model_dump(mode="json"),
                "parts": dict(parts),
            }
            write_json(
                self.path / "run.json", document | {"request": request.document(), "provenance": provenance}
            )

    def document(self) -> dict[str, Any]:
        """Return `run.json`."""
        file = self.path / "run.json"
        if not file.exists():
            raise MechlabError(
                f"'{self.path}' is no run: it has no run.json; give a folder that 'mechlab train' made."
            )
        value = read_json(file)
        if not isinstance(value, dict) or value.get("kind") != KIND:
            raise MechlabError(
                f"'{file}' is no description of a run; give a folder that 'mechlab train' made."
            )
        if value["version"] != VERSION:
            raise MechlabError(
                f"'{file}' has version {value['version']}; this mechlab reads version {VERSION}."
            )
        return value

    @property
    def name(self) -> str:
        """The folder's name: system and hash."""
        return self.path.name

    def spec(self) -> TrainSpec:
        """Return what was trained, in the words of today."""
        return canonical(TrainSpec.model_validate(self.document()["spec"]))

    def parts(self) -> dict[str, Any]:
        """Return all parts of the training, also those that the spec leaves out at their default."""
        stored: dict[str, Any] = self.document().get("parts", {})
        return complete(self.spec()) | stored

    def request(self) -> TrainRequest:
        """Return what was asked."""
        return TrainRequest.read(self.document()["request"])

    @property
    def is_finished(self) -> bool:
        """Whether the last task was trained and evaluated."""
        return (self.path / "summary.json").exists()

    def summary(self, evaluation: str | None = None) -> dict[str, Any]:
        """Return what `mechlab train --json` prints: under the run's first evaluation, or another one."""
        if not self.is_finished:
            raise MechlabError(
                f"run '{self.path}' is not finished; give the same 'mechlab train' again to resume it."
            )
        file = self.path / ("summary.json" if evaluation is None else f"summaries/{evaluation}.json")
        return dict(read_json(file)) | {"run": self.name, "path": str(self.path)}

    def is_evaluation(self, name: str, spec: EvalSpec) -> bool:
        """Whether an evaluation of this run is the one of a spec, by whatever name the training then had."""
        file = self.path / "evals" / name / "metrics.json"
        if not file.exists():
            return name == spec.hash
        made = EvalSpec.model_validate(read_json(file)["spec"])
        return made.model_copy(update={"train": spec.train}) == spec

    @property
    def allowed(self) -> tuple[str, ...]:
        """What would have been refused and was let pass; every table that shows the run says so."""
        scored = self.summary().get("allowed", ()) if self.is_finished else ()
        return tuple(sorted({*self.spec().allowed, *scored}))

    @property
    def title(self) -> str:
        """The name with what was let pass, as tables and pages show it."""
        return f"{self.name} (let pass: {', '.join(self.allowed)})" if self.allowed else self.name

    def checkpoint(self, task: int) -> Path:
        """Return the folder of the checkpoint after a task."""
        return self.path / "checkpoints" / f"after_task_{task}"

    def checkpoints(self) -> tuple[int, ...]:
        """Return the tasks after which there is a checkpoint."""
        found = (self.path / "checkpoints").glob("after_task_*")
        return tuple(sorted(int(path.name.rsplit("_", 1)[1]) for path in found))

    def recordings(self) -> tuple[Path, ...]:
        """Return the recordings of this run."""
        return tuple(
            sorted(path for path in (self.path / "recordings").glob("*") if not path.name.startswith("."))
        )

    def evaluations(self) -> tuple[Path, ...]:
        """Return the evaluations of this run."""
        return tuple(sorted(path.parent for path in (self.path / "evals").glob("*/metrics.json")))

    def log(self) -> list[dict[str, Any]]:
        """Return the rows of the training log: one a step."""
        file = self.path / "log.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def epochs(self) -> list[dict[str, Any]]:
        """Return the rows of the log of epochs and tasks, in the order they were written."""
        file = self.path / "epochs.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def bytes(self) -> int:
        """Return the size on disk."""
        return sum(file.stat().st_size for file in self.path.rglob("*") if file.is_file())


def runs(out: Path) -> tuple[RunFolder, ...]:
    """Return the runs below a folder, newest last."""
    files = sorted(out.glob("*/run.json"), key=lambda file: file.stat().st_mtime)
    return tuple(RunFolder(file.parent) for file in files)


def find(name: str, out: Path) -> RunFolder:
    """Return a run by path, name or the start of its hash."""
    if (Path(name) / "run.json").exists():
        return RunFolder.open(Path(name))
    known = runs(out)
    matching = [
        run
        for run in known
        if name and name in (run.name[: len(name)], run.name.rsplit("-", 1)[1][: len(name)])
    ]
    if len(matching) == 1:
        return matching[0]
    if matching:
        raise MechlabError(
            f"'{name}' names several runs: {', '.join(run.name for run in matching)}; give more digits."
        )
    raise unknown(f"run in '{out}'", name, [run.name for run in known])


def remove(run: RunFolder) -> int:
    """Delete a run and return the bytes that were freed."""
    run.document()
    size = run.bytes()
    shutil.rmtree(run.path)
    return size
