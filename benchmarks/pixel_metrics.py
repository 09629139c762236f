"""AUROC and AUPRO over 6.5 million pixels: how fast beside sorting, how exact, in how much memory.

References in the same run: scikit-learn's `roc_auc_score`, and the steps of anomalib 2.7's AUPRO written anew
(its package is not asked for): regions, a descending torch sort of all pixels, cumulative sums. Maps are
smooth noise, a few per cent of the pixels defective; a second set has one pixel of 1e6. One thread.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from statistics import median

import numpy as np
import torch
from scipy.ndimage import gaussian_filter, label
from sklearn.metrics import roc_auc_score

from benchmarks.measure import Measurement, median_interval, one_thread, paired_ratios, ratio
from benchmarks.recorder_memory import resident
from mechlab.metrics.pixel import pixel_auroc
from mechlab.metrics.region import aupro
from mechlab.metrics.streaming import PixelStream

IMAGES, SIZE, BATCH, PAIRS = 100, 256, 10, 5
LIMIT, OUTLIER = 0.3, 1e6
FASTER, ERROR, MEGABYTES = 1 / 15, 1e-6, 20.0


def measure() -> Iterator[Measurement]:
    """Yield speed against both references, errors, exactness of the exact forms, and memory."""
    maps, masks = images()
    with one_thread():
        yield from speed(maps, masks)
    yield from errors(maps, masks, name="")
    maps[3, 3, 3] = OUTLIER
    yield from errors(maps, masks, name="-outlier")
    yield memory()


def speed(maps: np.ndarray, masks: np.ndarray) -> Iterator[Measurement]:
    """Yield streamed over sorted seconds; both metrics come from one pass, and each is timed with it."""
    auc = paired_ratios(
        lambda: sklearn_auroc(maps, masks), lambda: streamed(maps, masks).auroc(), pairs=PAIRS
    )
    pro = paired_ratios(
        lambda: sorted_aupro(maps, masks), lambda: streamed(maps, masks).area(LIMIT), pairs=PAIRS
    )
    yield ratio("pixel-metrics-auroc", auc["wall"], against="scikit-learn roc_auc_score", target=FASTER)
    yield ratio("pixel-metrics-aupro", pro["wall"], against="the steps of anomalib's AUPRO",
                target=FASTER)  # fmt: skip


def images() -> tuple[np.ndarray, np.ndarray]:
    """Return smooth float32 maps and masks with three rectangles in every other image."""
    rng = np.random.default_rng(0)
    masks = np.zeros((IMAGES, SIZE, SIZE), dtype=bool)
    for item in range(0, IMAGES, 2):
        for _ in range(3):
            row, column = rng.integers(0, SIZE - 30, 2)
            height, width = rng.integers(5, 30, 2)
            masks[item, row : row + height, column : column + width] = True
    noise = np.stack([gaussian_filter(rng.standard_normal((SIZE, SIZE)), 2) for _ in range(IMAGES)])
    return (noise / noise.std() + 1.2 * masks).astype(np.float32), masks


def streamed(maps: np.ndarray, masks: np.ndarray) -> PixelStream:
    """Return the counts of maps that come in batches."""
    stream = PixelStream()
    for start in range(0, len(maps), BATCH):
        stream.add(maps[start : start + BATCH], masks[start : start + BATCH])
    return stream


def sklearn_auroc(maps: np.ndarray, masks: np.ndarray) -> float:
    """Return scikit-learn's AUROC of all pixels."""
    return float(roc_auc_score(masks.reshape(-1), maps.reshape(-1)))


def sorted_aupro(maps: np.ndarray, masks: np.ndarray) -> float:
    """Return AUPRO in the steps of anomalib 2.7: regions, one sort of all pixels, cumulative sums."""
    regions, count = label(masks, structure=np.stack([np.zeros((3, 3)), np.ones((3, 3)), np.zeros((3, 3))]))
    flat, scores = torch.from_numpy(regions.reshape(-1)).long(), torch.from_numpy(maps.reshape(-1))
    normal = (flat == 0).float()
    sizes = torch.bincount(flat, minlength=count + 1).float()
    shares = torch.zeros_like(scores)
    shares[flat > 0] = 1.0 / sizes[flat[flat > 0]]
    order = torch.argsort(scores, descending=True)
    ordered = scores[order]
    rate, overlap = normal[order].cumsum(0) / normal.sum(), shares[order].cumsum(0) / count
    kept = torch.ones_like(ordered, dtype=torch.bool)
    kept[:-1] = ordered[:-1] != ordered[1:]
    rate, overlap = rate[kept], overlap[kept]
    inside = rate <= LIMIT
    return float(torch.trapezoid(overlap[inside], rate[inside]) / LIMIT)


def errors(maps: np.ndarray, masks: np.ndarray, *, name: str) -> Iterator[Measurement]:
    """Yield what bins cost AUROC and AUPRO, and by how much the exact forms miss the references."""
    stream, exact = streamed(maps, masks), (pixel_auroc(maps, masks), aupro(maps, masks, limit=LIMIT))
    found = {
        "auroc-error": (abs(stream.auroc() - exact[0]), ERROR),
        "aupro-error": (abs(stream.area(LIMIT) - exact[1]), ERROR),
        "exact-auroc": (abs(exact[0] - sklearn_auroc(maps, masks)), 1e-12),
    }
    for kind, (value, target) in found.items():
        against = "scikit-learn" if kind == "exact-auroc" else "the exact form"
        yield Measurement(name=f"pixel-metrics-{kind}{name}", value=value, unit="ratio", against=against,
                          target=target, n=maps.size, interval=(0.0, value))  # fmt: skip


def memory() -> Measurement:
    """Return what a process grows by while maps are streamed through it."""
    command = [sys.executable, "-m", "benchmarks.pixel_metrics"]
    done = [subprocess.run(command, check=True, capture_output=True, text=True) for _ in range(3)]
    values = [float(json.loads(one.stdout)["MB"]) for one in done]
    return Measurement(name="pixel-metrics-memory", value=median(values), unit="MB",
                       against=f"{IMAGES} maps of {SIZE} x {SIZE}, {BATCH} at a time", target=MEGABYTES,
                       n=len(values), interval=median_interval(values))  # fmt: skip


def growth() -> float:
    """Return megabytes by which the resident set grows, beside the maps themselves."""
    maps, masks = images()
    streamed(maps[:1], masks[:1]).auroc()  # what is loaded once
    before, stream, most = resident(), PixelStream(), 0
    for start in range(0, len(maps), BATCH):
        stream.add(maps[start : start + BATCH], masks[start : start + BATCH])
        most = max(most, resident() - before)
    stream.auroc()
    stream.area(LIMIT)
    return max(most, resident() - before) / 1e6


if __name__ == "__main__":
    print(json.dumps({"MB": growth()}))
