"""A teacher of three small levels, its packed normals, and a small trained run."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from reproductions.backbones.pyramid import Anatomy, Level, Pyramid

LEVELS = (Level(name="one", channels=4, factor=4), Level(name="two", channels=6, factor=2),
          Level(name="three", channels=8, factor=1))  # fmt: skip


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def pyramid():
    return Pyramid(backbone="made-up", image_size=16, levels=LEVELS, grid=(4, 4),
                   anatomy=Anatomy(block="basic", depths=(1, 1, 1, 1), base_width=64))  # fmt: skip


@pytest.fixture
def normals(rng, pyramid):
    """Packed maps of twelve images."""
    maps = [torch.from_numpy(rng.standard_normal((12, one.channels, 4 * one.factor, 4 * one.factor))).float()
            for one in LEVELS]  # fmt: skip
    return pyramid.packed(maps).numpy()


@pytest.fixture
def make(pyramid, normals):
    """An untrained system whose banks are built, in training mode; `built=False` leaves phase 1 out."""
    from reproductions.rd_noising.system import RDNoising

    def made(*, tasks=1, built=True, seed=3, **parts):
        words = {"epochs": 4, "coreset_sampling_ratio": 0.1, "n_neighbors": 3} | parts
        system = RDNoising.create(words, pyramid=pyramid, seed=seed)
        for task in range(tasks):
            system.add_task(task)
            if built:
                system.prepare(task, normals + task)
        return system.train()

    return made


@pytest.fixture(scope="session")
def noisy_request(small_request, tmp_path_factory):
    place = tmp_path_factory.mktemp("rd-noising")
    return replace(
        small_request, system="rd-noising", preset="mini", dim=None, epochs=2, batch_size=6,
        settings={"max_patches": 300, "coreset_sampling_ratio": 0.1}, out=place / "runs",
    )  # fmt: skip


@pytest.fixture(scope="session")
def noisy_summary(noisy_request, make_trained):
    return make_trained(noisy_request)


@pytest.fixture(scope="session")
def noisy_run(noisy_summary, make_opened):
    return make_opened(noisy_summary)
