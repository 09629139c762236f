"""How much memory does a step take, what does a teacher add, and how many windows fit?

The largest number of bytes that are allocated at once in a step (forward, backward, optimiser), by PyTorch's
own records on the CPU, and with them parameters, moments of AdamW and teacher, which outlast the step. A GPU
rounds and caches, which is what the safety factors are for. Source of the factors: notes 003, "Safety factor
adjustments", which take a quarter off for a teacher.
"""

import os
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from mechlab.errors import MechlabError
from mechlab.runs.request import TrainRequest
from mechlab.train import scopes
from reproductions.can_ids.resolution import DetectorPlan, resolve
from reproductions.can_ids.system import Detector

FACTORS = {"hcrl_ch": 0.6, "hcrl_sa": 0.55, "set_01": 0.55, "set_02": 0.35, "set_03": 0.35, "set_04": 0.35}
TAUGHT = {"hcrl_ch": 0.45, "hcrl_sa": 0.41, "set_01": 0.41, "set_02": 0.26, "set_03": 0.26, "set_04": 0.26}
USUAL, USUAL_TAUGHT = 0.5, 0.38  # of any other data set
SEEN = (16, 32)  # windows of the two steps that are counted


def safety_factor(dataset: str, *, is_distilled: bool) -> float:
    """Return the share of a memory that a step may take, by the table of the notes."""
    if is_distilled:
        return TAUGHT.get(dataset, USUAL_TAUGHT)
    return FACTORS.get(dataset, USUAL)


def peak_bytes(detector: Detector, windows: int) -> int:
    """Return the largest number of bytes that a step of the first `windows` windows holds at once."""
    stage = detector.stage(0)
    scopes.apply(detector, stage)
    optimizer = scopes.optimizer(detector, stage)
    items = torch.arange(windows, dtype=torch.float64).reshape(-1, 1, 1, 1)
    detector.train()

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        detector.loss(items, task=0).total.backward()
        optimizer.step()

    step()  # the moments are there from now on
    optimizer.zero_grad(set_to_none=True)
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # its own progress is no news to a user
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        step()
    records = [one for one in seen.profiler.kineto_results.events() if one.name() == "[memory]"]
    records.sort(key=lambda one: one.start_ns())
    allocated = np.cumsum([one.nbytes() for one in records])
    moments = sum(value.nbytes for state in optimizer.state.values() for value in state.values())
    return int(allocated.max(initial=0)) + _parameters(detector) + moments


def _parameters(module: nn.Module) -> int:
    return sum(value.nbytes for value in module.parameters())


def forecast(request: TrainRequest, *, gigabytes: float) -> dict[str, Any]:
    """Return bytes a step, bytes a window, what a teacher adds, and the windows that fit into a memory.

    `teacher_adds` is the share by which a step of `SEEN[1]` windows grows; None without a teacher.

    Raises:
        MechlabError: what a training of the request would be refused for, too few windows, or no room for
            one.
    """
    made = resolve(request)
    if len(made.plan.inputs.fitting(0)) < SEEN[1]:
        raise MechlabError(
            f"memory is counted on {SEEN[1]} windows, and there are {len(made.plan.inputs.fitting(0))}; add "
            "logs."
        )
    few, many = (peak_bytes(_detector(made), count) for count in SEEN)
    a_window = (many - few) / (SEEN[1] - SEEN[0])
    fixed = few - a_window * SEEN[0]
    factor = safety_factor(made.place.dataset, is_distilled=made.teacher is not None)
    room = factor * gigabytes * 1e9 - fixed
    if room < a_window:
        raise MechlabError(
            f"{gigabytes:g} GB times the safety factor {factor:g} hold no window of this model; give more."
        )
    alone = peak_bytes(_detector(made, is_taught=False), SEEN[1])
    return {
        "fixed_bytes": round(fixed),
        "bytes_a_window": round(a_window),
        "safety_factor": factor,
        "batch_size": int(np.floor(room / a_window)),
        "teacher_adds": None if made.teacher is None else many / alone - 1,
    }


def _detector(made: DetectorPlan, *, is_taught: bool = True) -> Detector:
    teacher = made.teacher.model if made.teacher is not None and is_taught else None
    return Detector(made.config, made.plan.inputs.train, seed=made.plan.spec.seed, teacher=teacher)
