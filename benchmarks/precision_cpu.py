"""What a step of the published sizes costs on the CPU in bfloat16, beside float32: `precision` on 4 images.

How much it saves hangs on the processor: one without products of bfloat16 of its own is slower in it.
"""

from collections.abc import Iterator
from dataclasses import replace

import torch

from benchmarks.flow import GRID
from benchmarks.measure import Measurement
from benchmarks.precision import DIM, FORMS, cost
from reproductions.moleflow.sizes import MAIN

PAIRS, IMAGES = 7, 4


def measure() -> Iterator[Measurement]:
    """Yield milliseconds of float32 and ratios of the others, by task."""
    features = torch.randn(IMAGES, *GRID, DIM, generator=torch.Generator().manual_seed(0))
    forms = {name: own for name, own in FORMS.items() if "tf32" not in name}
    for one in cost(MAIN, forms, features, pairs=PAIRS):
        yield replace(one, name=one.name.replace("precision-", "precision-cpu-"))
