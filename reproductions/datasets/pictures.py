"""Image and mask files as arrays; a file that cannot be read becomes one sentence that names it.

Images are resized to a square by Pillow's bilinear filter, which widens its support when it shrinks
(antialias); masks by nearest neighbour. Non-square images are stretched.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Integer, UInt8
from PIL import Image, UnidentifiedImageError

from mechlab.errors import MechlabError

RESIZE = "resize-bilinear-antialias"  # part of every FeatureSpec
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Open an image file; Pillow's many faults for damaged files become a MechlabError."""
    try:
        with Image.open(path) as picture:
            yield picture
    except FileNotFoundError as fault:
        raise MechlabError(
            f"image '{path}' does not exist; check the folder, or run the command again."
        ) from fault
    except PermissionError as fault:
        raise MechlabError(f"image '{path}' may not be read; change its permissions.") from fault
    except UnidentifiedImageError as fault:
        raise MechlabError(
            f"'{path}' is no jpg, png or bmp image or is damaged; replace or remove it."
        ) from fault
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as fault:
        raise MechlabError(f"image '{path}' is damaged ({fault}); replace or remove it.") from fault


def picture_size(path: Path) -> tuple[int, int]:
    """Return (width, height) in pixels from the header of a file."""
    with _opened(path) as picture:
        return picture.size


def read_image(path: Path, size: int) -> UInt8[np.ndarray, "height width 3"]:
    """Read one RGB image of size x size pixels; grey becomes three equal channels, alpha is dropped."""
    with _opened(path) as picture:
        if picture.mode.startswith(("I", "F")):
            eight_bit = np.asarray(picture, dtype=np.float64) / 257  # 16-bit grey
            picture = Image.fromarray(np.clip(np.rint(eight_bit), 0, 255).astype(np.uint8))
        return resized(np.asarray(picture.convert("RGB")), size)


def read_mask(path: Path, size: int) -> Bool[np.ndarray, "height width"]:
    """Read one mask of size x size pixels: every grey value above zero is defect, alpha is ignored."""
    return resized_mask(read_values(path) > 0, size)


def read_values(path: Path) -> Integer[np.ndarray, "height width"]:
    """Read the grey values of a mask as they are stored, alpha ignored."""
    with _opened(path) as picture:
        return np.asarray(picture if picture.mode.startswith("I") else picture.convert("L"))


def resized(image: UInt8[np.ndarray, "_ _ 3"], size: int) -> UInt8[np.ndarray, "height width 3"]:
    """Resize an RGB image to size x size by the bilinear filter with antialias."""
    if image.shape[:2] == (size, size):
        return image
    return np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR))


def resized_mask(mask: Bool[np.ndarray, "_ _"], size: int) -> Bool[np.ndarray, "height width"]:
    """Resize a mask to size x size by nearest neighbour."""
    if mask.shape == (size, size):
        return mask
    return np.asarray(Image.fromarray(mask).resize((size, size), Image.Resampling.NEAREST))
