"""Where a training runs: the words of `--device` and `--devices`; several through lightning.fabric."""

from dataclasses import dataclass
from datetime import timedelta
from importlib import import_module
from pathlib import Path

import torch
from jaxtyping import Shaped
from torch import Tensor, distributed

from mechlab.errors import MechlabError

KNOWN = ("auto", "cpu", "cuda")
# The first rank evaluates while the others wait for it, for hours if need be; a rank that fails is noticed
# by the process that started them all, not by a clock.
PATIENCE = timedelta(days=365)


def accelerator(device: str, *, devices: int = 1) -> str:
    """Return "cpu" or "cuda"; a device that is absent is a sentence.

    Args:
        device: "auto" (CUDA where there is one), "cpu" or "cuda".
        devices: how many; on the CPU each one is a process.
    """
    if device not in KNOWN:
        raise MechlabError(f"device '{device}' is unknown; give one of {', '.join(KNOWN)}.")
    if devices < 1:
        raise MechlabError(f"devices {devices} was asked for; give 1 or more.")
    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "cuda" and not there:
        raise MechlabError("device 'cuda' was asked for, but torch sees no CUDA device; give --device cpu.")
    chosen = ("cuda" if there else "cpu") if device == "auto" else device
    if chosen == "cuda" and devices > there:
        raise MechlabError(
            f"{devices} CUDA devices were asked for, but torch sees {there}; "
            f"give --devices {there} or fewer, or --device cpu."
        )
    return chosen


def device_of(word: str) -> torch.device:
    """Return the device of a word; one that is absent is a sentence."""
    return torch.device("cuda", 0) if accelerator(word) == "cuda" else torch.device("cpu")


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """One rank of several, as `mechlab.train.world.World` asks for it."""

    rank: int
    size: int
    device: torch.device

    def sum(self, values: Shaped[Tensor, "*any"]) -> Shaped[Tensor, "*any"]:
        """Return the sum over ranks, on the device where `values` were; they are overwritten."""
        there = values.to(self.device)  # nccl takes tensors of its device alone
        distributed.all_reduce(there)
        return there.to(values.device)


def joined(device: str, *, rank: int, size: int, meeting: Path) -> Joined:
    """Join a training as one of its ranks: gloo between processors, nccl between CUDA devices.

    `meeting` is a file that the ranks find one another by; LOCAL_RANK is set by whoever started this process.
    """
    chosen = accelerator(device, devices=size)
    if chosen == "cuda":
        torch.cuda.set_device(rank)
    distributed.init_process_group(
        "nccl" if chosen == "cuda" else "gloo",
        init_method=meeting.absolute().as_uri(),
        rank=rank,
        world_size=size,
        timeout=PATIENCE,
    )
    # Fabric keeps the group that is there and chooses this rank's device. The environment is named, since
    # inside a cluster's job Fabric would take the job's ranks for ours. Loaded here: it brings 70 MB along.
    environment = import_module("lightning.fabric.plugins.environments").LightningEnvironment()
    fabric = import_module("lightning.fabric").Fabric
    together = fabric(accelerator=chosen, devices=size, strategy="ddp", plugins=environment)
    together.launch()
    return Joined(rank=together.global_rank, size=together.world_size, device=together.device)
