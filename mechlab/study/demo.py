"""The main job on the embedded data: three seeds, a run on random backbone weights as null, three probes.

Source: command table, `mechlab demo`.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from mechlab import systems
from mechlab.files import write_json
from mechlab.result import Result
from mechlab.runs.folder import RunFolder
from mechlab.runs.request import TrainRequest
from mechlab.study.answer import Place, Report, commit_plan, judged, refuse_no_ops, silent
from mechlab.study.plan import Study, document_of
from mechlab.sweep import local
from mechlab.sweep.ledger import Job

PROBES = ("gaussianity", "gradient_concentration", "shortcut")
PRESET = "demo"
RANDOM = "random-0"
STATISTICS = ("mean", "std", "distance")


@dataclass(frozen=True, slots=True, kw_only=True)
class Demo:
    """What the demo found, and where its files are."""

    runs: tuple[Path, ...]  # trained on the embedded backbone, one a seed
    random_run: Path  # the same pipeline on random backbone weights
    studies: tuple[Path, ...]
    results: tuple[Result, ...]
    mean_image_auroc: float  # over classes and seeds
    trivial_image_auroc: float  # the best of three statistics of each class, over classes
    random_image_auroc: float
    seconds: float

    def document(self, *, report: Path) -> dict[str, Any]:
        """Return what `mechlab demo --json` prints."""
        return {
            "report": str(report),
            "seconds": round(self.seconds, 1),
            "mean_image_auroc": self.mean_image_auroc,
            "trivial_image_auroc": self.trivial_image_auroc,
            "random_image_auroc": self.random_image_auroc,
            "verdicts": {result.probe: result.verdict for result in self.results},
            "runs": [str(run) for run in self.runs],
        }


def demo(*, place: Place, seeds: int = 3, report: Report = silent) -> Demo:
    """Train, record and judge; whatever exists from an earlier demo is only read."""
    begun = time.monotonic()
    plans = [demo_plan(name, seeds=seeds) for name in PROBES]
    folders = [place.studies / f"demo-{plan.name}-{plan.hash}" for plan in plans]
    for plan, folder in zip(plans, folders, strict=True):
        commit_plan(plan, folder)
    jobs = demo_jobs(plans, place=place, seeds=seeds)
    found = local.run(jobs, folder=place.studies / "demo", processes=place.processes, report=report)
    trained, random = found[:seeds], found[seeds]
    refuse_no_ops([Path(one["path"]) for one in found])
    results = []
    for index, (plan, folder) in enumerate(zip(plans, folders, strict=True)):
        report(f"probe {plan.name}")
        recordings = [Path(one["recordings"][index]) for one in trained]
        results.append(judged(systems.probe(plan.name), recordings, folder=folder, plan=plan, report=report))
    summaries = [RunFolder.open(Path(one["path"])).summary() for one in trained]
    return Demo(
        runs=tuple(Path(one["path"]) for one in trained),
        random_run=Path(random["path"]),
        studies=tuple(folders),
        results=tuple(results),
        mean_image_auroc=fmean(summary["mean"]["image_auroc"] for summary in summaries),
        trivial_image_auroc=summaries[0]["mean"]["trivial_image_auroc"],
        random_image_auroc=random["mean"]["image_auroc"],
        seconds=time.monotonic() - begun,
    )


def demo_plan(name: str, *, seeds: int) -> Study:
    """Return a probe's study on the demo's runs; rule, thresholds and n are the probe's own."""
    plan: Study = systems.probe(name).plan()
    arm = replace(plan.arms[0], name=PRESET, preset=PRESET, settings={})
    return replace(plan, arms=(arm,), tasks="all", seeds=seeds, data="embedded", backbone="embedded",
                   record=plan.record[:1])  # fmt: skip


def demo_jobs(plans: Sequence[Study], *, place: Place, seeds: int) -> list[Job]:
    """Return one job a seed with the recordings of all probes, and the run on random weights."""
    record = tuple(document_of(plan.record[0]) for plan in plans)
    request = TrainRequest(preset=PRESET, out=place.out, cache=place.cache, device=place.device)
    jobs = [Job(name=f"demo, seed {seed}", request=replace(request, seed=seed).document(), record=record)
            for seed in range(seeds)]  # fmt: skip
    return [*jobs, Job(name="demo, random backbone", request=replace(request, weights=RANDOM).document())]


def note(found: Demo, *, report: Path, place: Place) -> dict[str, Any]:
    """Keep what the demo found beside its report, and return it."""
    document = found.document(report=report)
    write_json(place.studies / "demo" / "demo.json", document)
    return document
