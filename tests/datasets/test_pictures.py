"""Reading image files: sizes, modes, and every way in which a file can be damaged."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mechlab.errors import MechlabError
from reproductions.datasets.pictures import read_image, read_mask, resized, resized_mask


def test_a_picture_of_the_right_size_is_untouched(tmp_path: Path, rng: np.random.Generator) -> None:
    values = rng.integers(0, 255, (12, 12, 3), dtype=np.uint8)
    Image.fromarray(values).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png", 12), values)


def test_shrinking_averages_instead_of_picking(rng: np.random.Generator) -> None:
    """Without antialias one white pixel in a hundred would vanish or fill a whole pixel."""
    values = np.zeros((100, 100, 3), dtype=np.uint8)
    values[50, 50] = 255
    small = resized(values, 10)
    assert 1 <= small.max() <= 8
    constant = np.full((50, 70, 3), 77, dtype=np.uint8)
    assert (resized(constant, 20) == 77).all()


def test_masks_keep_two_values_when_resized() -> None:
    mask = np.zeros((40, 40), dtype=bool)
    mask[10:30, 20:40] = True
    np.testing.assert_array_equal(resized_mask(mask, 20), mask[::2, ::2])
    assert resized_mask(mask, 80).mean() == mask.mean()


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "I;16"])
def test_every_mode_gives_rgb_and_a_mask(tmp_path: Path, mode: str) -> None:
    grey = np.zeros((16, 16), dtype=np.uint8)
    grey[4:8, 4:8] = 255
    picture = (
        Image.fromarray(grey.astype(np.uint16) * 257)
        if mode == "I;16"
        else Image.fromarray(grey).convert(mode)
    )
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    picture.save(path, quality=100) if mode == "CMYK" else picture.save(path)
    image = read_image(path, 16)
    assert image.shape == (16, 16, 3)
    assert abs(int(image[6, 6].max()) - 255) <= 3 and int(image[0, 0].max()) <= 3
    if mode != "CMYK":
        np.testing.assert_array_equal(read_mask(path, 16), grey > 0)


def test_sixteen_bit_grey_keeps_its_shades(tmp_path: Path) -> None:
    shades = np.array([[0, 1, 100, 255]], dtype=np.uint16).repeat(4, axis=0)
    Image.fromarray(shades * 257).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png", 4)[..., 1], shades)


def test_mask_values_of_one_are_defects(tmp_path: Path) -> None:
    values = np.eye(8, dtype=np.uint8)
    Image.fromarray(values).save(tmp_path / "m.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png", 8), values > 0)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.6, 0.98], ids=["empty", "header", "half", "tail"])
def test_a_truncated_image_is_told_by_name(
    tmp_path: Path, rng: np.random.Generator, suffix: str, share: float
) -> None:
    path = tmp_path / f"part{suffix}"
    Image.fromarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(MechlabError, match=f"part{suffix}'.*damaged"):
        read_image(path, 32)


def test_a_text_that_calls_itself_an_image_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("hello")
    with pytest.raises(MechlabError, match=r"a\.png' is no jpg, png or bmp image"):
        read_mask(tmp_path / "a.png", 8)
    with pytest.raises(MechlabError, match=r"b\.png' does not exist"):
        read_image(tmp_path / "b.png", 8)
