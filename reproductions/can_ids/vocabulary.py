"""Which CAN ids does a detector know? Those of the training logs; every other id shares one further index.

Source: notes 003; arXiv:2507.19686 (graphs of CAN ids with an embedding an id).
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64, UInt32

from mechlab.errors import MechlabError
from mechlab.files import canonical_json, sha256_bytes


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Ids in ascending order; the index of an id is its place, and `unknown` that of every other id."""

    known: tuple[int, ...]

    @classmethod
    def of(cls, ids: Iterable[UInt32[np.ndarray, " _"]]) -> "Vocabulary":
        """Return the ids of some logs. Give training logs alone: an id of a test log must stay unknown.

        Raises:
            MechlabError: no message at all.
        """
        found = [np.unique(each) for each in ids]
        if not found or not sum(each.size for each in found):
            raise MechlabError("a vocabulary needs at least one message of a training log; none was given.")
        return cls(tuple(np.unique(np.concatenate(found)).tolist()))

    @property
    def unknown(self) -> int:
        """The index of an id that no training log holds."""
        return len(self.known)

    @property
    def size(self) -> int:
        """How many indices there are, `unknown` among them: the rows that an embedding needs."""
        return len(self.known) + 1

    @property
    def digest(self) -> str:
        """The first 12 hex digits of the SHA-256 of the ids: what a teacher and a student must share."""
        return sha256_bytes(canonical_json(list(self.known)).encode())[:12]

    def index(self, ids: UInt32[np.ndarray, " message"]) -> Int64[np.ndarray, " message"]:
        """Return the index of each id; that of an id which is not known is `unknown`."""
        known = np.asarray(self.known, dtype=np.uint32)
        place = np.minimum(np.searchsorted(known, ids), known.size - 1)
        return np.where(known[place] == ids, place, self.unknown).astype(np.int64)
