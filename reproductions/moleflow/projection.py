"""Steps kept off the directions in which earlier tasks' likelihoods change: gradient projection.

When a task has ended, the gradients of its likelihood in each shared tensor span a subspace; its leading
directions (99 % of the energy, at most 50) are remembered. Three forms keep later tasks off them:

"sequential": as sketched. The gradient is projected off one task's basis after the other. Bases of two tasks
are not orthogonal to each other, so the second projection brings back a part of the first: a rest stays. And
Adam's moments and weight decay turn the step away from the projected gradient.
"hook": the gradient is projected off the union of all bases as soon as it is there, before it is clipped. The
notes name a GradientProjectionHook and say no more: this is what was chosen.
"joint": the optimiser's whole step, moments and weight decay included, is projected off the union of all
bases.

Source: notes 004 L1179 (sequential), L1451 (hook); Saha, Garg & Roy 2021 (GPM); ours (joint).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import Optimizer

from mechlab.errors import MechlabError
from reproductions.moleflow.gradients import chosen, likelihood_gradients
from reproductions.moleflow.memory import Memory

LEAST_BATCHES = 5  # of gradients, for a basis (notes 004 L1262)


def leading_directions(
    gradients: Float[Tensor, "batch number"], *, threshold: float, rank: int
) -> Float[Tensor, "number direction"]:
    """Return the fewest right singular vectors that hold `threshold` of the energy, at most `rank`.

    Gradients that are all zero have none.
    """
    _, values, directions = torch.linalg.svd(gradients.double(), full_matrices=False)
    energy = values.square()
    if energy.sum() == 0:
        return gradients.new_zeros(gradients.shape[1], 0)
    share = energy.cumsum(0) / energy.sum()
    count = min(int((share < threshold).sum()) + 1, rank, len(values))
    return directions[:count].T.to(gradients.dtype)


def joined(bases: Sequence[Float[Tensor, "number _"]]) -> Float[Tensor, "number direction"]:
    """Return an orthonormal basis of the union of some subspaces, in float64."""
    together = torch.cat([basis.double() for basis in bases], dim=1)
    left, values, _ = torch.linalg.svd(together, full_matrices=False)
    rounding = torch.finfo(torch.float32).eps * max(together.shape)  # bases are kept in float32
    return left[:, values > rounding * values.amax()] if values.numel() else together


def without(vector: Tensor, basis: Float[Tensor, "number direction"]) -> Tensor:
    """Return a tensor less its part in a subspace."""
    flat = vector.flatten().to(basis.dtype)
    return (flat - basis @ (basis.T @ flat)).view(vector.shape).to(vector.dtype)


def remember_directions(
    memory: Memory,
    system: nn.Module,
    features: Float[np.ndarray, "item row column dim"],
    *,
    task: int,
    names: Sequence[str],
    size: int,
    threshold: float,
    rank: int,
    images: int,
) -> None:
    """Keep the leading directions of a task's gradients in each shared tensor as `basis.<task>.<name>`."""
    rows: dict[str, list[Tensor]] = {}
    picked = features[chosen(len(features), limit=images)]
    for gradients in likelihood_gradients(system, picked, task=task, names=names, size=size):
        for name, gradient in gradients.items():
            rows.setdefault(name, []).append(gradient.flatten())
    for name, found in rows.items():
        basis = leading_directions(torch.stack(found), threshold=threshold, rank=rank)
        memory.keep(f"basis.{task}.{name}", basis)


def refuse_few_batches(count: int, *, size: int, images: int, task: int) -> None:
    """Refuse a task whose images give too few batches for a basis, before it is trained.

    Raises:
        MechlabError: fewer than five; the notes' sketch then leaves the task unprotected without a word.
    """
    batches = -(-min(count, images) // size)
    if batches < LEAST_BATCHES:
        raise MechlabError(
            f"task {task} gives {batches} batches of gradients for its projection and {LEAST_BATCHES} are "
            f"needed; lower batch_size {size}, or give more than {min(count, images)} images "
            f"(projection_images {images})."
        )


class Projection:
    """One form of projection with the bases of a memory, as a rule of the optimiser's steps."""

    def __init__(self, memory: Memory, form: str) -> None:
        self.memory, self.form = memory, form
        self.kept: tuple[Tensor, Tensor] | None = None  # squared lengths after and before, of the last step
        self._hooks: list[Any] = []

    def bases(self) -> dict[str, list[Tensor]]:
        """Return the bases of each tensor, one a task."""
        found: dict[str, list[Tensor]] = {}
        for key in self.memory.names("basis"):
            found.setdefault(key.split(".", 1)[1], []).append(self.memory[f"basis.{key}"])
        return found

    def saturated(self, parameters: Mapping[str, nn.Parameter]) -> frozenset[str]:
        """Return the tensors whose bases leave no direction: nothing of a later task could reach them."""
        if self.form == "sequential":  # as published: weight decay and rounding, blown up by Adam, move them
            return frozenset()
        bases = self.bases().items()
        return frozenset(name for name, found in bases if joined(found).shape[1] == parameters[name].numel())

    def attach(self, optimizer: Optimizer, parameters: Mapping[str, nn.Parameter]) -> None:
        """Keep an optimiser's steps off the bases that there are; what was attached before is let go."""
        for hook in self._hooks:
            hook.remove()
        self._hooks, self.kept = [], None
        held = {id(value) for group in optimizer.param_groups for value in group["params"]}
        bases = {
            name: found for name, found in self.bases().items() if id(parameters[name]) in held and found
        }
        moving = {name: parameters[name] for name in bases}
        if self.form == "sequential":
            before: Callable[..., None] = lambda *_: self._gradients(moving, bases)  # noqa: E731
            self._hooks = [optimizer.register_step_pre_hook(before)]
            return
        joint = {name: joined(found) for name, found in bases.items()}
        if self.form == "hook":
            self._hooks = [
                parameter.register_post_accumulate_grad_hook(self._on_arrival(joint[name]))
                for name, parameter in moving.items()
            ]
            return
        old: dict[str, Tensor] = {}

        def keep(*_: object) -> None:
            old.update({name: parameter.detach().clone() for name, parameter in moving.items()})

        self._hooks = [
            optimizer.register_step_pre_hook(keep),
            optimizer.register_step_post_hook(lambda *_: self._steps(moving, old, joint)),
        ]

    def _gradients(self, moving: Mapping[str, nn.Parameter], bases: Mapping[str, list[Tensor]]) -> None:
        lengths = []
        for name, parameter in moving.items():
            if parameter.grad is not None:
                rest = parameter.grad
                for basis in bases[name]:
                    rest = without(rest, basis)
                lengths.append((rest.square().sum(), parameter.grad.square().sum()))
                parameter.grad = rest
        self._count(lengths)

    def _steps(
        self, moving: Mapping[str, nn.Parameter], old: Mapping[str, Tensor], joint: Mapping[str, Tensor]
    ) -> None:
        lengths = []
        with torch.no_grad():
            for name, parameter in moving.items():
                step = parameter.double() - old[name].double()
                rest = without(step, joint[name])
                lengths.append((rest.square().sum(), step.square().sum()))
                parameter.copy_(old[name].double() + rest)
        self._count(lengths)

    def _on_arrival(self, basis: Float[Tensor, "number direction"]) -> Callable[[Tensor], None]:
        def project(parameter: Tensor) -> None:
            assert parameter.grad is not None
            parameter.grad = without(parameter.grad, basis)

        return project

    def _count(self, lengths: Sequence[tuple[Tensor, Tensor]]) -> None:
        if lengths:
            after, before = zip(*lengths, strict=True)
            self.kept = (torch.stack(after).sum(), torch.stack(before).sum())

    def readings(self) -> dict[str, float]:
        """Return how much of the last step was left, as a share of its length, and what is remembered."""
        ranks = [self.memory[f"basis.{key}"].shape[1] for key in self.memory.names("basis")]
        found = {"projection_directions": float(sum(ranks)),
                 "projection_megabytes": self.memory.bytes("basis") / 2**20}  # fmt: skip
        if self.kept is not None and float(self.kept[1]) > 0:
            found["projection_share"] = float((self.kept[0] / self.kept[1]).sqrt())
        return found
