"""The metrics of one class of a run, with the trivial statistics of the raw image beside each image AUROC."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from mechlab.metrics.aggregation import aggregate
from mechlab.metrics.attention import attended
from mechlab.metrics.calibration import Calibration
from mechlab.metrics.maps import upsample
from mechlab.metrics.pixel import pixel_ap, pixel_auroc
from mechlab.metrics.ranking import auroc, average_precision, f1_max
from mechlab.metrics.region import aupro
from mechlab.metrics.smoothing import Smoothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Scoring:
    """How patch scores become image scores and maps; changing it never trains."""

    aggregation: str  # one of mechlab.metrics.aggregation.MODES
    value: float | None  # of the aggregation
    sigma: float | str  # pixels of the upsampled map, or words of mechlab.metrics.smoothing
    calibration: Calibration | None = None  # of image scores; maps stay in nats
    strengths: tuple[float, ...] = ()  # of each task, for the aggregation "adaptive"
    map_size: int | None = None  # pixels; image scores are made of the smoothed map of this size where given

    def image_scores(
        self, maps: Float[np.ndarray, "item row column"], experts: Int[np.ndarray, " item"] | None = None
    ) -> Float[np.ndarray, " item"]:
        """Return one score an image; map post-processing changes it with a `map_size` alone.

        `experts` is the task whose expert gave each map: with a calibration or strengths, ValueError without.
        """
        if experts is None and (self.calibration is not None or self.strengths):
            raise ValueError("calibrated or adaptive scores need the task whose expert gave each map")
        if self.map_size is not None:
            smoothing = Smoothing.read(self.sigma).default
            maps = smoothing.apply(upsample(maps.astype(np.float64), self.map_size))
        if self.strengths and experts is not None:
            scores = np.zeros(len(maps))
            for task in np.unique(experts):
                chosen = maps[experts == task].astype(np.float64)
                scores[experts == task] = attended(chosen, self.strengths[task])
        else:
            scores = aggregate(maps.astype(np.float64), self.aggregation, self.value)
        if self.calibration is None or experts is None:
            return scores
        return self.calibration.apply(scores, experts)

    def pixel_maps(
        self, maps: Float[np.ndarray, "item row column"], *, size: int, class_name: str
    ) -> Float[np.ndarray, "item {size} {size}"]:
        """Return maps of size x size pixels, smoothed as those of a class are."""
        return Smoothing.read(self.sigma).of(class_name).apply(upsample(maps.astype(np.float64), size))


def image_metrics(
    scores: Float[np.ndarray, " item"], labels: Int[np.ndarray, " item"]
) -> dict[str, float | None]:
    """Return image AUROC, AP and F1-max; None where there are only normal or only defective images."""
    if len(set(labels.tolist())) < 2:
        return dict.fromkeys(("image_auroc", "image_ap", "image_f1_max"))
    return {
        "image_auroc": auroc(scores, labels),
        "image_ap": average_precision(scores, labels),
        "image_f1_max": f1_max(scores, labels)[0],
    }


def pooled_metrics(scored: Mapping[str, Mapping[str, Any]]) -> dict[str, float | None]:
    """Return image AUROC, AP and F1-max over the images of all classes together, on one scale of scores.

    `scored` holds `scores` and `labels` of each class. Classes whose scores lie on different scales lose here
    what their own metrics do not show.
    """
    scores = np.array([value for one in scored.values() for value in one["scores"]], dtype=np.float64)
    labels = np.array([value for one in scored.values() for value in one["labels"]], dtype=np.int64)
    return image_metrics(scores, labels)


def pixel_metrics(
    maps: Float[np.ndarray, "item height width"], masks: Bool[np.ndarray, "item height width"]
) -> dict[str, float | None]:
    """Return pixel AUROC, AP and AUPRO at 30 % false positives; None without a defective pixel."""
    if not masks.any() or masks.all():
        return dict.fromkeys(("pixel_auroc", "pixel_ap", "aupro"))
    return {
        "pixel_auroc": pixel_auroc(maps, masks),
        "pixel_ap": pixel_ap(maps, masks),
        "aupro": aupro(maps, masks),
    }


def trivial_auroc(
    statistics: Mapping[str, Float[np.ndarray, " item"]], labels: Int[np.ndarray, " item"]
) -> dict[str, float | None]:
    """Return the image AUROC of each statistic of the raw image, in the direction that separates better."""
    if len(set(labels.tolist())) < 2:
        return dict.fromkeys(statistics)
    return {name: max(value := auroc(scores, labels), 1 - value) for name, scores in statistics.items()}


def mean_metrics(classes: Mapping[str, Mapping[str, float | None]]) -> dict[str, float | None]:
    """Return the mean of each metric over the classes in which it is defined."""
    names = next(iter(classes.values()), {})
    mean: dict[str, float | None] = {}
    for name in names:
        values = [
            value for metrics in classes.values() if isinstance(value := metrics.get(name), int | float)
        ]
        mean[name] = float(np.mean(values)) if values else None
    return mean
