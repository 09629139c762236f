"""The folder layout: what is found, in which order, and how each kind of broken folder is told."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mechlab import systems
from mechlab.errors import MechlabError
from mechlab.files import sha256_file
from mechlab.runs.request import task_stream
from mechlab.systems import Dataset
from reproductions.datasets import folder, mvtec


def write(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


@pytest.fixture
def root(tmp_path: Path, rng: np.random.Generator) -> Path:
    """One class with png, jpg and bmp, grey and colour, and masks named in both ways."""
    part = tmp_path / "parts" / "bolt"
    colour = rng.integers(0, 255, (20, 30, 3), dtype=np.uint8)
    mask = np.zeros((20, 30), dtype=np.uint8)
    mask[5:10, 6:12] = 255
    write(part / "train/good/001.jpg", colour)
    write(part / "train/good/000.png", colour)
    write(part / "test/good/000.BMP", colour[..., 0])
    write(part / "test/cut/000.jpg", colour)
    write(part / "test/cut/001.bmp", colour[..., 0])
    write(part / "ground_truth/cut/000_mask.png", mask)
    write(part / "ground_truth/cut/001.png", mask)
    (part / "train/good/notes.txt").write_text("no image")
    write(part / "train/good/.hidden.png", colour)
    return tmp_path / "parts"


def test_images_are_listed_training_first_and_sorted(root: Path) -> None:
    items = folder.open(root).items("bolt")
    listed = [(item.split, item.defect, Path(item.image).name, item.label) for item in items]
    assert listed == [
        ("train", "good", "000.png", 0),
        ("train", "good", "001.jpg", 0),
        ("test", "cut", "000.jpg", 1),
        ("test", "cut", "001.bmp", 1),
        ("test", "good", "000.BMP", 0),
    ]


def test_an_image_is_known_by_the_hash_of_its_file(root: Path) -> None:
    before = {item.image: item.sha256 for item in folder.open(root).items("bolt")}
    assert all(digest == sha256_file(Path(image)) for image, digest in before.items())
    moved = root.parent / "elsewhere"
    shutil.move(root, moved)
    after = [item.sha256 for item in folder.open(moved).items("bolt")]
    assert after == list(before.values())


def test_a_class_is_indexed_once(root: Path) -> None:
    dataset = folder.open(root)
    assert dataset.items("bolt") is dataset.items("bolt")


def test_masks_are_paired_by_stem_with_or_without_the_word_mask(root: Path) -> None:
    dataset = folder.open(root)
    for item in dataset.items("bolt"):
        mask = dataset.mask(item, 20)
        assert mask.dtype == bool and mask.shape == (20, 20)
        assert mask.any() == (item.label == 1)
    names = [Path(item.mask).name for item in dataset.items("bolt") if item.mask]
    assert names == ["000_mask.png", "001.png"]


@pytest.mark.parametrize("size", [16, 20, 33])
def test_grey_and_colour_images_become_square_rgb(root: Path, size: int) -> None:
    dataset = folder.open(root)
    assert isinstance(dataset, Dataset)
    for item in dataset.items("bolt"):
        image = dataset.image(item, size)
        assert image.shape == (size, size, 3) and image.dtype == np.uint8
        if Path(item.image).suffix.lower() == ".bmp":
            assert (image == image[..., :1]).all()


def test_both_adapters_are_found_by_name(root: Path) -> None:
    assert systems.dataset("folder", root).classes() == ("bolt",)
    with pytest.raises(MechlabError, match=r"no data set named 'foldr'\. Did you mean 'folder'"):
        systems.dataset("foldr", root)


def test_mvtec_lists_only_its_own_classes(root: Path) -> None:
    with pytest.raises(MechlabError, match=r"holds no class of mvtec"):
        mvtec.open(root)
    (root / "bolt").rename(root / "screw")
    (root / "other" / "train").mkdir(parents=True)
    assert mvtec.open(root).classes() == ("screw",)
    assert len(mvtec.TEXTURES + mvtec.OBJECTS) == 15


def test_the_subsets_of_mvtec_are_streams_of_single_classes(tmp_path: Path) -> None:
    for name in mvtec.TEXTURES + mvtec.OBJECTS:
        (tmp_path / name / "train").mkdir(parents=True)
    whole = mvtec.open(tmp_path)
    assert task_stream("textures", whole) == (("carpet",), ("grid",), ("leather",), ("tile",), ("wood",))
    assert len(task_stream("objects", whole)) == 10
    assert task_stream("all", whole) == tuple((name,) for name in whole.classes())
    assert len(whole.classes()) == 15


def test_a_subset_that_is_not_all_there_names_what_lacks(tmp_path: Path) -> None:
    for name in ("bottle", "screw", "tile", "wood"):
        (tmp_path / name / "train").mkdir(parents=True)
    part = mvtec.open(tmp_path)
    lacking = r"3 are not there: carpet, grid, leather; add their folders, or give --tasks tile,wood\."
    with pytest.raises(MechlabError, match=r"tasks 'textures' are 5 classes of mvtec, and " + lacking):
        task_stream("textures", part)
    with pytest.raises(MechlabError, match=r"and 11 are not there: .* --tasks bottle,screw,tile,wood\."):
        task_stream("all", part)  # the published benchmark, never silently a part of it
    assert task_stream("all", folder.open(tmp_path)) == (("bottle",), ("screw",), ("tile",), ("wood",))


def test_a_missing_root_is_told(tmp_path: Path) -> None:
    with pytest.raises(MechlabError, match=r"needs a folder; give it with --root"):
        folder.open(None)
    with pytest.raises(MechlabError, match=r"absent' does not exist"):
        folder.open(tmp_path / "absent")
    with pytest.raises(MechlabError, match=r"holds no class"):
        folder.open(tmp_path)


def test_a_class_given_as_root_is_told_its_parent(root: Path) -> None:
    with pytest.raises(MechlabError, match=r"is one class, not a folder of classes; give --root '.*parts'"):
        folder.open(root / "bolt")


def test_an_unknown_class_is_told_the_nearest(root: Path) -> None:
    with pytest.raises(MechlabError, match=r"named 'bold'\. Did you mean 'bolt'"):
        folder.open(root).items("bold")


@pytest.mark.parametrize(
    ("gone", "sentence"),
    [
        ("train/good", "'bolt' has no training images: .*good' is missing"),
        ("test", "'bolt' has no test images"),
        ("ground_truth/cut", "defective image '.*000.jpg' has no mask; expected '.*000_mask.png'"),
        ("ground_truth/cut/001.png", "defective image '.*001.bmp' has no mask"),
    ],
)
def test_a_class_that_lacks_something_is_told_what(root: Path, gone: str, sentence: str) -> None:
    target = root / "bolt" / gone
    if target.is_dir():
        shutil.rmtree(target)
        if gone == "train/good":
            target.mkdir()
    else:
        target.unlink()
    with pytest.raises(MechlabError, match=sentence):
        folder.open(root).items("bolt")


def test_a_mask_of_another_size_is_told_with_both_sizes(root: Path) -> None:
    write(root / "bolt/ground_truth/cut/000_mask.png", np.zeros((20, 29), dtype=np.uint8))
    with pytest.raises(MechlabError, match=r"is 29 x 20 pixels but its image '.*000.jpg' is 30 x 20"):
        folder.open(root).items("bolt")


def test_a_class_without_any_mask_has_none(root: Path) -> None:
    shutil.rmtree(root / "bolt" / "ground_truth")
    dataset = folder.open(root)
    defective = [item for item in dataset.items("bolt") if item.label]
    assert defective and all(item.mask is None for item in defective)
    assert not any(dataset.mask(item, 16).any() for item in defective)


@pytest.mark.realdata
def test_the_shared_classes_have_their_published_counts(shared: Path) -> None:
    dataset = mvtec.open(shared / "data" / "mvtec256")
    counts = {}
    for name in dataset.classes():
        items = dataset.items(name)
        counts[name] = tuple(
            sum(kept) for kept in (
                [item.split == "train" for item in items],
                [item.split == "test" for item in items],
                [item.mask is not None for item in items],
            )
        )  # fmt: skip
    assert counts == {"bottle": (209, 83, 63), "screw": (320, 160, 119)}


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("capsule", "has no training images"),
        ("leather", "has no mask"),
        ("leathr", "Did you mean 'leather'"),
    ],
)
def test_incomplete_shared_classes_are_refused(shared: Path, name: str, sentence: str) -> None:
    dataset = mvtec.open(shared / "data" / "mvtec256_partial")
    with pytest.raises(MechlabError, match=sentence):
        dataset.items(name)


@pytest.mark.realdata
def test_a_shared_class_without_any_mask_is_opened(shared: Path) -> None:
    items = mvtec.open(shared / "data" / "mvtec256_partial").items("toothbrush")
    assert items and {item.split for item in items} == {"train", "test"}
    assert all(item.mask is None for item in items)
