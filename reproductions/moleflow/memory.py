"""What a run remembers of the tasks before: tensors by name, saved with the weights.

Their number and sizes are known only when a task ends (ranks of bases, images of a bank): a checkpoint says
what there is.
"""

from typing import Any

import torch
from torch import Tensor, nn


class Memory(nn.Module):
    """Buffers by dotted name; loading replaces them all by what the file holds."""

    place: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("place", torch.zeros(0), persistent=False)  # says on which device

    def keep(self, name: str, value: Tensor) -> None:
        """Remember a tensor, in place of an earlier one of that name; no gradient stays with it."""
        key = _key(name)
        if key in self._buffers:
            del self._buffers[key]
        self.register_buffer(key, value.detach().to(self.place.device).clone().contiguous())

    def forget(self, name: str) -> None:
        """Drop a tensor."""
        del self._buffers[_key(name)]

    def __getitem__(self, name: str) -> Tensor:
        """Return a tensor; KeyError where there is none."""
        value = self._buffers[_key(name)]
        assert value is not None
        return value

    def names(self, prefix: str) -> tuple[str, ...]:
        """Return the names that begin with `prefix` and a dot, without both.

        Sorted, so that sums over them are the same to the bit after loading.
        """
        start = _key(f"{prefix}.")
        found = [key.removeprefix(start) for key in self._buffers if key.startswith(start)]
        return tuple(sorted(key.replace("/", ".") for key in found))

    def bytes(self, prefix: str) -> int:
        """Return the size of the tensors whose names begin with `prefix`."""
        return sum(self[f"{prefix}.{name}"].nbytes for name in self.names(prefix))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:  # noqa: ANN401
        held = {key for key in self._buffers if key not in self._non_persistent_buffers_set}
        given = [key.removeprefix(prefix) for key in state_dict if key.startswith(prefix)]
        for key in held - set(given):
            del self._buffers[key]
        for key in given:
            value = state_dict[prefix + key]
            if key not in held or self._buffers[key].shape != value.shape:  # type: ignore[union-attr]
                self._buffers.pop(key, None)
                self.register_buffer(key, torch.empty_like(value, device=self.place.device))
        super()._load_from_state_dict(state_dict, prefix, *rest)


def _key(name: str) -> str:
    return name.replace(".", "/")  # torch allows no dot in the name of a buffer
