"""Fixtures that every room shares."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

# One thread a test process: sums are ordered by the number of threads, and two workers share two cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def repository() -> Path:
    return REPOSITORY


@pytest.fixture
def shared() -> Path:
    """The folder with real images and weights; tests that need it skip where it is absent."""
    folder = Path(os.environ.get("MECHLAB_SHARED", REPOSITORY.parent / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip("the shared images and weights are absent (set MECHLAB_SHARED to their folder)")
    return folder


def draw_pictures(root: Path, *, classes=("bolt", "nut"), size=64, train=14, good=4, bad=4) -> Path:
    """Write small pictures in MVTec's layout: discs of two greys on noise, defects are bright squares."""
    for number, name in enumerate(classes):
        rng = np.random.default_rng(number)
        for split, kind, count in (("train", "good", train), ("test", "good", good), ("test", "spot", bad)):
            folder = root / name / split / kind
            folder.mkdir(parents=True)
            for index in range(count):
                image = rng.normal(100 + 60 * number, 12, (size, size, 3))
                rows, columns = np.mgrid[:size, :size]
                image[np.hypot(rows - size / 2, columns - size / 2) < 18 + 4 * number] += 50
                if kind == "spot":
                    row, column = rng.integers(16, size - 24, 2)
                    image[row : row + 8, column : column + 8] = (250, 40, 40)
                    mask = np.zeros((size, size), dtype=np.uint8)
                    mask[row : row + 8, column : column + 8] = 255
                    place = root / name / "ground_truth" / kind
                    place.mkdir(parents=True, exist_ok=True)
                    Image.fromarray(mask).save(place / f"{index:03d}_mask.png")
                Image.fromarray(np.clip(image, 0, 255).astype(np.uint8)).save(folder / f"{index:03d}.png")
    return root


@pytest.fixture(scope="session", name="draw_pictures")
def drawing():
    """What writes pictures into a folder: `draw_pictures`."""
    return draw_pictures


@pytest.fixture(scope="session")
def pictures(tmp_path_factory) -> Path:
    """A data set of two classes in MVTec's layout, 64 pixels."""
    return draw_pictures(tmp_path_factory.mktemp("pictures"))


SMALL = {
    "image_size": 64,
    "dim": 16,
    "epochs": 2,
    "batch_size": 6,
    "settings": {"dia_blocks": 1, "lora_rank": 4},
}


@pytest.fixture(scope="session")
def small_request(pictures, tmp_path_factory):
    """A request that trains two tasks within a second or two."""
    from mechlab.runs.request import TrainRequest

    place = tmp_path_factory.mktemp("small")
    return TrainRequest(
        preset="reduced", data="folder", root=pictures, tasks="bolt,nut", threads=1, out=place / "runs",
        cache=place / "cache", **SMALL,
    )  # fmt: skip


def trained(request):
    """Train a request and return its summary."""
    from mechlab.train.session import train

    return train(request)


def opened(summary):
    """Return the folder of a summary's run."""
    from mechlab.runs.folder import RunFolder

    return RunFolder.open(Path(summary["path"]))


@pytest.fixture(scope="session")
def make_trained():
    """What trains a request: `trained`."""
    return trained


@pytest.fixture(scope="session")
def make_opened():
    """What opens the run of a summary: `opened`."""
    return opened


@pytest.fixture(scope="session")
def small_summary(small_request):
    """The summary of a small trained run."""
    return trained(small_request)


@pytest.fixture(scope="session")
def small_run(small_summary):
    """A small trained run of two tasks."""
    return opened(small_summary)
