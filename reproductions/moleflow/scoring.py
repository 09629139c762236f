"""Scores of a batch that has gone through the flow, and the terms of the loss that are taken on them.

Where nothing is asked for, scores are -log p and there is no further term. With a second pass both passes
train, each on its own NLL, as long as the margin loss teaches the scorer which to trust; without that the
second is only scored, as in the published code. Source: notes 004 L2651, L2722, L3628.
"""

from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor, nn

from mechlab.errors import MechlabError
from mechlab.train.stage import Loss
from mechlab.train.view import View
from reproductions.moleflow.alignment import Alignment, NoAlignment, turned
from reproductions.moleflow.config import MoLEFlowConfig
from reproductions.moleflow.flowed import Flowed
from reproductions.moleflow.losses import patch_nll
from reproductions.moleflow.margin import margin_loss
from reproductions.moleflow.scorer import Scorer

Features = Float[Tensor, "batch row column dim"]


@runtime_checkable
class Passing(Protocol):
    """A system that batches go through; its modules by path: protocols do not see them as attributes."""

    config: MoLEFlowConfig
    dim: int

    def get_submodule(self, target: str) -> nn.Module:
        """Return a module by its path."""
        ...

    def adapt(
        self,
        batch: Features,
        *,
        task: int,
        view: View | None = ...,
        is_placed: bool = ...,
        quarters: int = ...,
    ) -> Features:
        """Return the flow's input."""
        ...

    def to_latent(self, adapted: Features, *, task: int, view: View | None = ...) -> Flowed:
        """Map it to the latent side."""
        ...

    def nll_loss(self, flowed: Flowed, *, task: int) -> Loss:
        """Return the loss of one pass."""
        ...


def _scorer(system: Passing, task: int) -> Scorer:
    found = system.get_submodule(f"scorer.{task}")
    assert isinstance(found, Scorer)
    return found


def _angles(system: Passing, batch: Features, *, task: int) -> Float[Tensor, " batch"] | None:
    aligner = system.get_submodule(f"aligner.{task}")
    assert isinstance(aligner, Alignment | NoAlignment)
    return aligner.angles(batch)


def scored(
    system: Passing, batch: Features, flowed: Flowed, *, task: int, view: View | None = None
) -> Float[Tensor, "batch row column"]:
    """Return patch scores on the grid of the images, in nats, as the task's scorer weighs them."""
    scorer, second = _scorer(system, task), None
    if scorer.is_dual:
        blind = without_position(system, batch, task=task, view=view)
        second = (blind.latent, patch_nll(blind.latent, blind.log_det))
    scores: Tensor = scorer(flowed.latent, patch_nll(flowed.latent, flowed.log_det), second)
    angles = _angles(system, batch, task=task)
    return scores if angles is None else turned(scores[..., None], -angles)[..., 0]


def turned_scores(
    system: Passing, batch: Features, *, task: int, quarters: int
) -> Float[Tensor, "batch row column"]:
    """Return the scores of features that are turned by quarters after they were placed, on the turned grid.

    Raises:
        MechlabError: a second pass or an alignment, which would stand on another grid.
    """
    scorer = _scorer(system, task)
    if scorer.is_dual or system.config.align != "none":
        raise MechlabError(
            f"orientations=four-placed turns one pass of the flow, but scorer={system.config.scorer} and "
            f"align={system.config.align} ask for more; set orientations=four or one."
        )
    flowed = system.to_latent(system.adapt(batch, task=task, quarters=quarters), task=task)
    found: Tensor = scorer(flowed.latent, patch_nll(flowed.latent, flowed.log_det))
    return found


def without_position(system: Passing, batch: Features, *, task: int, view: View | None = None) -> Flowed:
    """Return the pass of features that are told no place."""
    adapted = system.adapt(batch, task=task, view=view, is_placed=False)
    return system.to_latent(adapted, task=task, view=view)


def further_terms(
    system: Passing, batch: Features, flowed: Flowed, found: Loss, *, task: int, view: View | None
) -> dict[str, Float[Tensor, ""]]:
    """Return what is added to the loss `found` of the pass with position, nats a patch."""
    config, terms = system.config, {}
    if config.margin_weight and _scorer(system, task).is_dual:
        blind = system.nll_loss(without_position(system, batch, task=task, view=view), task=task)
        terms["without_position"] = 0.5 * (blind.total - found.total)  # the total is the mean of both
    angles = _angles(system, batch, task=task) if config.align_weight else None
    if angles is not None:
        terms["turn"] = config.align_weight * angles.square().mean()
    if view is not None and view.damaged is not None and view.mask is not None:
        adapted = system.adapt(view.damaged, task=task, view=view)
        damaged = system.to_latent(adapted, task=task, view=view)
        terms["margin"] = config.margin_weight * margin_loss(
            scored(system, batch, flowed, task=task, view=view),
            scored(system, view.damaged, damaged, task=task, view=view),
            view.mask,
            margin=config.margin,
            dim=system.dim,
        )
    return terms
