"""A recording keeps places on one grid, so tasks that see grids of their own leave it what has no place.

Source: design notes, "Axes": patches are (item, row, column), the same rows and columns for every item.
"""

from collections.abc import Iterable, Sequence

from mechlab.errors import MechlabError
from mechlab.specs import PlanEntry
from mechlab.train.inputs import Inputs

PLACELESS = ("gradient", "gradient_cosine", "update", "weight", "weight_delta", "image")


def refuse_grids(
    entries: Sequence[PlanEntry], inputs: Inputs, *, tasks: Iterable[int], adapters: Sequence[int] = ()
) -> None:
    """Refuse to record places of tasks with sizes of their own, or their images through another's expert.

    `tasks` are those whose images are seen, `adapters` the experts that see them all, if any are named.

    Raises:
        MechlabError: the quantity or the adapter, and what to do.
    """
    sized = sorted({*tasks, *adapters} & inputs.sizes.keys())
    placed = [f"'{entry.quantity}' keeps places" for entry in entries if entry.quantity not in PLACELESS]
    crossed = [f"--adapter {adapter} sees the images of every task" for adapter in adapters]
    if sized and (placed or crossed):
        raise MechlabError(
            f"{(placed + crossed)[0]}, and a recording has one grid: task {sized[0]} sees "
            f"{inputs.sizes[sized[0]]} pixels, the run {inputs.image_size}; record {', '.join(PLACELESS)} "
            "without --adapter, or a checkpoint before that task."
        )
