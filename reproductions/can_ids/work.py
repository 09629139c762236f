"""What the session needs to know of one training, whatever is trained."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from mechlab.train.resolution import Plan
from reproductions.can_ids.places import Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A request made definite, what builds its system, and what judges it."""

    plan: Plan
    place: Place
    what: dict[str, Any]  # kept in the run's folder: what the model was trained on
    build: Callable[[torch.device], Any]  # the untrained system, on a device: `mechlab.train.stage.Trainable`
    judge: Callable[..., dict[str, Any]]  # of (the trained system, a `Judging` or nothing): metrics and more
    told: dict[str, Any] = field(default_factory=dict)  # further words of the summary
