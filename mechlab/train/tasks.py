"""The training of one task of a run: stage, loop, fingerprint, checkpoint, log; resumable within.

On several devices every rank trains; the first one alone writes, and the others wait for it where they would
read what it writes. Each rank has its own part of a recording.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from mechlab import fingerprint
from mechlab.files import read_json, remove_folder, write_json
from mechlab.fingerprint import StageFingerprint
from mechlab.runs.folder import RunFolder
from mechlab.train import checkpoint, determinism, scopes
from mechlab.train.checkpoint import Position
from mechlab.train.drawn import DrawnBatches
from mechlab.train.heap import give_back
from mechlab.train.inputs import Inputs
from mechlab.train.journal import EpochLog, Log, told
from mechlab.train.loop import Observer, Progress, run_task
from mechlab.train.stage import Readable, Sized, Stage, Trainable, modules_of
from mechlab.train.world import ALONE, World, first_says, gathered, meet, refuse_disagreement

EVERY_SECONDS = 30.0  # at most so much training is lost within a task


class TaskTraining:
    """Trains the tasks of one run in turn; every file it leaves is whole."""

    def __init__(
        self,
        inputs: Inputs,
        run: RunFolder,
        system: Trainable,
        *,
        seed: int,
        device: torch.device,
        report: Callable[[str], None],
        watchers: Sequence[Any] = (),
        world: World = ALONE,
        freeze: Sequence[str] = (),
    ) -> None:
        """Bind a run to its system; `watchers` are observers with `commit`, `rewind` and `close`."""
        self.inputs, self.run, self.system, self.world = inputs, run, system, world
        self.is_first = world.rank == 0
        self.seed, self.device, self.report, self.watchers = seed, device, report, watchers
        self.inside, self.freeze = run.path / "checkpoints" / "in_progress", tuple(freeze)
        self.log: Log | None = None
        self.epochs: EpochLog | None = None
        self.step = 0

    def restore(self, task: int) -> None:
        """Load the weights after a task."""
        folder = self.run.checkpoint(task)
        checkpoint.load_weights(folder, modules_of(self.system))
        self.step = checkpoint.position(folder).step

    def run_task(self, task: int) -> None:
        """Train one task from where it stands and leave its checkpoint."""
        determinism.begin_task(seed=self.seed, task=task)
        module = modules_of(self.system)
        self.system.add_task(task)
        module.to(self.device)
        self.system.prepare(task, self.inputs.fitting(task))
        stage = scopes.frozen(self.system.stage(task), self.freeze)
        if stage.drawn_by is not None:
            determinism.begin_task(seed=self.seed, task=stage.drawn_by)
        scopes.apply(module, stage)
        optimizer = scopes.optimizer(module, stage)
        before = self._before(task)
        start = self._start(task, optimizer)
        self._open_logs()
        give_back()  # what preparing took
        end = self._loop(task, stage, optimizer, start)
        give_back()  # what training took
        self._finish(task, stage, before=before, end=end)

    def _before(self, task: int) -> dict[str, str]:
        if not self.is_first:
            return {}
        file = self.run.path / "stages" / f"{task}.json"
        if file.exists() and self.inside.exists():
            return dict(read_json(file)["before"])
        before = scopes.parameter_hashes(modules_of(self.system))
        write_json(file, {"before": before})
        return before

    def _start(self, task: int, optimizer: torch.optim.Optimizer) -> Progress:
        recorded = checkpoint.position(self.run.checkpoint(task - 1)).recorded if task else ()
        start = Progress(step=self.step)
        if self.inside.exists() and (position := checkpoint.position(self.inside)).task == task:
            checkpoint.load_weights(self.inside, modules_of(self.system))
            checkpoint.load_state(self.inside, optimizer)
            start = Progress(epoch=position.epoch, step=position.step, losses=position.losses)
            recorded = position.recorded
        self._rewind(recorded[self.world.rank] if recorded else 0, task=task)
        return start

    def _rewind(self, position: int, *, task: int) -> None:
        for rank in range(self.world.size):
            if rank == self.world.rank:  # in turn: a rank that reads the manifest sees no other one's rewind
                for watcher in self.watchers:
                    watcher.rewind(position, task=task)
            meet(self.world)

    def _open_logs(self) -> None:
        if self.log is not None or not self.is_first:
            return
        done = self.run.checkpoints()
        step = checkpoint.position(self.run.checkpoint(done[-1])).step if done else 0
        if self.inside.exists() and (position := checkpoint.position(self.inside)).task == len(done):
            step = position.step
        self.log, self.epochs = Log(self.run, step=step), EpochLog(self.run, step=step)

    def end_task(self, task: int, *, image_auroc: Sequence[float | None], routing: dict[str, Any]) -> None:
        """Note how a task that was evaluated came out: image AUROC of tasks, routing accuracy of classes."""
        self._open_logs()
        if self.epochs is not None:
            step = checkpoint.position(self.run.checkpoint(task)).step
            self.epochs.end_task(task, step=step, image_auroc=list(image_auroc), routing=routing)

    def _loop(
        self,
        task: int,
        stage: Stage,
        optimizer: torch.optim.Optimizer,
        start: Progress,
    ) -> Progress:
        saved, features = time.monotonic(), self.inputs.rows(task)
        first = np.arange(min(stage.batch_size, len(features)))
        logs: list[Observer] = [log for log in (self.log, self.epochs) if log is not None]

        def after_epoch(progress: Progress) -> None:
            nonlocal saved
            give_back()  # room between tensors that stayed, seldom used again
            if self.epochs is not None:
                row = self.epochs.end_epoch(task, progress, self._readings(features[first], task))
                self.report(told(row, epochs=stage.epochs, unit=stage.unit))
            is_due = progress.epoch < stage.epochs and time.monotonic() - saved > EVERY_SECONDS
            if first_says(self.world, is_due):
                self._save(self.inside, self._position(task, progress), optimizer)
                saved = time.monotonic()

        drawn = None
        if not stage.drawing.is_idle:
            drawn = DrawnBatches(self.inputs, self.inputs.fitting(task), task=task, seed=self.seed,
                                 drawing=stage.drawing, number=stage.drawn_by)  # fmt: skip
        return run_task(
            self.system,
            features,
            task=task,
            seed=self.seed,
            stage=stage,
            optimizer=optimizer,
            device=self.device,
            start=start,
            observers=[*logs, *self.watchers],
            after_epoch=after_epoch,
            world=self.world,
            drawn=drawn,
        )

    def _readings(self, features: Float[np.ndarray, "item row column dim"], task: int) -> dict[str, float]:
        if not isinstance(self.system, Readable):
            return {}
        return self.system.readings(torch.from_numpy(features).to(self.device), task=task)

    def _save(self, path: Path, position: Position, optimizer: torch.optim.Optimizer | None) -> None:
        if self.log is not None and self.epochs is not None:
            self.log.rows.commit()
            self.epochs.rows.commit()
            checkpoint.save(path, modules_of(self.system), position=position, optimizer=optimizer)

    def _position(self, task: int, progress: Progress) -> Position:
        recorded = gathered(self.world, sum(watcher.commit() for watcher in self.watchers))
        return Position(
            task=task, epoch=progress.epoch, step=progress.step, losses=progress.losses, recorded=recorded
        )

    def _finish(
        self,
        task: int,
        stage: Stage,
        *,
        before: dict[str, str],
        end: Progress,
    ) -> None:
        refuse_disagreement(self.world, modules_of(self.system))
        if self.is_first:
            self._keep_fingerprint(task, stage, before=before, end=end)
        self.system.finish_task(task, self.inputs.fitting(task))
        if task in self.inputs.sizes:
            assert isinstance(self.system, Sized), "the catalog says that its tasks may have sizes"
            self.system.route_by(task, self.inputs.compared.fitting(task))
        self._save(self.run.checkpoint(task), self._position(task, end), None)
        self.step = end.step
        if self.is_first:
            remove_folder(self.inside)
        meet(self.world)  # the next task begins with reading what the first rank has just written

    def _keep_fingerprint(self, task: int, stage: Stage, *, before: dict[str, str], end: Progress) -> None:
        module = modules_of(self.system)
        print_ = scopes.fingerprint(module, stage, task=task, before=before, losses=end.losses)
        print_.check()
        file = self.run.path / "fingerprint.json"
        earlier: tuple[StageFingerprint, ...] = fingerprint.load(file)[:task] if file.exists() else ()
        fingerprint.save((*earlier, print_), file)

    def close(self, *, is_complete: bool) -> None:
        """Close log and watchers, also after an error; the first rank packs a complete recording."""
        if self.log is not None and self.epochs is not None:
            self.log.rows.close()
            self.epochs.rows.close()
        if is_complete and self.is_first:
            meet(self.world)  # packing needs what the others have closed
        for watcher in self.watchers:
            watcher.close(is_complete=is_complete)
        if is_complete and not self.is_first:
            meet(self.world)
