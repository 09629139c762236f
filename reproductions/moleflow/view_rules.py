"""Keys about places, turned images and scorers that do not go together.

Source: notes 004 L3552 (rotation beside a fixed position), L2734 and L2987 (parameters behind the loss);
inventory notes, "Combinations to refuse".
"""

from mechlab.errors import MechlabError
from reproductions.moleflow.config import MoLEFlowConfig
from reproductions.moleflow.grid_rules import Grid

ADDED = ("sine", "tape", "relative", "content", "hybrid")  # positions that are added to features


def is_place_fixed(config: MoLEFlowConfig) -> bool:
    """Whether something stays with the grid while images are turned."""
    embedded = config.position not in ("none", "content") and not config.position_turns
    return config.rotation > 0 and (embedded or (config.adapter_by_place and _is_fitted(config)))


def has_idle_scorer(config: MoLEFlowConfig) -> bool:
    """Whether a scorer's parameters stand behind the loss with nothing to reach them."""
    return (config.scorer != "nll" or config.consistency != "none") and not config.margin_weight


def refuse_sine(channels: int) -> None:
    """Refuse a sine embedding of channels that cannot be shared between sine and cosine, row and column.

    Raises:
        MechlabError: no multiple of 4.
    """
    if channels % 4 or channels <= 0:
        raise MechlabError(
            f"a sine position of {channels} channels is not possible; use a multiple of 4, or position=none."
        )


def refuse_views(config: MoLEFlowConfig, *, dim: int, grid: Grid | None) -> None:
    """Refuse what could not be built, or would do nothing; a `grid` of None is not known yet.

    Raises:
        MechlabError: what was given, what is allowed, what to do.
    """
    if config.position in ADDED:
        refuse_sine(dim)
    if config.position_turns and config.position in ("none", "content"):
        raise MechlabError(
            f"position_turns turns the embedding of the grid, which position={config.position} has not; "
            "set position=sine or condition, or leave position_turns out."
        )
    if config.scorer != "nll" and config.position not in ADDED:
        raise MechlabError(
            f"scorer={config.scorer} weighs a pass with position against one without, and position="
            f"{config.position} adds none to the features; set position to one of {', '.join(ADDED)}."
        )
    if config.consistency != "none" and grid is not None and max(grid) == 1:
        raise MechlabError(
            f"consistency={config.consistency} compares a patch with its neighbours, and a 1x1 grid has "
            "none; set consistency=none."
        )


def _is_fitted(config: MoLEFlowConfig) -> bool:
    return config.adapter in ("diagonal", "covariance")
