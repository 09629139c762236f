"""A recording of a trained detector: windows of a split go through its model, a RecordSpec names it.

An item is a window, known by the digest of its arrays, so that recordings of two runs on the same logs, such
as those of a teacher and its student, are matched window by window. Batches are those of scoring, in
evaluation, so a recording repeats.
"""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int

from mechlab.errors import MechlabError
from mechlab.files import size
from mechlab.instrument.offline import OF_OUTPUTS, OF_WEIGHTS, Images, record_checkpoint
from mechlab.instrument.session import kept, needs_reference, needs_scores
from mechlab.recording.writer import Writer
from mechlab.runs.folder import RunFolder
from mechlab.specs import PlanEntry, RecordSpec, Split
from mechlab.train.devices import device_of
from reproductions.can_ids.evaluation import spec_of
from reproductions.can_ids.finished import Finished, finished
from reproductions.can_ids.graph_set import NORMAL, GraphSet
from reproductions.can_ids.inputs import items_of
from reproductions.can_ids.models import CONFIGS
from reproductions.can_ids.scoring import BATCH, scored
from reproductions.can_ids.sites import sites
from reproductions.can_ids.system import Detector

QUANTITIES = (*OF_OUTPUTS, *OF_WEIGHTS, "score")


def record(
    run: RunFolder, document: dict[str, Any], *, device: str, report: Callable[[str], None]
) -> dict[str, Any]:
    """Record what `document` (a `mechlab.study.plan.Recorded`) asks of a run; one that exists is only read.

    Returns what `mechlab.instrument.session.record_run` does.

    Raises:
        MechlabError: a fusion, words that say nothing of windows, an unknown site or quantity, or logs that
            have changed since the training.
    """
    train = run.spec()
    if train.system not in CONFIGS:
        raise MechlabError(
            f"run '{run.path}' is of system {train.system}, which weighs the scores of two detectors and has "
            f"no layer that sees a window; record the runs of {' and '.join(CONFIGS)} that it names."
        )
    _refuse_words(run, document)
    seen = finished(run, say=report)
    spec = RecordSpec(
        evaluation=spec_of(train, seen.windows),
        train=train.hash,
        plan=tuple(PlanEntry.model_validate(entry) for entry in document["plan"]),
        stages=(0,),
        split=document["split"],
        limit=document["limit"],
        normal_only=document["normal_only"],
    )
    return kept(run, spec, partial(_write, seen, spec, document, device=device, report=report))


def _refuse_words(run: RunFolder, document: dict[str, Any]) -> None:
    """Refuse what is asked of a flow or of images; MechlabError for the first such word."""
    stages = [stage for stage in document["stages"] or () if stage]
    if stages:
        raise MechlabError(
            f"run '{run.path}' has no checkpoint after task {stages[0]}; it has: 0. A detector has one task, "
            "so leave --checkpoint out."
        )
    for option, given in (("adapter", document["adapters"]), ("loss", document["losses"]),
                          ("ablate, --swap or --patch", document.get("interventions"))):  # fmt: skip
        if given:
            raise MechlabError(
                f"'{given[0]}' was given by --{option}, and nothing reads it in a recording of CAN windows; "
                "leave it out."
            )
    for entry in document["plan"]:
        if entry["quantity"] not in QUANTITIES:
            raise MechlabError(
                f"quantity '{entry['quantity']}' is not recorded of windows from a checkpoint; choose one of "
                f"{', '.join(QUANTITIES)}, or follow a training (mechlab train, --site and --quantity)."
            )


def windows_of(seen: Finished, spec: RecordSpec) -> GraphSet:
    """Return the windows that a spec asks for; of more than its limit, some at even distances.

    Neighbours are alike, so the first ones would be of one log alone.
    """
    windows = seen.windows.train if spec.split == "train" else seen.windows.test
    if spec.normal_only:
        windows = windows.select(windows.y == NORMAL)
    if spec.limit is None or spec.limit >= len(windows):
        return windows
    return windows.select(spread(len(windows), spec.limit))


def spread(count: int, chosen: int) -> Int[np.ndarray, " chosen"]:
    """Return `chosen` of the numbers 0 to `count` - 1, the same distance apart up to rounding, from 0 on."""
    return np.asarray(np.arange(chosen) * count // chosen)


def _write(
    seen: Finished, spec: RecordSpec, document: dict[str, Any], folder: Path, *, device: str,
    report: Callable[[str], None],
) -> None:  # fmt: skip
    run, windows = seen.found.run, windows_of(seen, spec)
    report(f"  recording {run.name}: {len(windows)} windows; {size(shutil.disk_usage(run.path).free)} free")
    train = run.spec()
    split: Split = "train" if spec.split == "train" else "test"
    attributes = {
        "run_id": run.name,
        "spec": spec.model_dump(mode="json"),
        "request": document,
        "train": train.model_dump(mode="json"),
        "provenance": {"run": run.name},
        "groups": {f"{one.part}/{one.name}": one.group for one in windows.sources if one.split == split},
    }
    untrained = Detector(seen.config, windows, seed=train.seed)
    reference = {name: value.detach().clone() for name, value in untrained.named_parameters()}
    detector = _loaded(untrained, seen, device=device)
    with Writer.create(folder, attributes=attributes) as writer, torch.random.fork_rng():
        torch.manual_seed(train.seed)  # a latent that is drawn in evaluation too is drawn alike
        writer.items(list(items_of(windows, name=seen.found.dataset, split=split)))
        record_checkpoint(
            detector,
            list(spec.plan),
            writer,
            stage=0,
            images=[_images(detector, windows, with_scores=needs_scores(spec))],
            reference=reference if needs_reference(spec) else None,
            sites=sites(detector),
            batch_size=BATCH,
        )


def _loaded(detector: Detector, seen: Finished, *, device: str) -> Detector:
    detector.model.load_state_dict(seen.found.model.state_dict())
    return detector.to(device_of(device)).eval()


def _images(detector: Detector, windows: GraphSet, *, with_scores: bool) -> Images:
    """Return the windows as the recorder takes images: their numbers, in one place."""
    scores = {"window": scored(detector.model, windows).scores, "label": windows.y} if with_scores else {}
    return Images(
        items=np.arange(len(windows)),
        features=np.arange(len(windows), dtype=np.float64).reshape(-1, 1, 1, 1),
        task=0,
        scores=scores,
    )
