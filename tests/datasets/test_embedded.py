"""The embedded data set: counts, independence of pictures, exact masks, and pinned pixels."""

import dataclasses
import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mechlab import systems
from mechlab.errors import MechlabError
from mechlab.systems import Dataset
from reproductions.datasets.embedded.dataset import EmbeddedDataset
from reproductions.datasets.embedded.dataset import open as open_embedded
from reproductions.datasets.embedded.flaw import Flaw
from reproductions.datasets.embedded.render import GAP, PARTS, VISIBLE, Coordinates, changed, render

CLASSES = ("gear", "weave", "board")


@pytest.fixture(scope="module")
def some() -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """The first pictures of every kind with their masks and labels, by class."""
    dataset = EmbeddedDataset()
    found = {}
    for name in CLASSES:
        items = [item for item in dataset.items(name) if item.split == "test"]
        items = [item for item in items if item.image.endswith(("/000", "/001", "/002"))]
        pictures = [dataset.image(item, 224) for item in items]
        masks = [dataset.mask(item, 224) for item in items]
        found[name] = np.stack(pictures), np.stack(masks), np.array([item.label for item in items])
    return found


def test_it_is_found_by_name_and_keeps_the_protocol() -> None:
    dataset = systems.dataset("embedded", None)
    assert isinstance(dataset, Dataset)
    assert dataset.name == "embedded" and dataset.classes() == CLASSES


@pytest.mark.parametrize("name", CLASSES)
def test_every_class_has_enough_of_everything(name: str) -> None:
    items = EmbeddedDataset().items(name)
    splits = [item.split for item in items]
    assert splits == sorted(splits, reverse=True)  # training first
    assert sum(item.split == "train" for item in items) >= 40
    assert sum(item.split == "test" and item.label == 0 for item in items) >= 20
    assert sum(item.label for item in items) >= 20
    assert len({item.defect for item in items} - {"good"}) >= 5
    assert all((item.defect == "good") == (item.label == 0) == (item.mask is None) for item in items)
    assert len({item.sha256 for item in items}) == len(items)


def test_a_picture_depends_on_its_coordinates_alone() -> None:
    at = Coordinates(class_name="board", split="test", defect="skewed", number=4)
    other = Coordinates(class_name="board", split="test", defect="skewed", number=5)
    first, mask = render(at)
    render(other)
    render.cache_clear()
    again, mask_again = render(at)
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(mask, mask_again)
    assert (render(other)[0] != first).any()


def test_another_process_renders_the_same_bytes() -> None:
    at = Coordinates(class_name="gear", split="train", defect="good", number=7)
    program = (
        "import hashlib\n"
        "from reproductions.datasets.embedded.render import Coordinates, render\n"
        f"print(hashlib.sha256(render({at!r})[0].tobytes()).hexdigest())\n"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == hashlib.sha256(render(at)[0].tobytes()).hexdigest()


@pytest.mark.parametrize("name", CLASSES)
def test_masks_are_small_and_lie_on_defects_only(
    some: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]], name: str
) -> None:
    _, masks, labels = some[name]
    areas = masks.mean(axis=(1, 2))
    assert (areas[labels == 0] == 0).all()
    assert (areas[labels == 1] > 0).all()
    assert np.median(areas[labels == 1]) <= 0.02
    assert areas.max() < 0.06


@pytest.mark.parametrize("name", CLASSES)
def test_no_two_pictures_are_alike(
    some: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]], name: str
) -> None:
    pictures = some[name][0]
    assert len({picture.tobytes() for picture in pictures}) == len(pictures)


@pytest.mark.parametrize(
    ("name", "defect"), [(name, defect) for name in CLASSES for defect in PARTS[name].DEFECTS]
)
def test_the_mask_covers_all_that_the_defect_changed(name: str, defect: str) -> None:
    at = Coordinates(class_name=name, split="test", defect=defect, number=1)
    clean, painted = (
        PARTS[name].paint(at.generator("part"), Flaw(kind=kind, rng=at.generator("flaw")))
        for kind in ("good", defect)
    )
    difference = np.abs(painted - clean).max(axis=-1)
    mask = render(at)[1]
    assert (difference[~mask] >= VISIBLE).mean() < 0.002  # specks
    assert (difference[mask] >= VISIBLE).mean() > 0.6  # the rest are gaps that were closed
    assert difference.max() >= 3 * VISIBLE


def test_a_planted_change_is_its_own_mask() -> None:
    clean = np.full((64, 64, 3), 100.0)
    painted = clean.copy()
    painted[10:20, 30:44, 1] += VISIBLE
    painted[40:60, 5:25] += VISIBLE - 0.1  # not visible
    painted[60, 60] += 50  # a speck
    expected = np.zeros((64, 64), dtype=bool)
    expected[10:20, 30:44] = True
    np.testing.assert_array_equal(changed(clean, painted), expected)
    painted[14, 30:44] = clean[14, 30:44]  # a gap narrower than twice the reach
    assert GAP >= 1
    np.testing.assert_array_equal(changed(clean, painted)[:, 31:43], expected[:, 31:43])
    assert not changed(clean, clean).any()


@pytest.mark.parametrize("size", [64, 224, 256])
def test_any_size_may_be_asked_for(size: int) -> None:
    dataset = EmbeddedDataset()
    item = dataset.items("weave")[-1]
    assert dataset.image(item, size).shape == (size, size, 3)
    assert dataset.mask(item, size).shape == (size, size)
    assert dataset.mask(item, size).any()


GOLDEN = {
    "gear": (
        [32.0, 56.8, 57.0, 30.6, 63.8, 96.1, 108.1, 53.3, 68.5, 115.6, 98.8, 43.8, 36.2, 63.3, 55.3, 31.4],
        [5.77, 321],
    ),
    "weave": (
        [
            127.7,
            133.2,
            130.1,
            128.1,
            124.4,
            126.7,
            121.8,
            124.1,
            128.7,
            122.8,
            123.6,
            128.9,
            133.3,
            130.4,
            121.6,
            128.6,
        ],
        [11.94, 844],
    ),
    "board": (
        [68.1, 77.6, 78.6, 75.5, 81.2, 88.7, 75.9, 78.1, 78.9, 71.8, 68.1, 70.2, 64.9, 69.2, 85.1, 81.0],
        [8.13, 110],
    ),
}


@pytest.mark.parametrize("name", CLASSES)
def test_the_pictures_of_this_version_stay_as_they_are(name: str) -> None:
    """Grey means of 4 x 4 blocks, contrast and mask; whoever moves them must raise VERSION."""
    at = Coordinates(class_name=name, split="test", defect=sorted(PARTS[name].DEFECTS)[0], number=0)
    picture, mask = render(at)
    grey = picture.astype(float).mean(axis=-1)
    blocks = grey.reshape(4, 56, 4, 56).mean(axis=(1, 3)).ravel()
    contrast = float(np.abs(np.diff(grey)).mean())
    np.testing.assert_allclose(blocks, GOLDEN[name][0], atol=0.5)
    np.testing.assert_allclose([contrast, mask.sum()], GOLDEN[name][1], rtol=0.02)


def test_an_unknown_class_is_told_the_nearest() -> None:
    with pytest.raises(MechlabError, match=r"named 'gaer'\. Did you mean 'gear'"):
        EmbeddedDataset().items("gaer")


def test_a_root_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MechlabError, match="reads no folder; leave out --root"):
        open_embedded(tmp_path)


@pytest.mark.parametrize("change", [{"sha256": "0" * 64}, {"image": "embedded:gear/x"}, {"defect": "dent"}])
def test_an_item_of_another_version_is_refused(change: dict[str, str]) -> None:
    item = dataclasses.replace(EmbeddedDataset().items("gear")[0], **change)
    with pytest.raises(MechlabError, match="is no picture that this version of mechlab renders"):
        EmbeddedDataset().image(item, 224)
