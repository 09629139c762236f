"""Where a training runs: the words of `--device` and `--devices`, through lightning.fabric."""

import torch
from lightning.fabric import Fabric

from mechlab.errors import MechlabError

KNOWN = ("auto", "cpu", "cuda")


def fabric(device: str, *, devices: int = 1) -> Fabric:
    """Return the Fabric of a device; a device that is absent is a sentence.

    Args:
        device: "auto" (CUDA where there is one), "cpu" or "cuda".
        devices: how many; a MoLE-Flow run of this release uses one.
    """
    if device not in KNOWN:
        raise MechlabError(f"device '{device}' is unknown; give one of {', '.join(KNOWN)}.")
    if device == "cuda" and not torch.cuda.is_available():
        raise MechlabError("device 'cuda' was asked for, but torch sees no CUDA device; give --device cpu.")
    if devices != 1:
        raise MechlabError(
            f"devices {devices} was asked for; this release trains on one device: give --devices 1."
        )
    chosen = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    return Fabric(accelerator=chosen, devices=1)
