"""Pixel metrics of a run's own evaluation, read from its stored patch scores: nothing is scored again.

AUPRO and AUC-sPRO to any false-positive rate, AUPIMO, exact or from counts in bins. A data set whose defects
are annotated one by one gives its channels; elsewhere a region of the mask is a channel, and its saturation
is asked for.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float

from mechlab.errors import MechlabError
from mechlab.metrics.class_metrics import mean_metrics
from mechlab.metrics.overlap import check_limit
from mechlab.metrics.pimo import aupimo
from mechlab.metrics.pimo_stream import PimoStream
from mechlab.metrics.pixel import pixel_ap, pixel_auroc
from mechlab.metrics.region import aupro, labelled
from mechlab.metrics.spro import Channel, Channels, auc_spro, saturation
from mechlab.metrics.streaming import PixelStream
from mechlab.runs.folder import RunFolder
from mechlab.specs import Item
from mechlab.train.images import run_scoring
from mechlab.train.inputs import Inputs
from mechlab.train.resolution import plan_of
from mechlab.train.scoring import Scores

BATCH = 16  # maps that are streamed at a time
Maps = Float[np.ndarray, "item height width"]
Masks = Bool[np.ndarray, "item height width"]


@runtime_checkable
class Annotated(Protocol):
    """A data set whose defects are annotated one by one, each with its saturation."""

    def channels(self, item: Item, size: int) -> Sequence[Channel]:
        """Return the channels of an image, resized like its mask; none for a normal image."""
        ...


def pixel_report(
    run: RunFolder,
    *,
    limits: Sequence[float] = (0.3, 0.05),
    saturated: str | None = None,
    is_streaming: bool = False,
    report: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Return pixel metrics of each class and their mean; None where a metric is not defined.

    `saturated` is a share of a region ("0.5") or a number of pixels ("30px"); without it, AUC-sPRO is given
    for data sets that annotate channels alone.

    Raises:
        MechlabError: a limit outside (0, 1], words of no saturation, or one beside annotated channels.
    """
    for limit in limits:
        try:
            check_limit(limit)
        except ValueError as fault:
            raise MechlabError(f"--limit {limit:g} is no rate; give one above 0 and up to 1.") from fault
    plan, scoring = plan_of(run), run_scoring(plan_of(run))
    folder = run.path / "evals" / str(run.summary()["evaluation"])
    of_regions = None if saturated is None else read_saturation(saturated)
    if of_regions is not None and isinstance(plan.inputs.dataset, Annotated):
        raise MechlabError(
            f"data set '{plan.inputs.dataset.name}' annotates the saturation of each defect; leave "
            "--saturation out."
        )
    classes = {}
    for name in (name for task in plan.spec.tasks for name in task):
        report(f"{run.name}: {name}")
        masks = np.asarray(plan.inputs.features(name, "test").masks, dtype=bool)
        routed = Scores.load(folder / f"{name}.npz").routed
        maps = scoring.pixel_maps(routed, size=masks.shape[1], class_name=name)
        found = channels_of(plan.inputs, name, masks, of_regions)
        measure = streamed_metrics if is_streaming else exact_metrics
        classes[name] = measure(maps, masks, found, limits) if is_defined(masks) else {}
    return {"run": run.name, "evaluation": folder.name, "streaming": is_streaming, "metrics": classes,
            "mean": mean_metrics({name: found for name, found in classes.items() if found})}  # fmt: skip


def is_defined(masks: Masks) -> bool:
    """Return whether there are defective and normal pixels."""
    return bool(masks.any() and not masks.all())


def exact_metrics(
    maps: Maps, masks: Masks, channels: Channels | None, limits: Sequence[float]
) -> dict[str, float | None]:
    """Return the metrics of one class from every score."""
    found: dict[str, float | None] = {
        "pixel_auroc": pixel_auroc(maps, masks),
        "pixel_ap": pixel_ap(maps, masks),
    }
    found |= {f"aupro@{limit:g}": aupro(maps, masks, limit=limit) for limit in limits}
    if channels is not None:
        found |= {f"auc_spro@{limit:g}": auc_spro(maps, channels, limit=limit) for limit in limits}
    return found | {"aupimo": mean_or_none(lambda: aupimo(maps, masks))}


def streamed_metrics(
    maps: Maps, masks: Masks, channels: Channels | None, limits: Sequence[float]
) -> dict[str, float | None]:
    """Return the metrics of one class from counts in bins, some images at a time."""
    regions, saturating, pimo = PixelStream(), PixelStream(), PimoStream()
    for begin in range(0, len(maps), BATCH):
        part = slice(begin, begin + BATCH)
        regions.add(maps[part], masks[part])
        pimo.add(maps[part], masks[part])
        if channels is not None:
            saturating.add_channels(maps[part], channels[part])
    found: dict[str, float | None] = {"pixel_auroc": regions.auroc(), "pixel_ap": regions.average_precision()}
    found |= {f"aupro@{limit:g}": regions.area(limit) for limit in limits}
    if channels is not None:
        found |= {f"auc_spro@{limit:g}": saturating.area(limit) for limit in limits}
    return found | {"aupimo": mean_or_none(pimo.aupimo)}


def mean_or_none(scores: Callable[[], Float[np.ndarray, " defective"]]) -> float | None:
    """Return the mean of AUPIMO over images; None where normal pixels are too few to tell its rates."""
    try:
        return float(scores().mean())
    except ValueError as fault:
        if "cannot tell a rate" not in str(fault):
            raise
        return None


def channels_of(
    inputs: Inputs, name: str, masks: Masks, of_regions: tuple[float, bool] | None
) -> Channels | None:
    """Return the channels of a class's test images: annotated ones, or regions that saturate as asked."""
    if isinstance(inputs.dataset, Annotated):
        return [inputs.dataset.channels(item, inputs.size_of(name)) for item in inputs.items(name, "test")]
    if of_regions is None:
        return None
    threshold, is_relative = of_regions
    found = []
    for mask in masks:
        regions, count = labelled(mask[None])
        parts = [regions[0] == number for number in range(1, count + 1)]
        found.append([Channel(part, saturation(int(part.sum()), threshold, is_relative=is_relative))
                      for part in parts])  # fmt: skip
    return found


def read_saturation(words: str) -> tuple[float, bool]:
    """Return threshold and whether it is a share, from "0.5" or "30px"; other words are a MechlabError."""
    number = words.removesuffix("px")
    try:
        value, is_relative = float(number), number == words
    except ValueError as fault:
        raise MechlabError(
            f"saturation '{words}' cannot be read; give a share such as 0.5, or pixels such as 30px."
        ) from fault
    saturation(1, value, is_relative=is_relative)  # refuses what is out of range
    return value, is_relative
