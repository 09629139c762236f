"""Passes of a training step besides that of its batch, kept from hooks.

A recording says of which images its rows are: those of the step's batch. Replayed images, noised inputs and
an earlier task's expert go through the same modules in the same step, so hooks must not take them for it.
"""

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def unwatched(system: nn.Module) -> Iterator[None]:
    """Let no forward hook see the passes of the block; the hooks are back after it, also after an error."""
    held = [
        (module, module._forward_hooks, module._forward_pre_hooks)
        for module in system.modules()
        if module._forward_hooks or module._forward_pre_hooks
    ]
    try:
        for module, *_ in held:
            module._forward_hooks, module._forward_pre_hooks = OrderedDict(), OrderedDict()
        yield
    finally:
        for module, after, before in held:
            module._forward_hooks, module._forward_pre_hooks = after, before
