"""Bit-identical repetition: seeds, threads, and a data order that depends on (seed, task, epoch) alone."""

import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int

import mechlab


def settle(*, seed: int, threads: int | None) -> None:
    """Seed torch, ask for deterministic kernels, and fix the number of threads.

    Sums over threads are ordered by their number, so a run repeats bit for bit only with as many.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    torch.manual_seed(seed)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.allow_tf32 = False  # a precision is asked for, never slipped in (`precision.py`)
    # It would fill every new tensor with NaN, which costs some percent of a step and finds nothing here.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def begin_task(*, seed: int, task: int) -> None:
    """Seed torch for a task, so that e.g. dropout is the same where a run resumes between two tasks."""
    torch.manual_seed(int(np.random.SeedSequence([seed, task]).generate_state(1)[0]))


def order(count: int, *, seed: int, task: int, epoch: int) -> Int[np.ndarray, " item"]:
    """Return the order in which an epoch visits its images; it depends on nothing that ran before."""
    return np.random.default_rng([seed, task, epoch]).permutation(count)


def provenance(device: torch.device) -> dict[str, Any]:
    """Return versions, machine, device and commit: what is kept beside a run and never hashed."""
    here = Path(__file__).parent
    try:
        commit = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        commit = "unknown"
    return {
        "mechlab": mechlab.__version__,
        "commit": commit,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "processors": os.cpu_count(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "threads": torch.get_num_threads(),
    }
