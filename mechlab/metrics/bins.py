"""Counts over scores in bins that are fixed beforehand, so that the counts of any batches add up.

A float32 read as an integer, with the order of its sign mended, ascends as the number does; a bin is all
numbers that share its leading bits. How many bits follows from the data alone: at first all 32, and one less
whenever the numbers seen occupy more cells than there may be. A coarser bin is two finer ones, so the counts
of two batches, and of two ranks, add up to those of all numbers together, in whatever order and to the last
bit. No range is asked for, and an outlier takes cells of its own from none of the others.
"""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int, Num, UInt32

CELLS = 1 << 18
TRUNK = 16  # leading bits by which cells are allotted: sign, exponent and 7 of the mantissa


def ordered_bits(values: Float[np.ndarray, " n"]) -> UInt32[np.ndarray, " n"]:
    """Return float32 values as integers in the same order; -0 equals 0, and equal floats are equal integers.

    float64 values are rounded to float32. Raises ValueError for NaN.
    """
    with np.errstate(over="ignore"):
        single = values.astype(np.float32, copy=False)
    if np.isnan(single).any():
        raise ValueError("maps hold NaN; a NaN has no rank")
    bits = (single + np.float32(0)).view(np.int32)  # -0 + 0 is 0
    return ((bits >> 31).view(np.uint32) | np.uint32(1 << 31)) ^ bits.view(np.uint32)


@dataclass(eq=False)
class Bins:
    """Named counts over float32 scores: integers, or sums of float64 where a name begins with `~`."""

    names: tuple[str, ...]
    cells: int = CELLS
    fine: int = 32 - TRUNK  # bits kept behind the trunk
    place: Int[np.ndarray, " trunk"] = field(default_factory=lambda: np.full(1 << TRUNK, -1))
    trunks: list[int] = field(default_factory=list)  # in the order in which they got their cells
    counts: dict[str, Num[np.ndarray, " cell"]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Make room for all cells at once."""
        if self.cells < 1 << TRUNK:
            raise ValueError(f"{self.cells} cells are too few; give {1 << TRUNK} or more")
        for name in self.names:
            kind = np.float64 if name.startswith("~") else np.int64
            self.counts.setdefault(name, np.zeros(self.cells, dtype=kind))

    def cells_of(self, bits: UInt32[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
        """Return the cell of each ordered number, allotting and folding cells where that is needed.

        Cells stay valid until the next call.
        """
        trunk = bits >> np.uint32(32 - TRUNK)
        found = self.place[trunk]
        if found.size and found.min() < 0:
            self._allot(np.unique(trunk[found < 0]).tolist())
            found = self.place[trunk]
        branch = (bits >> np.uint32(32 - TRUNK - self.fine)) & np.uint32((1 << self.fine) - 1)
        return np.asarray((found << self.fine) + branch)

    def add(self, name: str, cells: Int[np.ndarray, " n"], amount: np.ndarray | int = 1) -> None:
        """Add to a count at cells that `cells_of` has just given."""
        np.add.at(self.counts[name], cells, amount)

    def merged(self, other: "Bins") -> "Bins":
        """Return the bins of the numbers of both; ValueError for other names or sizes."""
        if (self.names, self.cells) != (other.names, other.cells):
            raise ValueError("bins of other names or sizes do not add up")
        found = Bins(self.names, self.cells)
        found._fold_to(min(self.fine, other.fine))
        found._allot([*self.trunks, *(trunk for trunk in other.trunks if self.place[trunk] < 0)])
        for part in (self, other):
            for trunk in part.trunks:
                mine, theirs = found._slice(trunk), part._slice(trunk)
                for name in self.names:
                    folded = part.counts[name][theirs].reshape(1 << found.fine, -1).sum(axis=1)
                    found.counts[name][mine] += folded
        return found

    def ascending(self, name: str) -> Num[np.ndarray, " cell"]:
        """Return a count by ascending score, cells of the occupied trunks alone."""
        used = self.counts[name][: len(self.trunks) << self.fine].reshape(len(self.trunks), -1)
        return used[np.argsort(self.trunks)].reshape(-1)

    def place_of(self, bits: UInt32[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
        """Return where ordered numbers that were once given to `cells_of` stand in `ascending`."""
        order = np.empty(len(self.trunks), dtype=np.int64)
        order[np.argsort(self.trunks)] = np.arange(len(self.trunks))
        cells = self.cells_of(bits)
        return np.asarray((order[cells >> self.fine] << self.fine) + (cells & ((1 << self.fine) - 1)))

    def _slice(self, trunk: int) -> slice:
        start = int(self.place[trunk]) << self.fine
        return slice(start, start + (1 << self.fine))

    def _allot(self, trunks: list[int]) -> None:
        needed = len(self.trunks) + len(trunks)
        fine = self.fine
        while needed << fine > self.cells:
            fine -= 1
        self._fold_to(fine)
        self.place[trunks] = np.arange(len(self.trunks), needed)
        self.trunks += trunks

    def _fold_to(self, fine: int) -> None:
        """Join neighbouring cells until `fine` bits are left behind the trunk."""
        if fine == self.fine:
            return
        used = len(self.trunks) << self.fine
        for count in self.counts.values():
            folded = count[:used].reshape(-1, 1 << (self.fine - fine)).sum(axis=1)
            count[:used] = 0
            count[: folded.size] = folded
        self.fine = fine
