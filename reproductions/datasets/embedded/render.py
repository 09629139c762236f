"""One picture of the embedded data set, from its four coordinates alone: class, split, defect, number.

The defect's mask is not drawn: the part is painted with and without its defect from the same random
numbers, before light and sensor noise, and the mask is where the two differ.
"""

from dataclasses import dataclass
from functools import lru_cache
from types import ModuleType

import numpy as np
from jaxtyping import Bool, Float, UInt8
from scipy.ndimage import binary_closing, binary_fill_holes

from mechlab.files import sha256_bytes
from reproductions.datasets.embedded import board, gear, weave
from reproductions.datasets.embedded.camera import photograph
from reproductions.datasets.embedded.flaw import Flaw

VERSION = 1  # raise it whenever a pixel changes: it is part of the identity of every picture
PARTS: dict[str, ModuleType] = {"gear": gear, "weave": weave, "board": board}
VISIBLE = 12.0  # grey levels (0..255, largest of the channels) from which a difference counts as defect


@dataclass(frozen=True, slots=True, kw_only=True)
class Coordinates:
    """What identifies a picture; its text is also the seed of its random numbers."""

    class_name: str
    split: str
    defect: str  # "good" for a normal part
    number: int

    def __str__(self) -> str:
        """Return `<class>/<split>/<defect>/<number>`."""
        return f"{self.class_name}/{self.split}/{self.defect}/{self.number:03d}"

    @property
    def identity(self) -> str:
        """SHA-256 of the program's version and the coordinates: it stands for the pixels, none is drawn."""
        return sha256_bytes(f"mechlab embedded {VERSION}: {self}".encode())

    def generator(self, purpose: str) -> np.random.Generator:
        """Return the generator of one purpose: part, flaw or camera."""
        words = np.frombuffer(bytes.fromhex(sha256_bytes(f"{self.identity} {purpose}".encode())), dtype="<u4")
        return np.random.default_rng(words.tolist())


@lru_cache(maxsize=32)  # image and mask of one item are asked for one after the other
def render(at: Coordinates) -> tuple[UInt8[np.ndarray, "height width 3"], Bool[np.ndarray, "height width"]]:
    """Return the picture and its mask, read-only."""
    paint = PARTS[at.class_name].paint
    clean = paint(at.generator("part"), Flaw(kind="good", rng=at.generator("flaw")))
    painted, mask = clean, np.zeros(clean.shape[:2], dtype=bool)
    if at.defect != "good":
        painted = paint(at.generator("part"), Flaw(kind=at.defect, rng=at.generator("flaw")))
        mask = changed(clean, painted)
    picture = photograph(painted, at.generator("camera"))
    picture.flags.writeable = mask.flags.writeable = False
    return picture, mask


def changed(
    clean: Float[np.ndarray, "height width 3"], painted: Float[np.ndarray, "height width 3"]
) -> Bool[np.ndarray, "height width"]:
    """Return where two paintings differ visibly; gaps of up to two pixels inside are filled."""
    visible = np.abs(painted - clean).max(axis=-1) >= VISIBLE
    closed = binary_closing(np.pad(visible, 2), np.ones((3, 3), dtype=bool), iterations=1)[2:-2, 2:-2]
    return np.asarray(binary_fill_holes(closed | visible), dtype=bool)
