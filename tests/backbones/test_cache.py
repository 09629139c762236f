"""The feature cache: computed once, whole or absent, and independent of neighbours and paths."""

import dataclasses
import errno
import json
import logging
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from mechlab.errors import MechlabError
from mechlab.specs import Item
from reproductions.backbones import cache
from reproductions.backbones.cache import feature_spec, features
from reproductions.backbones.extraction import BATCH
from reproductions.backbones.timm_features import Extractor, build

SIZE = 32


@dataclasses.dataclass
class Noise:
    """Pictures of noise; counts how often one is asked for, and can fail at one."""

    name: str = "noise"
    asked: int = 0
    fault: Exception | None = None

    def classes(self) -> tuple[str, ...]:
        return ("dots",)

    def items(self, class_name: str) -> tuple[Item, ...]:
        return tuple(item(number, split=split) for split in ("train", "test") for number in range(BATCH + 3))

    def image(self, item: Item, size: int) -> np.ndarray:
        self.asked += 1
        if self.fault is not None and self.asked > BATCH:
            raise self.fault
        return np.random.default_rng(int(item.sha256, 16)).integers(0, 256, (size, size, 3), dtype=np.uint8)

    def mask(self, item: Item, size: int) -> np.ndarray:
        mask = np.zeros((size, size), dtype=bool)
        mask[: int(item.sha256, 16) % 7] = item.label
        return mask


def item(number: int, *, split: str, mask: str | None = None) -> Item:
    label = number % 2 if split == "test" else 0
    return Item(
        sha256=f"{number:064x}",
        class_name="dots",
        split=split,
        label=label,
        defect="blot" if label else "good",
        image=f"dots/{number}",
        mask=mask or ("blot" if label else None),
    )


@pytest.fixture(scope="module")
def extractor() -> Extractor:
    return build("resnet18", weights="random-0", image_size=SIZE, dim=8)


@pytest.fixture
def dataset() -> Noise:
    return Noise()


def chosen(dataset: Noise, split: str) -> tuple[Item, ...]:
    return tuple(item for item in dataset.items("dots") if item.split == split)


def test_features_are_computed_once_and_then_read(
    dataset: Noise, extractor: Extractor, tmp_path: Path
) -> None:
    items = chosen(dataset, "test")
    first = features(dataset, items, extractor, root=tmp_path)
    assert dataset.asked == len(items)
    again = features(dataset, items, extractor, root=tmp_path)
    assert dataset.asked == len(items)
    assert first.values.shape == (BATCH + 3, 4, 4, 8) and first.values.dtype == np.float32
    for name in ("values", "masks", "thumbnails", "mean", "std"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    assert isinstance(again.values, np.memmap)
    assert again.items == items and again.spec == first.spec
    assert sorted(path.name for path in tmp_path.iterdir()) == [f".{first.spec.hash}.lock", first.spec.hash]


def test_what_is_stored_is_what_the_extractor_gives(
    dataset: Noise, extractor: Extractor, tmp_path: Path
) -> None:
    items = chosen(dataset, "test")
    found = features(dataset, items, extractor, root=tmp_path)
    for number in (0, BATCH - 1, BATCH, BATCH + 2):
        image = dataset.image(items[number], SIZE)
        with torch.inference_mode():
            direct = extractor(torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255)[0]
        np.testing.assert_allclose(found.values[number], direct, atol=1e-5)
        np.testing.assert_array_equal(found.masks[number], dataset.mask(items[number], SIZE))
        grey = image @ np.array([0.299, 0.587, 0.114])
        np.testing.assert_allclose([found.mean[number], found.std[number]], [grey.mean(), grey.std()])
        assert found.thumbnails[number].shape == (64, 64, 3)


def test_an_image_does_not_depend_on_its_neighbours(
    dataset: Noise, extractor: Extractor, tmp_path: Path
) -> None:
    items = chosen(dataset, "train")
    whole = features(dataset, items, extractor, root=tmp_path)
    part = features(dataset, items[5:], extractor, root=tmp_path)
    np.testing.assert_array_equal(whole.values[5:], part.values)
    assert whole.spec.hash != part.spec.hash


def test_the_network_sees_batches_of_one_size_only(
    dataset: Noise, extractor: Extractor, tmp_path: Path
) -> None:
    """Other sizes may take other kernels, whose sums round differently."""
    seen = []
    hook = extractor.register_forward_pre_hook(lambda module, inputs: seen.append(len(inputs[0])))
    features(dataset, chosen(dataset, "train"), extractor, root=tmp_path)
    hook.remove()
    assert seen == [BATCH, BATCH]


def test_training_features_carry_no_masks(dataset: Noise, extractor: Extractor, tmp_path: Path) -> None:
    found = features(dataset, chosen(dataset, "train"), extractor, root=tmp_path)
    assert found.masks is None
    assert not (tmp_path / found.spec.hash / "masks.npy").exists()


def test_two_that_ask_at_once_compute_once(dataset: Noise, extractor: Extractor, tmp_path: Path) -> None:
    items = chosen(dataset, "train")
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(features(dataset, items, extractor, root=tmp_path)))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3 and dataset.asked == len(items)


def test_writing_into_an_array_leaves_the_cache_as_it_is(
    dataset: Noise, extractor: Extractor, tmp_path: Path
) -> None:
    items = chosen(dataset, "train")
    first = features(dataset, items, extractor, root=tmp_path)
    first.values[:] = 0
    assert torch.from_numpy(first.values).sum() == 0  # writable, so torch takes it without a warning
    assert features(dataset, items, extractor, root=tmp_path).values.any()


def truncated(folder: Path) -> None:
    path = folder / "values.npy"
    path.write_bytes(path.read_bytes()[:-100])


def lengthened(folder: Path) -> None:
    with (folder / "thumbnails.npy").open("ab") as stream:
        stream.write(b"x")


def emptied(folder: Path) -> None:
    (folder / "statistics.npy").write_bytes(b"")


def without_items(folder: Path) -> None:
    (folder / "items.json").unlink()


def without_masks(folder: Path) -> None:
    (folder / "masks.npy").unlink()


def torn_json(folder: Path) -> None:
    (folder / "items.json").write_text("{")


def reshaped(folder: Path) -> None:
    np.save(folder / "values.npy", np.zeros((2, 4, 4, 8), dtype=np.float32))


def swapped(folder: Path) -> None:
    value = json.loads((folder / "items.json").read_text())
    value["spec"]["dim"] = 9
    (folder / "items.json").write_text(json.dumps(value))


@pytest.mark.parametrize(
    "damage", [truncated, lengthened, emptied, without_items, without_masks, torn_json, reshaped, swapped]
)
def test_a_damaged_folder_is_noticed_and_made_again(
    dataset: Noise, extractor: Extractor, tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: object
) -> None:
    items = chosen(dataset, "test")
    first = np.array(features(dataset, items, extractor, root=tmp_path).values)
    (folder,) = (path for path in tmp_path.iterdir() if path.is_dir())
    damage(folder)
    with caplog.at_level(logging.WARNING):
        again = features(dataset, items, extractor, root=tmp_path)
    assert "they are made again" in caplog.text
    np.testing.assert_array_equal(first, again.values)
    assert dataset.asked == 2 * len(items)


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (MechlabError("image 'x.png' is damaged"), "x.png"),
        (OSError(errno.ENOSPC, "no space"), "the disk is full; free some space"),
    ],
    ids=["image", "disk"],
)
def test_a_fault_leaves_nothing_behind(
    extractor: Extractor, tmp_path: Path, fault: Exception, sentence: str
) -> None:
    dataset = Noise(fault=fault)
    items = chosen(dataset, "train")
    with pytest.raises(MechlabError, match=sentence):
        features(dataset, items, extractor, root=tmp_path)
    assert [path for path in tmp_path.iterdir() if path.suffix != ".lock"] == []
    dataset.fault = None
    assert features(dataset, items, extractor, root=tmp_path).values.any()


def test_what_a_killed_process_left_is_removed(dataset: Noise, extractor: Extractor, tmp_path: Path) -> None:
    items = chosen(dataset, "train")
    spec = feature_spec(dataset.name, items, extractor.origin)
    left = tmp_path / f".{spec.hash}.abc.part"
    left.mkdir()
    (left / "values.npy").touch()
    features(dataset, items, extractor, root=tmp_path)
    assert not left.exists()


def test_the_hash_covers_what_moves_a_number_and_no_path(extractor: Extractor, tmp_path: Path) -> None:
    masks = [tmp_path / name for name in ("a.png", "b.png", "c.png")]
    for mask, content in zip(masks, (b"1", b"1", b"2"), strict=True):
        mask.write_bytes(content)
    origin = extractor.origin

    def spec(*items: Item, **changes: object) -> str:
        return feature_spec("noise", items, dataclasses.replace(origin, **changes)).hash

    first = item(1, split="test", mask=str(masks[0]))
    base = spec(first)
    assert spec(dataclasses.replace(first, image="elsewhere", mask=str(masks[1]))) == base
    others = [
        spec(dataclasses.replace(first, mask=str(masks[2]))),
        spec(dataclasses.replace(first, sha256="f" * 64)),
        spec(dataclasses.replace(first, defect="cut")),
        spec(dataclasses.replace(first, label=0)),
        spec(first, first),
        spec(first, dim=9),
        spec(first, layers=("layer1",)),
        spec(first, image_size=33),
        spec(first, weights_id="random-1"),
        spec(first, normalisation="other"),
        spec(first, backbone="other"),
    ]
    assert len({base, *others}) == len(others) + 1


def test_items_of_two_splits_are_a_callers_mistake(
    dataset: Noise, extractor: Extractor, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="of one class and split"):
        features(dataset, dataset.items("dots"), extractor, root=tmp_path)
    with pytest.raises(ValueError, match="of one class and split"):
        features(dataset, (), extractor, root=tmp_path)


@pytest.mark.parametrize(
    ("patience", "quiet", "shown"), [(-1.0, False, True), (60.0, False, False), (-1.0, True, False)]
)
def test_a_bar_appears_on_standard_error_after_a_while(
    dataset: Noise,
    extractor: Extractor,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    patience: float,
    quiet: bool,
    shown: bool,
) -> None:
    monkeypatch.setattr(cache, "PATIENCE_SECONDS", patience)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    features(dataset, chosen(dataset, "train"), extractor, root=tmp_path, quiet=quiet)
    told = capsys.readouterr()
    assert told.out == ""
    assert ("features of dots/train" in told.err) == shown
