"""Norms of rows, without a new buffer in any step after the first.

Small buffers that outlive a layer keep the allocator from reusing the layer's large ones; so every number
has its place, which is filled again in the next step. Source: numerics notes, "Recording overhead", point
1.
"""

from collections import deque

import torch
from torch import Tensor
from torch.utils.weak import TensorWeakRef


class RowNorms:
    """Euclidean norms of rows, computed once for a tensor that several layers share.

    A layer and its low-rank branch read one tensor and get one gradient. Tensors are held weakly, so that
    none lives longer than without recording. A norm is valid until `clear`.
    """

    def __init__(self, *, held: int = 4) -> None:
        """Remember the norms of the last `held` tensors only: sharers come soon after one another."""
        self.known: deque[tuple[TensorWeakRef, int, Tensor]] = deque(maxlen=held)
        self.places: list[Tensor] = []
        self.used = 0

    def of(self, rows: Tensor) -> Tensor:
        """Return the norm over the last axis of a tensor as it is now, in float32 at least."""
        version = rows._version
        for held, then, norm in self.known:
            if then == version and held() is rows:
                return norm
        exact = rows.detach() if rows.dtype in (torch.float32, torch.float64) else rows.detach().float()
        place = self._place(exact)
        torch.linalg.vector_norm(exact, dim=-1, out=place)
        self.known.append((TensorWeakRef(rows), version, place))
        return place

    def _place(self, rows: Tensor) -> Tensor:
        if self.used == len(self.places):
            self.places.append(rows.new_empty(0))
        place = self.places[self.used]
        if place.shape != rows.shape[:-1] or place.dtype != rows.dtype or place.device != rows.device:
            place = self.places[self.used] = rows.new_empty(rows.shape[:-1])
        self.used += 1
        return place

    def clear(self) -> None:
        """Forget everything; the places are free again."""
        self.known.clear()
        self.used = 0
