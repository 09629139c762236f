"""A recorder that follows a training: an observer of the loop that can be rewound to a checkpoint."""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np
from torch import nn

from mechlab import systems
from mechlab.instrument.plan import read_plan
from mechlab.instrument.recorder import Recorder
from mechlab.recording.writer import Writer
from mechlab.specs import Item, RecordSpec
from mechlab.train.loop import Step
from mechlab.train.session import Plan


class Watch:
    """Follows the plan of a request while a run is trained; one recording holds all its tasks."""

    def __init__(self, plan: Plan, module: nn.Module) -> None:
        """Read the plan; hooks are attached when a task begins."""
        assert plan.request.record is not None
        self.module, self.run = module, plan.run
        self.entries = read_plan(plan.request.record)
        self.system = plan.spec.system
        self.grid = plan.inputs.grid
        spec = RecordSpec(evaluation=None, train=plan.spec.hash, plan=tuple(self.entries), split="train")
        self.folder = plan.run.path / "recordings" / spec.hash
        self.attributes = {
            "run_id": plan.run.name,
            "spec": spec.model_dump(mode="json"),
            "train": plan.spec.model_dump(mode="json"),
            "provenance": {"run": plan.run.name},
        }
        self.writer: Writer | None = None
        self.recorder: Recorder | None = None
        self.table: list[Item] = []
        self.offset = 0
        self.seconds = 0.0

    def rewind(self, position: int, *, task: int, items: Sequence[Item]) -> None:
        """Begin or resume at a task: what stands after `position` is dropped."""
        if self.writer is None:
            self.writer = Writer.resume(self.folder, position=position, attributes=self.attributes)
        self._detach()
        self.offset = len(self.table)
        self.table += items
        self.writer.items(self.table)
        sites = import_module(f"{systems.catalog(self.system).__package__}.sites").sites(self.module)
        self.recorder = Recorder(self.module, self.entries, self.writer, sites=sites, grid=self.grid)
        self.recorder.__enter__()

    def before(self, step: Step) -> None:
        """Open the step."""
        assert self.recorder is not None
        items = np.asarray(step.items, dtype=np.int64) + self.offset
        self.recorder.begin(step.step, items=items, stage=step.task, adapter=step.task, loss="training")

    def after_backward(self, step: Step) -> None:
        """Gradients are read by the recorder's own hooks."""

    def after(self, step: Step) -> None:
        """Close the step."""
        assert self.recorder is not None
        self.recorder.end()

    def commit(self) -> int:
        """Bring everything to disk and return the position that a checkpoint keeps."""
        assert self.writer is not None
        self.writer.commit()
        return self.writer.position

    def close(self) -> None:
        """Take the hooks off and pack the recording."""
        self._detach()
        if self.writer is not None:
            self.writer.close()

    def report(self) -> dict[str, Any]:
        """Return what following has cost: seconds in hooks, bytes, rows dropped."""
        statistics = self.writer.statistics if self.writer is not None else None
        return {
            "seconds": self.seconds,
            "bytes": statistics.bytes if statistics else 0,
            "dropped": statistics.dropped_rows if statistics else 0,
        }

    def _detach(self) -> None:
        if self.recorder is not None:
            self.recorder.__exit__(None, None, None)
            self.seconds += self.recorder.statistics.seconds_in_hooks
            self.recorder = None


def watch(plan: Plan, module: nn.Module) -> Watch:
    """Return the observer that follows a request's recording plan."""
    return Watch(plan, module)
