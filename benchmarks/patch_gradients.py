"""What row contributions cost beside the forward and backward pass they come from, and how exact they are.

The model is preset `mini` of MoLE-Flow in its first task: D 128 on a 28x28 grid, batch 16, one thread.
Source: numerics notes, "Per-patch gradient norms".
"""

from collections.abc import Iterator
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.measure import Measurement, one_thread, paired_ratios, ratio
from mechlab import systems
from mechlab.instrument.recorder import Recorder
from mechlab.specs import PlanEntry

PAIRS = 15
TARGET = 1.05  # of forward + backward
GRID, DIM, BATCH = (28, 28), 128, 16


class Kept:
    """A store that keeps the last array of each key."""

    def __init__(self) -> None:
        """Hold nothing yet."""
        self.values: dict[str, np.ndarray] = {}

    def append(
        self,
        key: str,
        values: np.ndarray,
        *,
        axes: tuple[str, ...],
        coordinates: dict[str, np.ndarray],
        unit: str,
        attributes: dict[str, object] | None = None,
    ) -> None:
        """Keep a copy."""
        self.values[key] = values.copy()


def measure() -> Iterator[Measurement]:
    """Yield what the two forms of row contributions cost, then how exact they are."""
    with one_thread():
        yield from cost(pairs=PAIRS)
        yield from exactness()


def cost(
    *, pairs: int, grid: tuple[int, int] = GRID, dim: int = DIM, batch: int = BATCH
) -> Iterator[Measurement]:
    """Yield recorded over plain seconds of forward + backward, for two equal systems, one with hooks.

    Results go to memory: what a disk costs is the business of the recorder's own benchmarks.
    """
    features = torch.randn(batch, *grid, dim)
    for name, reduction in (("patch-gradients", "total"), ("patch-gradients-by-layer", None)):
        pair = [mini({}, grid=grid, dim=dim) for _ in range(2)]
        plan = [PlanEntry(site="type:Linear", quantity="row_contribution", reduction=reduction)]
        with Recorder(pair[1], plan, Kept(), grid=grid) as recorder:

            def recorded(recorder: Recorder = recorder, system: nn.Module = pair[1]) -> None:
                with recorder.step(recorder.steps):
                    _pass(system, features)

            found = paired_ratios(partial(_pass, pair[0], features), recorded, pairs=pairs)
        yield ratio(name, found["wall"], against="forward + backward, wall time", target=TARGET)
        against = "forward + backward, processor time"
        yield ratio(f"{name}-processor", found["processor"], against=against, target=TARGET)


def _pass(system: nn.Module, features: Tensor) -> None:
    system.zero_grad(set_to_none=True)
    system.loss(features, task=0).total.backward()


def exactness() -> Iterator[Measurement]:
    """Yield the largest relative error against one backward pass a row; the flow's rows are independent."""
    parts = {"subnet": "plain", "position": "condition"}
    exact = perturbed(mini(parts, grid=(6, 5), dim=32))
    features = torch.randn(2, 6, 5, 32, generator=torch.Generator().manual_seed(1))
    layers, total = naive(exact.double(), features.double())
    for name, dtype, target in (("float64", torch.float64, 1e-12), ("float32", torch.float32, 1e-5)):
        error = max(errors(exact.to(dtype), features.to(dtype), layers, total))
        yield Measurement(
            name=f"patch-gradients-{name}",
            value=error,
            unit="ratio",
            against="one backward pass a row in float64: largest relative error",
            target=target,
            n=total.size,
            interval=(0.0, error),
        )


def naive(system: nn.Module, features: Tensor) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return, for each row, the norm of its own gradient: weight by weight, and of all Linears together."""
    scores = system.patch_scores(features, task=0)
    linears = {name: module for name, module in system.named_modules() if isinstance(module, nn.Linear)}
    owned = {
        f"{name}.{kind}": value
        for name, module in linears.items()
        for kind, value in module.named_parameters()
    }
    rows: list[list[float]] = []
    for score in scores.flatten():
        gradients = torch.autograd.grad(score, list(owned.values()), retain_graph=True, allow_unused=True)
        rows.append([0.0 if gradient is None else float(gradient.norm()) for gradient in gradients])
    norms = np.array(rows).reshape(*scores.shape, len(owned))
    layers = {name: norms[..., list(owned).index(f"{name}.weight")] for name in linears}
    return layers, np.sqrt((norms**2).sum(axis=-1))


def errors(
    system: nn.Module, features: Tensor, layers: dict[str, np.ndarray], total: np.ndarray
) -> Iterator[float]:
    """Yield the largest relative error of each layer and of the total; rows are summed into one scalar."""
    for reduction in ("total", None):
        kept = Kept()
        plan = [
            PlanEntry(site="type:Linear", quantity="row_contribution", reduction=reduction, dtype="float64")
        ]
        with Recorder(system, plan, kept) as recorder, recorder.step():
            system.patch_scores(features, task=0).sum().backward()
        for key, values in kept.values.items():
            expected = total if reduction else layers[key.partition("/")[2]]
            yield float((np.abs(values - expected) / np.where(expected > 0, expected, 1.0)).max())


def mini(changes: dict[str, object], *, grid: tuple[int, int], dim: int) -> nn.Module:
    """Return preset mini with some parts changed, with one task, prepared on random features."""
    parts = dict(systems.preset("moleflow", "mini").parts) | changes
    system: nn.Module = systems.load(systems.catalog("moleflow").SYSTEM.target).create(
        parts, dim=dim, grid=grid, seed=0
    )
    system.add_task(0)
    system.prepare(0, np.random.default_rng(0).standard_normal((8, *grid, dim)).astype(np.float32))
    return system.train()


def perturbed(system: nn.Module) -> nn.Module:
    """Return the system with every parameter moved, so that no branch is zero."""
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in system.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=draw))
    return system
