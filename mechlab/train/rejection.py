"""Images of no task: farther from the task that they are routed to than its held-out normals are.

A rejected image is still scored, by the nearest expert, since something has to be said of it; it is marked.
Source: notes 004 L7020 (images out of distribution as a router's failure); Vovk, Gammerman & Shafer 2005.
"""

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from mechlab.errors import MechlabError
from mechlab.metrics.threshold import promised_rate, threshold_from_normals
from mechlab.train.routing import Normals, Routing
from mechlab.train.scoring import distances_of
from mechlab.train.stage import Trainable


def accepting(
    routing: Routing, system: Trainable, normals: Normals, *, tasks: int, device: torch.device
) -> Routing:
    """Return the routing with the largest distance that each task accepts, or as it is where none rejects.

    It is the conformal threshold of the task's own held-out normals: at most the wanted share of further
    normals is rejected, or 1 / (n + 1) where n of them cannot promise less.

    Raises:
        MechlabError: a task without held-out normals.
    """
    wanted, found = routing.router.rejects, []
    for task in range(tasks if wanted else 0):
        held = np.concatenate([normals.held_out(name) for name in normals.tasks[task]])
        if not len(held):
            raise MechlabError(
                f"router '{routing.router}' rejects by held-out normals, and task {task} has none; train "
                "with --set holdout=0.1, or leave the rejection out."
            )
        own = distances_of(system, held, routing, tasks=tasks, device=device)[:, task]
        rate = promised_rate(len(own), wanted=wanted)
        finite = np.nan_to_num(own, posinf=np.finfo(np.float64).max)  # not among the first stage's nearest
        found.append(threshold_from_normals(finite, false_positive_rate=rate))
    return replace(routing, limits=tuple(found))


def rejected(
    routing: Routing, distances: Float[np.ndarray, "item task"], routes: Int[np.ndarray, " item"]
) -> Bool[np.ndarray, " item"] | None:
    """Return which images are farther than the task of their route accepts; None where none rejects."""
    if not routing.limits:
        return None
    return np.asarray(distances[np.arange(len(routes)), routes] > np.array(routing.limits)[routes])


def rejection_rates(
    refused: Bool[np.ndarray, " item"], labels: Int[np.ndarray, " item"]
) -> dict[str, float | None]:
    """Return the shares of normal and of defective images that are rejected; None without such images."""
    return {
        f"rejected_{name}": float(refused[labels == label].mean()) if (labels == label).any() else None
        for label, name in ((0, "normal"), (1, "defective"))
    }
