"""From a run folder to what a report shows; reads files of mechlab, so needs no torch and no data."""

from pathlib import Path
from typing import Any

import numpy as np

from figures.page.content import ClassScores, DetectorContent, Example, ReportContent, RunContent
from mechlab import systems
from mechlab.errors import MechlabError
from mechlab.files import canonical_json, read_json
from mechlab.result import Result
from mechlab.runs.arms import keys_of
from mechlab.runs.folder import RunFolder

STATISTICS = ("mean", "std", "distance")
RULE = "Of each kind of test image the one with the median score, and the normal image with the highest."


def run_content(run: RunFolder) -> RunContent:
    """Return what a report shows of a finished run."""
    summary, document = run.summary(), run.document()
    if is_of_windows(run):
        raise MechlabError(
            f"run '{run.path}' is judged on windows of messages: no image to draw; see 'mechlab report', or "
            "draw 'training'."
        )
    evaluation = last_evaluation(run)
    classes: dict[str, dict[str, Any]] = summary["metrics"]
    scores = read_json(evaluation / "metrics.json")["scores"]
    return RunContent(
        name=run.title,
        tasks=run.spec().tasks,
        metrics=classes,
        mean=summary["mean"],
        trivial={
            name: {key: values.get(f"trivial_{key}_auroc") for key in STATISTICS}
            for name, values in classes.items()
        },
        forgetting=summary["forgetting"],
        scores_identical=summary["scores_identical"],
        accuracy_matrix=tuple(tuple(row) for row in summary["accuracy_matrix"]),
        scores={
            name: ClassScores(
                labels=np.array(found["labels"]),
                scores=np.array(found["scores"], dtype=np.float64),
                threshold=classes[name].get("threshold"),
            )
            for name, found in scores.items()
        },
        examples=tuple(one for name in classes for one in examples(evaluation / f"{name}.gallery.npz", name)),
        examples_rule=RULE,
        log=tuple(run.log()),
        spec=document["spec"],
        provenance=document["provenance"] | {"run": run.name, "seconds": summary["seconds"]},
        score_unit=systems.score_unit(run.spec().system),
        loss_unit=systems.loss_unit(run.spec().system),
    )


def is_of_windows(run: RunFolder) -> bool:
    """Whether a finished run is judged on windows of messages instead of images."""
    return "accuracy_matrix" not in run.summary()


def detector_content(run: RunFolder) -> DetectorContent:
    """Return what a report shows of a finished run that is judged on windows of messages."""
    summary, document = run.summary(), run.document()
    return DetectorContent(
        name=run.title,
        rows=summary["metrics"],
        mean=summary["mean"],
        threshold=summary["threshold"],
        parameters=summary.get("parameters"),
        arm=canonical_json(keys_of(run, {})),
        log=tuple(run.log()),
        spec=document["spec"],
        provenance=document["provenance"] | {"run": run.name, "seconds": summary["seconds"]},
        loss_unit=systems.loss_unit(run.spec().system),
    )


def last_evaluation(run: RunFolder) -> Path:
    """Return the evaluation that the run's summary was made of."""
    folder = run.path / "evals" / str(run.summary()["evaluation"])
    if not (folder / "metrics.json").exists():
        raise MechlabError(
            f"run '{run.path}' lacks its evaluation '{folder.name}'; train it again to restore it."
        )
    return folder


def examples(path: Path, name: str) -> list[Example]:
    """Return the gallery of one class."""
    if not path.exists():
        return []
    with np.load(path, allow_pickle=False) as arrays:
        kept = {key: arrays[key] for key in arrays.files}
    return [
        Example(
            class_name=name,
            defect=str(kept["defects"][index]),
            label=int(kept["labels"][index]),
            score=float(kept["scores"][index]),
            thumbnail=kept["images"][index],
            mask=kept["masks"][index],
            map=kept["maps"][index],
        )
        for index in range(len(kept["labels"]))
    ]


def report_content(paths: list[Path], *, title: str = "mechlab report") -> ReportContent:
    """Return what a report shows of runs, results and studies, in the order given.

    Raises:
        MechlabError: a path that is none of the three, or nothing to report.
    """
    runs: list[RunContent] = []
    detectors: list[DetectorContent] = []
    results: list[Result] = []
    for path in paths:
        if (path / "run.json").exists():
            run = RunFolder.open(path)
            if is_of_windows(run):
                detectors.append(detector_content(run))
            else:
                runs.append(run_content(run))
        elif (path / "result.json").exists():
            results.append(Result.load(path / "result.json"))
        elif path.suffix == ".json":
            results.append(Result.load(path))
        else:
            raise MechlabError(f"'{path}' is no run, study or result; give folders of 'runs/' or 'studies/'.")
    if not paths:
        raise MechlabError("there is nothing to report; name a run, a study or a result.json.")
    return ReportContent(title=title, runs=tuple(runs), detectors=tuple(detectors), results=tuple(results))
