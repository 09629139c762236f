"""The references of the benchmark of pixel metrics compute the same quantities."""

import numpy as np
import pytest

from benchmarks.pixel_metrics import LIMIT, memory, sklearn_auroc, sorted_aupro, streamed
from mechlab.metrics.pixel import pixel_auroc
from mechlab.metrics.region import aupro


def test_references_agree_with_the_exact_forms(rng):
    masks = np.zeros((4, 64, 64), bool)
    masks[1, 3:9, 4:20] = masks[3, 40:50, 7:12] = True
    maps = (rng.standard_normal(masks.shape) + masks).astype(np.float32)
    assert sklearn_auroc(maps, masks) == pytest.approx(pixel_auroc(maps, masks), abs=1e-12)
    assert sorted_aupro(maps, masks) == pytest.approx(aupro(maps, masks, limit=LIMIT), abs=1e-3)
    assert streamed(maps, masks).area(LIMIT) == pytest.approx(aupro(maps, masks, limit=LIMIT), abs=1e-5)


@pytest.mark.slow
def test_memory_of_streaming_is_small():
    found = memory()
    assert found.holds, found
