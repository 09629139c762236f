"""Checkpoints: weights, optimiser, generator states and position, in safetensors and JSON; never pickle.

A checkpoint is a folder that is whole or absent. The data order needs no state: it is a function of
(seed, task, epoch), see `determinism.order`.
"""

import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mechlab.errors import MechlabError
from mechlab.files import read_json, staged_folder, write_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Where a run stands: the next epoch of a task, the step, and how much of a recording is committed."""

    task: int
    epoch: int  # epochs of this task that are done
    step: int  # optimiser steps of the whole run that are done
    losses: tuple[float, ...] = ()  # of this task so far
    recorded: tuple[int, ...] = ()  # committed segments of the recording made during training, one a rank


def save(
    path: Path, module: nn.Module, *, position: Position, optimizer: torch.optim.Optimizer | None
) -> None:
    """Write a checkpoint folder atomically."""
    with staged_folder(path) as stage:
        weights = {name: value.detach().contiguous().cpu() for name, value in module.state_dict().items()}
        _write(weights, stage / "weights.safetensors")
        generators = {"cpu": torch.get_rng_state()}
        if torch.cuda.is_available():
            generators |= {
                f"cuda.{index}": state for index, state in enumerate(torch.cuda.get_rng_state_all())
            }
        _write(generators, stage / "generators.safetensors")
        if optimizer is not None:
            _write(_optimizer_tensors(optimizer), stage / "optimizer.safetensors")
        write_json(stage / "position.json", asdict(position))


def _write(tensors: dict[str, Tensor], file: Path) -> None:
    """Write a safetensors file; a fault of the disk is an OSError, as of any other file."""
    try:
        save_file(tensors, file)
    except SafetensorError as fault:
        number = re.search(r"os error (\d+)", str(fault))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1])), str(file)) from fault


def position(path: Path) -> Position:
    """Read where a checkpoint stands."""
    value: dict[str, Any] = read_json(path / "position.json")
    return Position(**(value | {"losses": tuple(value["losses"]), "recorded": tuple(value["recorded"])}))


def load_weights(path: Path, module: nn.Module) -> None:
    """Load a checkpoint's weights; a damaged file or another architecture is a sentence."""
    file = path / "weights.safetensors"
    try:
        module.load_state_dict(load_file(file))
    except FileNotFoundError as fault:
        raise MechlabError(f"checkpoint '{path}' has no weights; train the run again.") from fault
    except (SafetensorError, RuntimeError) as fault:
        raise MechlabError(
            f"'{file}' does not fit this model or is damaged ({str(fault).splitlines()[0]}); "
            "train the run again."
        ) from fault


def load_state(path: Path, optimizer: torch.optim.Optimizer) -> None:
    """Restore the optimiser and the generators of a checkpoint taken inside a task."""
    generators = load_file(path / "generators.safetensors")
    torch.set_rng_state(generators["cpu"])
    if torch.cuda.is_available():
        torch.cuda.set_rng_state_all([value for name, value in sorted(generators.items()) if name != "cpu"])
    tensors = load_file(path / "optimizer.safetensors")
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    state = optimizer.state_dict()["state"]
    return {
        f"{index}.{name}": torch.as_tensor(value).detach().contiguous().cpu().clone()
        for index, values in state.items()
        for name, value in values.items()
    }
