"""What is tied to one grid of patches, and cannot be where tasks see grids of their own. Torch-free.

What tasks share must know no grid, or the one that it knows would be wrong for some of them. Source: notes
004 L2670 (M42: resolution by task).
"""

from collections.abc import Mapping

from mechlab.errors import MechlabError
from reproductions.moleflow.config import MoLEFlowConfig

Grid = tuple[int, int]  # rows, columns

# Key, the values that tie what tasks share to one grid, and what ties it.
_TIED: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("branch", ("sc-lora",), "spreads its factors over the run's grid"),
    ("position", ("relative",), "knows the distances of the run's grid"),
    ("position", ("content", "hybrid"), "finds prototypes at the places of the run's grid"),
    ("mixer", ("global",), "cuts the run's grid into regions"),
)


def refuse_own_grids(config: MoLEFlowConfig, own: Mapping[int, Grid]) -> None:
    """Refuse what is tied to one grid where tasks have grids of their own.

    Raises:
        MechlabError: the part, why it is tied, and what to do.
    """
    if not own:
        return
    task = min(own)
    for key, tied, reason in _TIED:
        if getattr(config, key) in tied:
            raise MechlabError(
                f"task {task} sees a grid of its own, and {key}={getattr(config, key)}, which tasks share, "
                f"{reason}; set {key} otherwise, or leave the task's image_size out."
            )
    if config.distillation_weight and not config.replay_images:
        raise MechlabError(
            f"task {task} sees a grid of its own, and distillation_weight={config.distillation_weight:g} "
            "shows a task's images to the experts of others; give replay_images, which keeps each task's "
            "own, or leave the task's image_size out."
        )
