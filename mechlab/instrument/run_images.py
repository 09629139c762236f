"""The images of a run's recording: which ones a RecordSpec asks for, their table, features and scores."""

from contextlib import AbstractContextManager

import numpy as np
import torch

from mechlab.instrument.offline import Images
from mechlab.metrics.class_metrics import Scoring
from mechlab.recording.writer import Writer
from mechlab.specs import Item, RecordSpec, Split
from mechlab.train.alteration import Alteration
from mechlab.train.calibration import calibrated, scoring_of
from mechlab.train.resolution import Plan
from mechlab.train.routing import Routing
from mechlab.train.scoring import Around, Scores, score
from mechlab.train.stage import Trainable

RAW = "image"  # the quantity that comes from the raw images and needs no model


def classes(plan: Plan, stage: int) -> list[str]:
    """Return the classes of the tasks up to a stage."""
    return [name for task in plan.spec.tasks[: stage + 1] for name in task]


def picked(plan: Plan, spec: RecordSpec, name: str) -> list[int]:
    """Return the indices of the images of a class that a spec asks for."""
    split: Split = "train" if spec.split == "train" else "test"
    items = plan.inputs.features(name, split).items
    kept = [index for index, item in enumerate(items) if not (spec.normal_only and item.label)]
    return kept[: spec.limit]


class RunImages:
    """The images of a recording: their table, features and scores."""

    def __init__(self, plan: Plan, spec: RecordSpec) -> None:
        """Choose the images of every class."""
        self.plan, self.spec = plan, spec
        self.split: Split = "train" if spec.split == "train" else "test"
        self.picked = {name: picked(plan, spec, name) for name in classes(plan, max(spec.stages))}
        self.items: list[Item] = []
        self.rows: dict[str, np.ndarray] = {}
        for name, chosen in self.picked.items():
            self.rows[name] = np.arange(len(self.items), len(self.items) + len(chosen), dtype=np.int64)
            self.items += [plan.inputs.features(name, self.split).items[index] for index in chosen]

    def write_raw(self, writer: Writer) -> None:
        """Write the statistics of the raw images."""
        for name, chosen in self.picked.items():
            for statistic, values in self.plan.inputs.statistics(name, self.split).items():
                writer.append(
                    f"{RAW}/{statistic}",
                    values[chosen],
                    axes=("item",),
                    coordinates={"item": self.rows[name]},
                    unit="grey level",
                )

    def around(self, alteration: Alteration, *, rows: np.ndarray | None = None) -> Around:
        """Return the blocks of an alteration for rows of the table, or for places in `rows`."""

        def block(expert: int, chosen: np.ndarray) -> AbstractContextManager[object]:
            return alteration.around(
                expert, [self.items[row] for row in (chosen if rows is None else rows[chosen])]
            )

        return block

    def images(
        self,
        system: Trainable,
        *,
        stage: int,
        with_scores: bool,
        device: torch.device,
        alteration: Alteration,
    ) -> list[Images]:
        """Return the images of the classes seen by a stage, with scores where they are asked for."""
        found = []
        routing = Routing.of(self.plan.evaluation.router, self.plan.inputs, tasks=stage + 1)
        inputs, settings = self.plan.inputs, self.plan.evaluation
        scoring = scoring_of(settings, image_size=inputs.image_size)
        if with_scores:
            scoring = calibrated(system, inputs, settings, tasks=stage + 1, device=device,
                                 alteration=alteration)  # fmt: skip
        for task, names in enumerate(self.plan.spec.tasks[: stage + 1]):
            for name in names:
                chosen = self.picked[name]
                if not chosen:
                    continue
                features = np.asarray(self.plan.inputs.features(name, self.split).values[chosen])
                scores: dict[str, np.ndarray] = {}
                if with_scores:
                    scored = score(
                        system,
                        features,
                        task=task,
                        tasks=stage + 1,
                        router=routing,
                        device=device,
                        around=self.around(alteration, rows=self.rows[name]),
                        orientations=settings.orientations,
                    )
                    scores = self._scores(scored, name, scoring=scoring)
                found.append(Images(items=self.rows[name], features=features, task=task, scores=scores))
        return found

    def _scores(self, scored: Scores, name: str, *, scoring: Scoring) -> dict[str, np.ndarray]:
        chosen, features = self.picked[name], self.plan.inputs.features(name, self.split)
        found = {
            "image": scoring.image_scores(scored.routed_images, scored.routes),
            "patch": scored.given,
            "label": np.array([features.items[index].label for index in chosen], dtype=np.int64),
            "routed": scored.routes.astype(np.int64),
        }
        if features.masks is not None:
            found["mask"] = np.asarray(features.masks[chosen], dtype=bool)
        return found
