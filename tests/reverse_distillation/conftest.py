"""One thread, a teacher small enough to reason about, and a small trained run of two tasks."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from reproductions.backbones.pyramid import Anatomy, Level, Pyramid

CHANNELS = (4, 8, 12)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def small_pyramid(block="basic", base_width=64, channels=CHANNELS, factors=(4, 2, 1), grid=(4, 4)):
    levels = tuple(
        Level(name=f"layer{place + 1}", channels=count, factor=factor)
        for place, (count, factor) in enumerate(zip(channels, factors, strict=True))
    )
    anatomy = None if block is None else Anatomy(block=block, depths=(1, 2, 1, 2), base_width=base_width)
    return Pyramid(backbone="small", image_size=64, levels=levels, grid=grid, anatomy=anatomy)


@pytest.fixture(name="small_pyramid")
def making():
    """What makes a teacher's pyramid of 4 x 4 cells: `small_pyramid`."""
    return small_pyramid


@pytest.fixture
def pyramid():
    return small_pyramid()


@pytest.fixture
def cells(pyramid, rng):
    """Packed maps of six images that look alike, as normals do."""
    shape = (*pyramid.grid, pyramid.dim)
    noise = 0.2 * rng.standard_normal((6, *shape))
    return np.maximum(rng.uniform(0, 2, shape) + noise, 0).astype(np.float32)


@pytest.fixture(scope="session")
def rd_request(small_request, tmp_path_factory):
    place = tmp_path_factory.mktemp("rd")
    return replace(
        small_request, system="rd", preset="mini", dim=None, epochs=2, batch_size=6, settings={},
        out=place / "runs",
    )  # fmt: skip


@pytest.fixture(scope="session")
def rd_summary(rd_request, make_trained):
    return make_trained(rd_request)


@pytest.fixture(scope="session")
def rd_run(rd_summary, make_opened):
    return make_opened(rd_summary)
