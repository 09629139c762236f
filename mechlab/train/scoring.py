"""Patch scores of one class of images: given its task id, and routed; kept as arrays beside the metrics."""

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from jaxtyping import Float, Int

from mechlab.errors import MechlabError
from mechlab.files import sha256_bytes, write_bytes
from mechlab.metrics.maps import resampled
from mechlab.runs.router import ORACLE, Router
from mechlab.train.orientations import oriented_scores
from mechlab.train.routing import Routing
from mechlab.train.sights import Sights
from mechlab.train.stage import Trainable, Weighing, modules_of

BATCH = 16  # fixed: the batch's composition is part of what makes scores bit-identical
_ARRAYS, _WEIGHTS = ("given", "routed", "distances", "routes"), ("given_weights", "routed_weights")
Around = Callable[[int, Int[np.ndarray, " item"]], AbstractContextManager[object]]


def nothing(_task: int, _chosen: Int[np.ndarray, " item"]) -> AbstractContextManager[object]:
    """Return a block that does nothing."""
    return nullcontext()


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Scores of the images of one class."""

    given: Float[np.ndarray, "item row column"]  # by the expert of the image's task; unit: `stage.unit_of`
    routed: Float[np.ndarray, "item row column"]  # by the expert that the router chose
    distances: Float[np.ndarray, "item task"]  # of the router
    routes: Int[np.ndarray, " item"]  # the chosen task
    given_weights: Float[np.ndarray, " item"] | None = None  # factors of image scores; None: all are 1
    routed_weights: Float[np.ndarray, " item"] | None = None

    def __post_init__(self) -> None:
        """Refuse NaN, which has no rank, before a metric meets it."""
        spoilt = np.isnan(self.given).any(axis=(1, 2)) | np.isnan(self.routed).any(axis=(1, 2))
        if spoilt.any():
            raise MechlabError(
                f"scores of {spoilt.sum()} of {len(spoilt)} images hold NaN, which has no rank: the training "
                "diverged, or features are not finite; look at the run's log, and train with a lower rate."
            )

    @property
    def given_images(self) -> Float[np.ndarray, "item row column"]:
        """Patch scores given the task id as image scores read them: times the image's weight."""
        return _weighed(self.given, self.given_weights)

    @property
    def routed_images(self) -> Float[np.ndarray, "item row column"]:
        """Routed patch scores as image scores read them: times the image's weight."""
        return _weighed(self.routed, self.routed_weights)

    @property
    def hash(self) -> str:
        """SHA-256 of the scores given the task id."""
        return sha256_bytes(np.ascontiguousarray(self.given).tobytes())

    def save(self, path: Path) -> None:
        """Write the arrays as one .npz, atomically."""
        stream = io.BytesIO()
        arrays = {name: getattr(self, name) for name in (*_ARRAYS, *_WEIGHTS)}
        np.savez(stream, **{name: values for name, values in arrays.items() if values is not None})
        write_bytes(path, stream.getvalue())

    @classmethod
    def load(cls, path: Path) -> "Scores":
        """Read the arrays; a damaged file is a sentence."""
        try:
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as arrays:
                weights = {name: arrays[name] for name in _WEIGHTS if name in arrays}
                return cls(**{name: arrays[name] for name in _ARRAYS}, **weights)
        except (OSError, ValueError, KeyError, BadZipFile) as fault:
            raise MechlabError(f"'{path}' is missing or damaged; evaluate the run again.") from fault


@dataclass(frozen=True, slots=True, kw_only=True)
class Apart:
    """Scores of images of no known task, whose maps may have several grids."""

    routed: Sequence[Float[np.ndarray, "_ _"]]  # a map an image, on the grid of the expert that gave it
    routed_images: Sequence[Float[np.ndarray, "_ _"]]  # the same as image scores read them
    distances: Float[np.ndarray, "item task"]  # of the router
    routes: Int[np.ndarray, " item"]  # the chosen task


@torch.inference_mode()
def score(
    system: Trainable,
    features: Float[np.ndarray, "item row column dim"] | Sights,
    *,
    task: int,
    tasks: int,
    router: str | Routing,
    device: torch.device,
    around: Around = nothing,
    orientations: str = "one",
) -> Scores:
    """Score images whose own task is `task` among the first `tasks` tasks.

    `router` is a `Routing`, or words of `mechlab.runs.router` that need nothing of the training normals. The
    oracle takes the given id. Images that a router sends elsewhere are scored again there, at the size that
    the other task sees; the maps of `Sights` are brought to their grid.
    `orientations` are those of `mechlab.train.orientations`; routing knows one alone.
    `around` gives the block in which some images go through the expert of a task; routing stands outside it.
    """
    sights = features if isinstance(features, Sights) else Sights.alike(features)
    module = modules_of(system)
    module.eval()
    with around(task, np.arange(sights.count)):
        given, weights = _maps(system, sights.of_task(task), task=task, device=device,
                               orientations=orientations, grid=sights.grid)  # fmt: skip
    routing = Routing(Router.read(router)) if isinstance(router, str) else router
    if routing.is_oracle:
        distances = np.full((sights.count, tasks), np.inf)
        distances[:, task] = 0.0
    else:
        distances = distances_of(system, sights.compared(), routing, tasks=tasks, device=device)
    routes = distances.argmin(axis=1)
    routed, others = given.copy(), None if weights is None else weights.copy()
    for other in np.unique(routes[routes != task]):
        sent = np.flatnonzero(routes == other)
        with around(int(other), sent):
            routed[sent], found = _maps(system, sights.of_task(int(other))[sent], task=int(other),
                                        device=device, orientations=orientations,
                                        grid=sights.grid)  # fmt: skip
            if others is not None and found is not None:
                others[sent] = found
    return Scores(given=given, routed=routed, distances=distances, routes=routes, given_weights=weights,
                  routed_weights=others)  # fmt: skip


def score_apart(
    system: Trainable,
    sights: Sights,
    *,
    task: int | None,
    tasks: int,
    router: Routing,
    device: torch.device,
    orientations: str = "one",
) -> Apart:
    """Score images of no known task, each on the grid that the expert sees to which it is sent.

    `task` sends all of them to one expert, without the router.
    """
    distances = np.full((sights.count, tasks), np.inf)
    if task is None:
        distances = distances_of(system, sights.compared(), router, tasks=tasks, device=device)
    else:
        distances[:, task] = 0.0
    routes = distances.argmin(axis=1)
    maps: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    for route in map(int, np.unique(routes)):
        sent = np.flatnonzero(routes == route)
        found = score(system, sights.of_task(route)[sent], task=route, tasks=tasks, router=ORACLE,
                      device=device, orientations=orientations)  # fmt: skip
        maps |= dict(zip(sent.tolist(), zip(found.given, found.given_images, strict=True), strict=True))
    routed, weighed = zip(*(maps[index] for index in range(sights.count)), strict=True)
    return Apart(routed=routed, routed_images=weighed, distances=distances, routes=routes)


@torch.inference_mode()
def distances_of(
    system: Trainable,
    features: Float[np.ndarray, "item row column dim"],
    routing: Routing,
    *,
    tasks: int,
    device: torch.device,
) -> Float[np.ndarray, "item task"]:
    """Return a router's distance of each image to each of the first tasks."""
    parts = [routing.distances(system, batch, tasks=tasks) for batch in _batches(features, device)]
    return np.asarray(torch.cat(parts).cpu().numpy())


def _batches(
    features: Float[np.ndarray, "item row column dim"], device: torch.device
) -> Iterator[torch.Tensor]:
    for start in range(0, len(features), BATCH):
        yield torch.from_numpy(np.array(features[start : start + BATCH])).to(device)


def _maps(
    system: Trainable,
    features: Float[np.ndarray, "item row column dim"],
    *,
    task: int,
    device: torch.device,
    orientations: str,
    grid: tuple[int, int] | None,
) -> tuple[Float[np.ndarray, "item height width"], Float[np.ndarray, " item"] | None]:
    """Return patch scores on a grid if one is named, and the weights of image scores where there are any."""
    parts, weights = [], []
    for batch in _batches(features, device):
        scores = oriented_scores(system, batch, task=task, orientations=orientations)
        parts.append(scores.float().cpu().numpy())
        found = system.image_weights(batch, scores, task=task) if isinstance(system, Weighing) else None
        if found is not None:
            weights.append(found.float().cpu().numpy())
    maps = np.concatenate(parts)
    return maps if grid is None else resampled(maps, grid), np.concatenate(weights) if weights else None


def _weighed(
    maps: Float[np.ndarray, "item row column"], weights: Float[np.ndarray, " item"] | None
) -> Float[np.ndarray, "item row column"]:
    return maps if weights is None else maps * weights[:, None, None]
