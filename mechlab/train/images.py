"""A trained run on the user's own images: image scores, the decision at the run's threshold, and maps."""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from PIL import Image

from mechlab.errors import MechlabError
from mechlab.files import read_json, staged_folder, write_bytes
from mechlab.metrics.calibration import Calibration
from mechlab.metrics.class_metrics import Scoring
from mechlab.metrics.smoothing import Smoothing
from mechlab.runs.folder import RunFolder
from mechlab.runs.settings import EvaluationSettings
from mechlab.specs import validated
from mechlab.train.calibration import scoring_of
from mechlab.train.devices import device_of
from mechlab.train.rejection import accepting, rejected
from mechlab.train.resolution import Plan, plan_of
from mechlab.train.routing import Routing
from mechlab.train.scoring import Apart, Scores, score, score_apart
from mechlab.train.session import Report, restore, silent
from mechlab.train.sights import Sights, sights_of_files

COLUMNS = ("image", "score", "threshold", "anomalous", "task", "classes", "rejected")


Maps = Float[np.ndarray, "item _ _"] | Sequence[Float[np.ndarray, "_ _"]]  # of one grid, or of several


@dataclass(frozen=True, slots=True)
class Seen:
    """What a run makes of images."""

    maps: Maps  # patch scores, in the unit of the run's system; on the grid of the task that gave them
    weighed: Maps  # the same as image scores read them
    routes: Int[np.ndarray, " item"]  # the task whose expert gave them
    rejected: Bool[np.ndarray, " item"] | None  # whether the router says that it is of no task

    def by_grid(self) -> Iterator[Int[np.ndarray, " some"]]:
        """Give the indices of the images whose maps have one grid, a grid at a time."""
        grids = [values.shape for values in self.maps]
        for grid in dict.fromkeys(grids):
            yield np.flatnonzero([other == grid for other in grids])

    def image_scores(self, scoring: Scoring) -> Float[np.ndarray, " item"]:
        """Return one score an image, each from its map as it is."""
        scores = np.empty(len(self.maps))
        for chosen in self.by_grid():
            maps = np.stack([self.weighed[int(index)] for index in chosen])
            scores[chosen] = scoring.image_scores(maps, self.routes[chosen])
        return scores


def score_folder(
    run: RunFolder,
    folder: Path,
    target: Path,
    *,
    task: int | None,
    sigma: str | None = None,
    device: str = "auto",
    report: Report = silent,
) -> list[dict[str, Any]]:
    """Score every image below `folder`; `target` gets scores.csv and maps/, whole or not at all.

    `sigma` smooths the maps otherwise than the run's evaluation did.

    Raises:
        MechlabError: no folder, no image in it, a damaged image, an unknown task, a sigma that differs within
            a task, or a target that exists.
    """
    files = image_files(folder)
    if target.exists():
        raise MechlabError(f"'{target}' exists; give a folder that is not there yet with --out.")
    plan = plan_of(run)
    if sigma is not None:
        words = plan.evaluation.model_dump() | {"sigma": sigma}
        plan = replace(plan, evaluation=validated(EvaluationSettings, words, what="evaluation"))
    if task is not None and task >= len(plan.spec.tasks):
        raise MechlabError(
            f"task {task} is unknown; run '{run.name}' has tasks 0 to {len(plan.spec.tasks) - 1}."
        )
    refuse_classes_apart(plan)
    report(f"{len(files)} images, run {run.name}")
    seen = patch_maps(plan, files, task=task, device=device)
    scoring = run_scoring(plan)
    scores = seen.image_scores(scoring)
    names = [str(file.relative_to(folder)) for file in files]
    rows = rows_of(names, scores, seen, tasks=plan.spec.tasks, thresholds=task_thresholds(plan))
    write_scores(target, rows, pixel_maps(plan, scoring, seen.maps, seen.routes))
    return rows


def rows_of(
    names: Sequence[str],
    scores: Float[np.ndarray, " item"],
    seen: Seen,
    *,
    tasks: Sequence[Sequence[str]],
    thresholds: Sequence[float | None],
) -> list[dict[str, Any]]:
    """Return a row an image: its score, the decision at the threshold of its task, and its route."""
    rows = []
    for index, (name, value, route) in enumerate(zip(names, scores, seen.routes, strict=True)):
        limit = thresholds[route]
        rows.append({"image": name, "score": float(value), "threshold": limit,
                     "anomalous": None if limit is None else bool(value > limit), "task": int(route),
                     "classes": "+".join(tasks[route]),
                     "rejected": None if seen.rejected is None else bool(seen.rejected[index])})  # fmt: skip
    return rows


def write_scores(target: Path, rows: list[dict[str, Any]], pixels: Maps) -> None:
    """Write scores.csv and maps/ into a folder that is whole or not there."""
    with staged_folder(target) as stage:
        write_table(stage / "scores.csv", rows)
        write_maps(stage / "maps", [row["image"] for row in rows], pixels)


def image_files(folder: Path) -> list[Path]:
    """Return the image files below a folder, sorted."""
    suffixes = import_module("reproductions.datasets.pictures").SUFFIXES
    if not folder.is_dir():
        raise MechlabError(f"'{folder}' is no folder; give a folder of images.")
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in suffixes)
    if not files:
        raise MechlabError(f"'{folder}' holds no image; give a folder with {', '.join(suffixes)} files.")
    return files


def patch_maps(plan: Plan, files: Sequence[Path], *, task: int | None, device: str) -> Seen:
    """Return what a run makes of image files: by its router, or by the expert of `task`."""
    where = device_of(device)
    system = restore(plan, checkpoint=max(plan.run.checkpoints(), default=-1), device=where)
    inputs, tasks, routes, refused = plan.inputs, len(plan.spec.tasks), [], []
    maps: list[np.ndarray] = []
    weighed: list[np.ndarray] = []
    routing = Routing.of(plan.evaluation.router if task is None else "oracle", inputs.compared, tasks=tasks)
    if task is None and routing.is_oracle:
        raise MechlabError("this run's router is the oracle, which needs the task; give --task.")
    routing = accepting(routing, system, inputs.compared, tasks=tasks, device=where)
    for sights in image_batches(plan, files):
        found: Scores | Apart
        if inputs.sizes:
            found = score_apart(system, sights, task=task, tasks=tasks, router=routing, device=where,
                                orientations=plan.evaluation.orientations)  # fmt: skip
        else:
            found = score(system, sights, task=task or 0, tasks=tasks, router=routing, device=where,
                          orientations=plan.evaluation.orientations)  # fmt: skip
        maps.extend(found.routed)
        weighed.extend(found.routed_images)
        routes.append(found.routes)
        refused.append(rejected(routing, found.distances, found.routes))
    known = [one for one in refused if one is not None]
    return Seen(_on_one_grid(maps), _on_one_grid(weighed), np.concatenate(routes),
                np.concatenate(known) if known else None)  # fmt: skip


def _on_one_grid(maps: list[np.ndarray]) -> Maps:
    """Return maps as one array where they have one grid."""
    return np.stack(maps) if len({one.shape for one in maps}) == 1 else maps


def refuse_classes_apart(plan: Plan) -> None:
    """Refuse a sigma that differs within a task: a router tells the task of an image, not its class."""
    smoothing = Smoothing.read(plan.evaluation.sigma)
    smoothing.refuse_strangers(name for names in plan.spec.tasks for name in names)
    for task, names in enumerate(plan.spec.tasks):
        if len({smoothing.of(name) for name in names}) > 1:
            raise MechlabError(
                f"sigma '{plan.evaluation.sigma}' differs between the classes of task {task} "
                f"({', '.join(names)}), and the class of your images is unknown; "
                "give one sigma for each task, e.g. --sigma 4."
            )


def pixel_maps(
    plan: Plan, scoring: Scoring, maps: Maps, routes: Int[np.ndarray, " item"]
) -> list[Float[np.ndarray, "_ _"]]:
    """Return each image's map in the pixels of its task, smoothed as those of the task's classes are."""
    found: dict[int, np.ndarray] = {}
    for task in np.unique(routes):
        chosen = np.flatnonzero(routes == task)
        own = np.stack([maps[int(index)] for index in chosen])
        size = plan.inputs.size(int(task))
        pixels = scoring.pixel_maps(own, size=size, class_name=plan.spec.tasks[task][0])
        found |= dict(zip(chosen.tolist(), pixels, strict=True))
    return [found[index] for index in range(len(maps))]


def image_batches(plan: Plan, files: Sequence[Path]) -> Iterator[Sights]:
    """Yield image files as a run sees them, a batch at a time."""
    size = import_module("reproductions.backbones.extraction").BATCH
    for start in range(0, len(files), size):
        yield sights_of_files(plan.inputs, tuple(files[start : start + size]))


def run_scoring(plan: Plan) -> Scoring:
    """Return how the run's own evaluation reads patch scores, with its calibration."""
    return scoring_from(plan.evaluation, _evaluation(plan), image_size=plan.inputs.image_size)


def scoring_from(settings: EvaluationSettings, document: dict[str, Any], *, image_size: int) -> Scoring:
    """Return how an evaluation read patch scores, with what it found on training normals."""
    found = document.get("calibration")
    return replace(
        scoring_of(settings, image_size=image_size),
        calibration=None if found is None else Calibration.read(found),
        strengths=tuple(document.get("strengths", ())),
    )


def _evaluation(plan: Plan) -> dict[str, Any]:
    folder = plan.run.path / "evals" / str(plan.run.summary()["evaluation"])
    return dict(read_json(folder / "metrics.json"))


def task_thresholds(plan: Plan) -> list[float | None]:
    """Return each task's decision threshold, the highest of its classes; None without held-out normals."""
    metrics = _evaluation(plan)["metrics"]
    found: list[float | None] = []
    for names in plan.spec.tasks:
        known = [metrics[name]["threshold"] for name in names if "threshold" in metrics[name]]
        found.append(max(known) if known else None)
    return found


def write_table(path: Path, rows: list[dict[str, Any]], columns: Sequence[str] = COLUMNS) -> None:
    """Write the scores as CSV."""
    stream = io.StringIO()
    table = csv.DictWriter(stream, columns, lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    write_bytes(path, stream.getvalue().encode())


def write_maps(folder: Path, names: Sequence[str], maps: Maps) -> None:
    """Write each map as .npy (unit of the scores) and as grey .png from black, the lowest, to white."""
    low, high = min(float(one.min()) for one in maps), max(float(one.max()) for one in maps)
    for name, values in zip(names, maps, strict=True):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file.with_name(file.name + ".npy"), values.astype(np.float32), allow_pickle=False)
        grey = np.rint(255 * (values - low) / max(high - low, 1e-12)).astype(np.uint8)
        Image.fromarray(grey).save(file.with_name(file.name + ".png"))
