"""Several runs on the user's own images, as one: scores, decisions and maps."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mechlab.errors import MechlabError
from mechlab.metrics.threshold import promised_rate, threshold_from_normals
from mechlab.runs.folder import RunFolder
from mechlab.train.ensemble import Member, Together, held_out_scores, members_of
from mechlab.train.evaluation import FALSE_POSITIVES
from mechlab.train.images import Seen, image_files, patch_maps, rows_of, score_folder, write_scores
from mechlab.train.session import Report, silent


def score_together(
    runs: Sequence[RunFolder],
    folder: Path,
    target: Path,
    *,
    task: int | None,
    sigma: str | None = None,
    device: str = "auto",
    report: Report = silent,
) -> list[dict[str, Any]]:
    """Score every image below `folder` by one run or several; `target` gets what `score_folder` leaves.

    Each member routes by itself; the row names the route of the first one. An image is rejected if more than
    half of the members that can reject do. Thresholds are those of the ensemble's own held-out normals.

    Raises:
        MechlabError: as `images.score_folder` and `ensemble.members_of`.
    """
    if len(runs) == 1:
        return score_folder(runs[0], folder, target, task=task, sigma=sigma, device=device, report=report)
    files = image_files(folder)
    if target.exists():
        raise MechlabError(f"'{target}' exists; give a folder that is not there yet with --out.")
    settings = {} if sigma is None else {"sigma": sigma}
    members = members_of(runs, settings=settings, device=device, report=report)
    plan = members[0].plan
    if task is not None and task >= len(plan.spec.tasks):
        raise MechlabError(f"task {task} is unknown; these runs have tasks 0 to {len(plan.spec.tasks) - 1}.")
    refuse_sizes(members)
    report(f"{len(files)} images, {len(members)} runs")
    seen = [patch_maps(member.plan, files, task=task, device=device) for member in members]
    together = Together(maps=[np.asarray(one.maps) for one in seen], routes=[one.routes for one in seen],
                        weighed=[np.asarray(one.weighed) for one in seen])  # fmt: skip
    votes = [one.rejected for one in seen if one.rejected is not None]
    refused = np.mean(votes, axis=0) > 0.5 if votes else None
    first = Seen(seen[0].maps, seen[0].weighed, seen[0].routes, refused)
    names = [str(file.relative_to(folder)) for file in files]
    rows = rows_of(
        names, together.images(members), first, tasks=plan.spec.tasks, thresholds=thresholds(members)
    )
    pixels = np.empty((len(files), plan.inputs.image_size, plan.inputs.image_size))
    for route in np.unique(first.routes):
        chosen = np.flatnonzero(first.routes == route)
        pixels[chosen] = together.only(chosen).pixels(
            members, size=plan.inputs.image_size, class_name=plan.spec.tasks[route][0]
        )
    write_scores(target, rows, pixels)
    return rows


def refuse_sizes(members: Sequence[Member]) -> None:
    """Refuse members whose tasks see several sizes: maps of images of no known task have no common grid."""
    for member in members:
        if member.plan.inputs.sizes:
            task, size = min(member.plan.inputs.sizes.items())
            raise MechlabError(
                f"task {task} of run '{member.plan.run.name}' sees {size} pixels and the run "
                f"{member.plan.inputs.image_size}, and several runs score an image on one grid each; score "
                "that run alone, or give runs without a size by task."
            )


def thresholds(members: Sequence[Member]) -> list[float | None]:
    """Return each task's decision threshold, the highest of its classes; None without held-out normals."""
    found: list[float | None] = []
    for task, names in enumerate(members[0].plan.spec.tasks):
        known = []
        for name in names:
            held = held_out_scores(members, name, task=task)
            if len(held):
                rate = promised_rate(len(held), wanted=FALSE_POSITIVES)
                known.append(threshold_from_normals(held, false_positive_rate=rate))
        found.append(max(known) if known else None)
    return found
