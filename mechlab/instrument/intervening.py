"""The interventions of an EvalSpec on a loaded run: when each acts, on which images, through which expert.

A swap lasts for the whole evaluation. Ablations and patches act while images go through an expert, so that
routing, which reads the features, is left as it is. `mean` and `resample` take their values from at most 64
training normals of the expert's own task, sent through that expert: they depend neither on the test images
nor on batches. Source: design notes, "EvalSpec".
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch

from mechlab import systems
from mechlab.errors import MechlabError
from mechlab.instrument.ablation import Reference, ablated_places, collect, replacement
from mechlab.instrument.patching import RecordedRows, patched_place, refuse_left_over
from mechlab.instrument.replacement import Effect, replacing
from mechlab.instrument.sites import Site
from mechlab.instrument.swap import swap
from mechlab.intervention import Ablate, Patch, Swap, parse
from mechlab.recording import Recording, reader
from mechlab.runs.interventions import Asked, recording_hash
from mechlab.specs import Item
from mechlab.train.inputs import Inputs
from mechlab.train.resolution import Plan
from mechlab.train.scoring import BATCH
from mechlab.train.stage import Trainable, modules_of

IMAGES = 64  # of a task's training normals, evenly spaced: what mean and resample are taken from


def intervening(plan: Plan, system: Trainable, asked: Asked, *, stage: int) -> "Interventions":
    """Return the interventions that were asked for, on a system that is loaded as it was after a stage."""
    package = systems.catalog(plan.spec.system).__package__
    sites = import_module(f"{package}.sites").sites(modules_of(system))
    return Interventions(system, asked, inputs=plan.inputs, stage=stage, sites=sites)


class Interventions:
    """What `mechlab.train.alteration.Alteration` asks for."""

    def __init__(
        self,
        system: Trainable,
        asked: Asked,
        *,
        inputs: Inputs,
        stage: int,
        sites: Sequence[Site],
    ) -> None:
        """Read the texts; nothing is changed before the block begins."""
        self.system, self.inputs, self.stage, self.sites = system, inputs, stage, tuple(sites)
        self.texts, self.recordings = tuple(asked.texts), asked.recordings
        parsed = [parse(text) for text in self.texts]
        self.swaps = [one for one in parsed if isinstance(one, Swap)]
        self.ablations = [one for one in parsed if isinstance(one, Ablate)]
        self.patches = [one for one in parsed if isinstance(one, Patch)]
        self.needs_items = bool(self.patches)
        self.stack = ExitStack()
        self.acting: list[_Ablating | _Patching] = []
        self.seen: list[Effect] = []

    def __enter__(self) -> "Interventions":
        """Swap, and find the places of what acts later."""
        module = modules_of(self.system)
        self.stack.__enter__()
        try:
            for one in self.swaps:
                self._refuse_missing(one)
                self.seen.append(self.stack.enter_context(swap(module, one.first, one.second)))
            self.acting = [_Ablating(one, self.system, self.sites) for one in self.ablations]
            for patch in self.patches:
                recording = self.stack.enter_context(_opened(patch, self.recordings))
                self.acting.append(_Patching(patch, self.system, self.sites, recording, stage=self.stage))
            self.seen += [one.effect for one in self.acting]
        except BaseException:
            self.stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Restore the system; what never acted is a MechlabError."""
        self.stack.__exit__(kind, fault, trace)
        if kind is None:
            for effect in self.seen:
                effect.check()

    def effects(self) -> list[dict[str, Any]]:
        """Return what each intervention did."""
        return [effect.document() for effect in self.seen]

    @contextmanager
    def around(self, task: int, items: Sequence[Item]) -> Iterator[None]:
        """Let ablations and patches act on images that go through the expert of `task`."""
        for ablation in self.acting:
            ablation.prepare(
                task, self.inputs
            )  # of all before the first acts: references are of the plain flow
        with ExitStack() as stack:
            for one in self.acting:
                stack.enter_context(one.block(task, items))
            yield

    def _refuse_missing(self, one: Swap) -> None:
        for task in (one.first, one.second):
            if task > self.stage:
                raise MechlabError(
                    f"'{one.text}' names task {task}, and the checkpoint after task {self.stage} has tasks "
                    f"0 to {self.stage}; name two of them."
                )


class _Ablating:
    """One ablation, with a reference for each expert that it met."""

    def __init__(self, asked: Ablate, system: Trainable, sites: tuple[Site, ...]) -> None:
        self.asked, self.system, self.sites = asked, system, sites
        self.places = ablated_places(modules_of(system), asked.site, sites=sites)
        self.effect = Effect(name=asked.text, places=tuple(place.name for place in self.places))
        self.references: dict[int, Reference] = {}

    def prepare(self, task: int, inputs: Inputs) -> None:
        """Send training normals of a task through its expert, once."""
        if self.asked.value == "zero" or task in self.references:
            return
        module, features = modules_of(self.system), inputs.fitting(task)
        chosen = np.unique(np.linspace(0, len(features) - 1, IMAGES).round().astype(np.int64))
        like = next(module.parameters())
        # Out of inference mode, since a recording may take gradients behind what stands here.
        with torch.inference_mode(mode=False), collect(module, self.asked.site, sites=self.sites) as found:
            for start in range(0, len(chosen), BATCH):
                batch = torch.from_numpy(np.array(features[chosen[start : start + BATCH]]))
                self.system.patch_scores(batch.to(device=like.device, dtype=like.dtype), task=task)
        self.references[task] = found.averaged(self.places) if self.asked.value == "mean" else found

    def block(self, task: int, _items: Sequence[Item]) -> AbstractContextManager[Effect]:
        """Return the block in which it acts; each block draws from the same seed."""
        generator = None
        if self.asked.value == "resample":
            generator = torch.Generator().manual_seed(self.asked.seed)
        change = replacement(self.asked.value, reference=self.references.get(task), generator=generator)
        return replacing(modules_of(self.system), self.places, change=change, effect=self.effect)


class _Patching:
    """One patch, with the rows of each expert."""

    def __init__(
        self, asked: Patch, system: Trainable, sites: tuple[Site, ...], recording: Recording, *, stage: int
    ) -> None:
        self.asked, self.system, self.stage = asked, system, stage
        self.places = (patched_place(modules_of(system), asked.site, sites=sites),)
        self.effect = Effect(name=asked.text, places=tuple(place.name for place in self.places))
        self.quantity = recording[asked.key]
        self.row = {item.sha256: row for row, item in enumerate(recording.items)}
        self.rows: dict[int, RecordedRows] = {}

    def prepare(self, task: int, _inputs: Inputs) -> None:
        """Choose the rows of the expert and the checkpoint, where several were recorded."""
        if task not in self.rows:
            several = {name for name in ("stage", "adapter")
                       if len(np.unique(self.quantity.coordinates.get(name, ()))) > 1}  # fmt: skip
            at = {
                name: value for name, value in (("stage", self.stage), ("adapter", task)) if name in several
            }
            # Rows of each image's own expert differ in `adapter` too, but no image has two of them.
            own = {} if self._is_single() else at
            self.rows[task] = RecordedRows(self.quantity, at=own)

    def _is_single(self) -> bool:
        items = self.quantity.coordinates.get("item", np.empty(0))
        return len(np.unique(items)) == len(items)

    @contextmanager
    def block(self, task: int, items: Sequence[Item]) -> Iterator[None]:
        """Act on these images, and on all of them."""
        missing = [item for item in items if item.sha256 not in self.row]
        if missing or not items:
            what = f"image '{missing[0].image}' (and {len(missing) - 1} more)" if missing else "the batch"
            raise MechlabError(
                f"{what} is not in the recording of '{self.asked.text}'; record the same split without "
                "--limit."
            )
        queue = deque(self.row[item.sha256] for item in items)
        rows = self.rows[task]
        rows.check(queue)
        with replacing(modules_of(self.system), self.places, change=rows.change(queue), effect=self.effect):
            yield
        refuse_left_over(queue, self.asked.text)


@contextmanager
def _opened(asked: Patch, recordings: Mapping[str, Path]) -> Iterator[Recording]:
    """Open the recording of a patch; one that is not what its hash says is refused."""
    if asked.recording not in recordings:
        raise MechlabError(
            f"'{asked.text}' names recording {asked.recording} and no folder was given for it; give "
            f"--patch {asked.site}=RECORDING."
        )
    with reader.open(recordings[asked.recording]) as recording:
        found = recording_hash(recording, asked.key)
        if found != asked.recording:
            raise MechlabError(
                f"'{recordings[asked.recording]}' is recording {found}, and '{asked.text}' names another; "
                "give the one that it names."
            )
        yield recording
