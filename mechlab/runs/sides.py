"""What stands on either side of a diff: runs, checkpoints, or recordings; both sides are of one kind."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mechlab.errors import MechlabError
from mechlab.recording.comparison import recording_difference
from mechlab.recording.format import PACKED
from mechlab.recording.manifest import MANIFEST
from mechlab.recording.reader import open as open_recording
from mechlab.runs.checkpoint_comparison import WEIGHTS, checkpoint_difference
from mechlab.runs.comparison import difference
from mechlab.runs.folder import RunFolder, find

Kind = Literal["run", "checkpoint", "recording"]


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a diff."""

    kind: Kind
    path: Path


def side(name: str, out: Path) -> Side:
    """Return what a name stands for: a path, a run's name or hash, or RUN@T for a checkpoint after task T."""
    path = Path(name)
    if (path / WEIGHTS).is_file() or path.suffix == ".safetensors":
        return Side("checkpoint", path)
    if path.is_file() or (path / PACKED).is_file() or (path / MANIFEST).is_file():
        return Side("recording", path)
    run, at, task = name.rpartition("@")
    if at and not path.exists():
        return Side("checkpoint", _checkpoint(find(run, out), task))
    if path.is_dir() and not (path / "run.json").exists():
        raise MechlabError(
            f"'{name}' is no run, checkpoint or recording; give a run, RUN@T for its checkpoint after task "
            "T, a folder of checkpoints/, or a recording."
        )
    return Side("run", find(name, out).path)


def compared(first: str, second: str, out: Path) -> dict[str, Any]:
    """Return the difference of two runs, checkpoints or recordings, as `mechlab diff --json` prints it."""
    one, two = side(first, out), side(second, out)
    if one.kind != two.kind:
        raise MechlabError(
            f"'{first}' is a {one.kind} and '{second}' a {two.kind}; give two of one kind (RUN@T names the "
            "checkpoint of a run after task T)."
        )
    if one.kind == "run":
        return difference(RunFolder.open(one.path), RunFolder.open(two.path))
    if one.kind == "checkpoint":
        return checkpoint_difference(one.path, two.path)
    with open_recording(one.path) as before, open_recording(two.path) as after:
        return recording_difference(before, after)


def _checkpoint(run: RunFolder, task: str) -> Path:
    known = run.checkpoints()
    if not task.isdecimal() or int(task) not in known:
        have = ", ".join(map(str, known)) or "none"
        raise MechlabError(f"run '{run.path}' has no checkpoint after task {task}; it has: {have}.")
    return run.checkpoint(int(task))
