"""Hooks that bring together what a layer reads and the gradient of what it gives.

The input is taken when the layer returns and the gradient from a hook on the output tensor, so that an
in-place operation afterwards changes neither. Source: numerics notes, "Per-patch gradient norms", (v).
"""

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor, nn

from mechlab.errors import MechlabError
from mechlab.instrument.convolution import CONVOLUTIONS, refuse_unpadded
from mechlab.instrument.sink import Sink
from mechlab.instrument.sites import Layer
from mechlab.instrument.tap import Removal, remove_all

Seen = Callable[[Layer, Tensor], Tensor]  # (layer, its input) -> what is kept until the gradient comes
Met = Callable[[str, Layer, Tensor, Tensor], None]  # (path, layer, what was kept, gradient of its output)


class LayerWatch:
    """Calls `seen` and `met` for each of some layers, once a step; a second time is a MechlabError."""

    def __init__(
        self,
        layers: Mapping[str, Layer],
        sink: Sink,
        *,
        seen: Seen,
        met: Met,
        is_active: Callable[[], bool],
    ) -> None:
        """Hook the layers; the hooks do nothing while `is_active` says no."""
        self.seen, self.met, self.is_active = seen, met, is_active
        self.called: set[str] = set()
        self.answered: set[str] = set()
        self._take, self._meet = sink.timed(self.take), sink.timed(self.meet)
        self.removals: list[Removal] = [
            layer.register_forward_hook(partial(self._after, name), with_kwargs=True).remove
            for name, layer in layers.items()
        ]

    def _after(
        self,
        name: str,
        layer: Layer,
        inputs: tuple[Tensor, ...],
        named: dict[str, Tensor],
        output: Tensor,
    ) -> None:
        if self.is_active() and output.requires_grad and torch.is_grad_enabled():
            self._take(name, layer, inputs[0] if inputs else named["input"], output)

    def take(self, name: str, layer: Layer, rows: Tensor, output: Tensor) -> None:
        """Keep what is needed of a layer's input, and wait for its output's gradient."""
        if name in self.called:
            raise MechlabError(
                f"'{name}' runs twice in one step, so its rows add to the gradient together; record "
                "'gradient' instead, or leave the layer out."
            )
        self.called.add(name)
        _refuse_unbatched(name, layer, rows)
        kept = self.seen(layer, rows)
        output.register_hook(partial(self._meet, name, layer, kept))  # type: ignore[no-untyped-call]

    def meet(self, name: str, layer: Layer, kept: Tensor, gradient: Tensor) -> None:
        """Hand on a layer's output gradient."""
        if name in self.answered:
            raise MechlabError(
                f"two backward passes went through '{name}' in one step; take one step for each loss."
            )
        self.answered.add(name)
        self.met(name, layer, kept, gradient)

    def forget(self) -> None:
        """Forget the step before."""
        self.called.clear()
        self.answered.clear()

    def remove(self) -> None:
        """Take the hooks off."""
        remove_all(self.removals)


def refuse_unfit(layers: Mapping[str, Layer]) -> None:
    """Refuse layers whose rows are no terms of their own: shared weights, padding that is not zeros.

    Source: numerics notes, "Per-patch gradient norms", (iii).
    """
    owners: dict[int, str] = {}
    for name, layer in layers.items():
        first = owners.setdefault(id(layer.weight), name)
        if first != name:
            raise MechlabError(
                f"'{first}' and '{name}' share one weight, so a row's terms add up before the norm; record "
                "'gradient' instead, or choose only one of the layers."
            )
        if isinstance(layer, CONVOLUTIONS):
            refuse_unpadded(name, layer)


def _refuse_unbatched(name: str, layer: Layer, rows: Tensor) -> None:
    """Refuse one image or row without an item axis, which layers accept."""
    axes = len(layer.kernel_size) + 2 if isinstance(layer, CONVOLUTIONS) else 2
    if rows.ndim < axes:
        raise MechlabError(
            f"'{name}' was given shape {tuple(rows.shape)}, which has no item axis; give a batch, e.g. "
            "x.unsqueeze(0)."
        )


def refuse_bypassed(model: nn.Module, layers: Mapping[str, Layer]) -> None:
    """Refuse a total over layers whose weights attention uses without calling them: it would lack a part."""
    for name in layers:
        owner, _, _ = name.rpartition(".")
        if owner != name and isinstance(model.get_submodule(owner), nn.MultiheadAttention):
            raise MechlabError(
                f"'{owner}' multiplies with the weight of '{name}' itself, where no hook sees it, so a total "
                "would lack that layer; choose layers outside attention, or leave the reduction out."
            )
