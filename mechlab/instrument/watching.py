"""A recorder that follows a training: an observer of the loop that can be rewound to a checkpoint.

On several devices each rank records its own images. What is of parameters is the same on all of them, so the
first rank alone records it.
"""

from collections.abc import Sequence
from dataclasses import asdict, replace
from importlib import import_module
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from mechlab import systems
from mechlab.errors import MechlabError
from mechlab.instrument.forecast import check_steps, checkpoint_bytes
from mechlab.instrument.gradient import GradientTap
from mechlab.instrument.one_grid import refuse_grids
from mechlab.instrument.plan import read_plan
from mechlab.instrument.recorder import Recorder, refuse_silent
from mechlab.instrument.schedule import check_fires
from mechlab.instrument.statistics import Statistics
from mechlab.recording.cost import cost
from mechlab.recording.fault import OnFault
from mechlab.recording.pack import pack
from mechlab.recording.reader import open as open_recording
from mechlab.recording.writer import Writer
from mechlab.specs import PlanEntry, RecordSpec
from mechlab.train.loop import Step
from mechlab.train.resolution import Plan
from mechlab.train.world import World

OF_PARAMETERS = ("gradient", "update", "weight", "weight_delta")


class Watch:
    """Follows the plan of a request while a run is trained; one recording holds all its tasks."""

    def __init__(self, plan: Plan, module: nn.Module, world: World, *, asked: Sequence[PlanEntry]) -> None:
        """Take this rank's part of the entries `asked` for; hooks are attached when a task begins."""
        self.module, self.run, self.world = module, plan.run, world
        self.entries = rank_entries(asked, world)
        self.system = plan.spec.system
        self.inputs, self.grid = plan.inputs, plan.inputs.grid
        self.on_fault: OnFault = plan.request.record_fault or "stop"
        self.steps, self.tasks = steps_of(plan), len(plan.spec.tasks)
        check_fires(self.entries, steps=self.steps)
        spec = spec_of(plan, asked)
        self.folder = folder_of(plan)
        self.attributes = {
            "run_id": plan.run.name,
            "spec": spec.model_dump(mode="json"),
            "train": plan.spec.model_dump(mode="json"),
            "provenance": {"run": plan.run.name},
        }
        self.writer: Writer | None = None
        self.recorder: Recorder | None = None
        self.due: set[PlanEntry] = set()  # over all tasks: what trains in one may be frozen in another
        self.written: set[PlanEntry] = set()
        self.held: set[str] = set()  # keys that an interrupted run wrote
        self.offset = 0
        self.spent = Statistics()
        self.is_forecast = False

    def rewind(self, position: int, *, task: int) -> None:
        """Begin or resume at a task: what stands after `position` is dropped."""
        if self.writer is None:
            self.writer = Writer.resume(
                self.folder,
                position=position,
                attributes=self.attributes,
                rank=self.world.rank,
                on_fault=self.on_fault,
            )
            with open_recording(self.folder) as found:  # what was spent before the run was interrupted
                self.spent = Statistics(**(found.facts.get("overhead", {}) | {"silent": ()}))
                self.held = set(found)
        self._detach()
        tables = [self.inputs.fitting_items(earlier) for earlier in range(task + 1)]  # also where it resumes
        self.offset = sum(len(table) for table in tables[:-1])
        self.writer.items([item for table in tables for item in table])
        sites = import_module(f"{systems.catalog(self.system).__package__}.sites").sites(self.module)
        self.recorder = Recorder(self.module, self.entries, self.writer, sites=sites, grid=self.grid)
        self.recorder.__enter__()
        self.written |= {entry for entry, tap in self.recorder.taps if not self.held.isdisjoint(tap.keys)}

    def before(self, step: Step) -> None:
        """Open the step."""
        assert self.recorder is not None
        items = np.asarray(step.items, dtype=np.int64) + self.offset
        self.recorder.begin(step.step, items=items, stage=step.task, adapter=step.task, loss="training")

    def after_backward(self, step: Step) -> None:
        """Read gradients again where backward left a rank's part of them; else the hooks have read them."""
        assert self.recorder is not None
        for _, tap in self.recorder.taps if self.world.size > 1 else ():
            if isinstance(tap, GradientTap):
                tap.take_again()

    def after(self, step: Step) -> None:
        """Close the step; after the first one a recording that will not fit the disk is refused."""
        assert self.recorder is not None and self.writer is not None
        self.recorder.end()
        if not self.is_forecast:
            left = self.tasks - step.task if self.world.rank == 0 else 0  # the first rank writes checkpoints
            check_steps(
                self.recorder,
                self.writer.sizes,
                self.folder,
                steps=range(step.step, self.steps),
                checkpoint_bytes=checkpoint_bytes(self.module, tasks=left) if left else 0,
            )
            self.is_forecast = True

    def commit(self) -> int:
        """Bring everything to disk and return the position that a checkpoint keeps."""
        assert self.writer is not None
        self.writer.commit()
        self._note_cost()
        return self.writer.position

    def close(self, *, is_complete: bool) -> None:
        """Take the hooks off and bring everything to disk; the first rank packs a complete recording.

        Raises:
            MechlabError: an entry that wrote nothing in any task of a complete training.
        """
        self._detach()
        if self.writer is not None:
            self._note_cost()
            self.writer.close(pack=is_complete and self.world.rank == 0)
        elif is_complete and self.world.rank == 0:
            self._pack_rest()
        if is_complete:  # what a broken training did not record is no mistake of the plan
            refuse_silent(self.entries, due=self.due, written=self.written, steps=self.spent.steps)

    def _pack_rest(self) -> None:
        """Pack a recording whose last step an earlier process wrote, unless a fault had ended it."""
        with open_recording(self.folder) as found:
            is_ready = not found.is_packed and "fault" not in found.facts
        if is_ready:
            pack(self.folder)

    def _note_cost(self) -> None:
        """Write what following has cost so far; the first rank does, for all have the same steps."""
        assert self.writer is not None
        if self.world.rank == 0 and self.writer.fault is None:
            now = Statistics() if self.recorder is None else self.recorder.statistics
            spent = self.spent + now
            known = self.held | self.writer.sizes.keys()
            silent = tuple(key for key in dict.fromkeys(spent.silent) if key not in known)
            self.writer.note({"overhead": asdict(replace(spent, silent=silent))})

    def _detach(self) -> None:
        if self.recorder is not None:
            self.recorder.__exit__(MechlabError, None, None)  # what is silent shows over all tasks
            self.spent += self.recorder.statistics
            self.due |= self.recorder.due
            self.written |= self.recorder.written
            self.recorder = None


def watch(plan: Plan, module: nn.Module, world: World) -> Watch | None:
    """Return the observer that follows a request's recording plan; None for a rank with nothing to record.

    Raises:
        MechlabError: a system that trains in no step, or places of tasks that see grids of their own.
    """
    assert plan.request.record is not None
    if plan.spec.epochs == 0:
        raise MechlabError(
            f"system '{plan.spec.system}' trains in no step, so there is nothing to record while it does; "
            "leave --record out, and record the run with 'mechlab record'."
        )
    asked = read_plan(plan.request.record)
    refuse_grids(asked, plan.inputs, tasks=range(len(plan.spec.tasks)))
    return Watch(plan, module, world, asked=asked) if rank_entries(asked, world) else None


def watched(plan: Plan) -> dict[str, Any]:
    """Return where a training's recording is, its bytes, what it cost and what it lost."""
    folder = folder_of(plan)
    with open_recording(folder) as found:
        spent = cost(found)
    return {
        "path": str(folder),
        "bytes": sum(path.stat().st_size for path in folder.glob("*.h5")),
        "overhead_ratio": spent["overhead_ratio"],
        "dropped": spent["dropped_rows"],
    }


def refuse_unrecorded(plan: Plan) -> None:
    """Refuse to read a finished run as if it had followed a recording plan that it did not follow."""
    if not folder_of(plan).exists():
        asked = plan.request.record
        name = f"the plan '{asked}'" if isinstance(asked, Path) else "this plan"
        raise MechlabError(
            f"run '{plan.run.path}' is already trained and did not follow {name}; "
            "record its checkpoints with 'mechlab record', or train into another --out."
        )


def folder_of(plan: Plan) -> Path:
    """Return the folder of the recording that a request asks for."""
    assert plan.request.record is not None
    return plan.run.path / "recordings" / spec_of(plan, read_plan(plan.request.record)).hash


def spec_of(plan: Plan, asked: Sequence[PlanEntry]) -> RecordSpec:
    """Return what names the recording of a training."""
    return RecordSpec(evaluation=None, train=plan.spec.hash, plan=tuple(asked), split="train")


def steps_of(plan: Plan) -> int:
    """Return the number of optimiser steps of a whole run."""
    images = [len(plan.inputs.fitting_items(task)) for task in range(len(plan.spec.tasks))]
    return plan.spec.epochs * sum(ceil(count / plan.spec.batch_size) for count in images)


def rank_entries(entries: Sequence[PlanEntry], world: World) -> list[PlanEntry]:
    """Return what a rank records: the first all, the others what is of images."""
    return [entry for entry in entries if world.rank == 0 or entry.quantity not in OF_PARAMETERS]
