"""What a training writes down as it goes: one row a step, one an epoch, one a task; without times.

So two equal runs have equal journals, and an interrupted run ends with the journal of one that was not.
Source: notes 004 L773 (log of each epoch with gates and weights of the context).
"""

import json
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mechlab.files import told as fault_told
from mechlab.files import write_text
from mechlab.runs.folder import RunFolder
from mechlab.train.loop import Progress, Step

Row = dict[str, Any]


class Rows:
    """A file of JSON lines that is appended to; opening it drops the rows that will be written again."""

    def __init__(self, path: Path, *, keep: Callable[[Row], bool]) -> None:
        self.path = path
        self.known = [row for row in map(json.loads, whole_lines(path)) if keep(row)]
        write_text(path, "".join(json.dumps(row) + "\n" for row in self.known))
        self.stream = path.open("a")

    def append(self, row: Row) -> None:
        """Write one row."""
        with fault_told(self.path):
            self.stream.write(json.dumps(row) + "\n")

    def commit(self) -> None:
        """Bring the rows to disk."""
        with fault_told(self.path):
            self.stream.flush()
            os.fsync(self.stream.fileno())

    def close(self) -> None:
        """Close the file."""
        self.stream.close()


def whole_lines(path: Path) -> list[str]:
    """Return the lines of a file that end; none where there is no file."""
    try:
        text = path.read_text()
    except FileNotFoundError:
        return []
    return text[: text.rfind("\n") + 1].splitlines()


class Log:
    """`log.jsonl`: one row a step."""

    def __init__(self, run: RunFolder, *, step: int) -> None:
        """Open the log; rows from `step` on are dropped."""
        self.rows = Rows(run.path / "log.jsonl", keep=lambda row: row["step"] < step)

    def before(self, step: Step) -> None:
        """Nothing is logged before a step."""

    def after_backward(self, step: Step) -> None:
        """Nothing is logged inside a step."""

    def after(self, step: Step) -> None:
        """Write one row."""
        self.rows.append(
            {
                "step": step.step,
                "task": step.task,
                "epoch": step.epoch,
                "loss": step.loss,
                **step.terms,
                "learning_rate": step.learning_rate,
                "gradient_norm": step.gradient_norm,
            }
        )


class EpochLog:
    """`epochs.jsonl`: a row of kind "epoch" after each epoch, one of kind "task" after each task.

    Of an epoch: means over its steps of loss, terms and gradient norm (before clipping), the last learning
    rate, and what the system reads off itself, e.g. gates. Of a task: its row of the accuracy matrix, and the
    routing accuracy of each class so far. `step` counts the steps done.
    """

    def __init__(self, run: RunFolder, *, step: int) -> None:
        """Open the log; rows of epochs that end after `step` steps are dropped."""
        self.rows = Rows(run.path / "epochs.jsonl", keep=lambda row: row["step"] <= step)
        self.told = {row["task"] for row in self.rows.known if row["kind"] == "task"}
        self.seen: list[Step] = []

    def before(self, step: Step) -> None:
        """Nothing is logged before a step."""

    def after_backward(self, step: Step) -> None:
        """Nothing is logged inside a step."""

    def after(self, step: Step) -> None:
        """Remember a step until its epoch ends."""
        self.seen.append(step)

    def end_epoch(self, task: int, progress: Progress, readings: Mapping[str, float]) -> Row:
        """Write the row of an epoch and return it."""
        steps, self.seen = self.seen, []
        names = [name for name in steps[0].terms if all(name in step.terms for step in steps)]
        row: Row = {
            "kind": "epoch",
            "task": task,
            "epoch": progress.epoch - 1,
            "phase": steps[-1].phase,
            "step": progress.step,
            "loss": _mean(step.loss for step in steps),
            **{name: _mean(step.terms[name] for step in steps) for name in names},
            "learning_rate": steps[-1].learning_rate,
            "gradient_norm": _mean(step.gradient_norm for step in steps),
            "readings": dict(readings),
        }
        if progress.held_out_loss is not None:
            row["held_out_loss"] = progress.held_out_loss
        self.rows.append(row)
        return row

    def end_task(self, task: int, *, step: int, image_auroc: list[Any], routing: Mapping[str, Any]) -> None:
        """Write the row of a task unless it is there, and bring it to disk."""
        if task in self.told:
            return
        self.told.add(task)
        self.rows.append(
            {"kind": "task", "task": task, "step": step, "image_auroc": image_auroc,
             "routing_accuracy": dict(routing)}
        )  # fmt: skip
        self.rows.commit()


def told(row: Row, *, epochs: int, unit: str = "nats a patch") -> str:
    """Return the row of an epoch as one line of progress; `unit` is that of the loss."""
    words = f"  task {row['task']} epoch {row['epoch'] + 1}/{epochs}: loss {row['loss']:.3f} {unit}"
    if row["phase"]:
        words += f", phase {row['phase']}"
    if "held_out_loss" in row:
        words += f", held out {row['held_out_loss']:.3f}"
    shown = [f"{name} {value:.3g}" for name, value in row["readings"].items()]
    return words + (f" ({', '.join(shown)})" if shown else "")


def _mean(values: Any) -> float:  # noqa: ANN401 - an iterable of floats
    found = list(values)
    return math.fsum(found) / len(found)
