"""One picture of the embedded data set, from its four coordinates alone: class, split, defect, number.

The defect's mask is not drawn: the part is painted with and without its defect from the same random
numbers, before light and sensor noise, and the mask is where the two differ.
"""

from dataclasses import dataclass
from functools import lru_cache
from types import ModuleType

import numpy as np
from jaxtyping import Bool, Float, UInt8
from scipy.ndimage import binary_closing, binary_fill_holes, label

from mechlab.files import sha256_bytes
from mechlab.specs import Split
from reproductions.datasets.embedded import board, gear, weave
from reproductions.datasets.embedded.camera import photograph
from reproductions.datasets.embedded.flaw import Flaw

VERSION = 1  # raise it whenever a pixel changes: it is part of the identity of every picture
PARTS: dict[str, ModuleType] = {"gear": gear, "weave": weave, "board": board}
VISIBLE = 8.0  # grey levels (0..255, largest of the channels) from which a difference counts as defect
GAP = 2  # pixels: twice as wide a gap inside a defect belongs to it
SPECK = 8  # pixels: a smaller region beside a larger one is no part of it


@dataclass(frozen=True, slots=True, kw_only=True)
class Coordinates:
    """What identifies a picture; its text is also the seed of its random numbers."""

    class_name: str
    split: Split
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
    """Return where two paintings differ visibly, as whole patches: small gaps are filled, specks dropped."""
    visible = np.abs(painted - clean).max(axis=-1) >= VISIBLE
    reach = np.ones((2 * GAP + 1, 2 * GAP + 1), dtype=bool)
    closed = binary_closing(np.pad(visible, GAP), reach)[GAP:-GAP, GAP:-GAP]
    regions, count = label(binary_fill_holes(closed), np.ones((3, 3), dtype=bool))
    areas = np.bincount(regions.ravel(), minlength=count + 1)
    keep = areas >= min(SPECK, int(areas[1:].max(initial=0)))
    keep[0] = False
    return np.asarray(keep[regions], dtype=bool)
