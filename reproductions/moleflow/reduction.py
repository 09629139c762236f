"""From the NLL a patch to the number that is differentiated, as the versions did it.

"mean" is nats a patch; "sum" adds an image's patches up, nats an image; "published" is the public code, which
sums the plain NLL and averages the tail-aware one: switching the tail on divides the loss by the number of
patches (784 on a 28 x 28 grid) and makes every regulariser as many times stronger beside it.
Source: notes 004 L332 (mean), L2292 (sum), facts 1.3.
"""

REDUCTIONS = ("mean", "sum", "published")


def reduction_factor(reduction: str, *, patches: int, has_tail: bool) -> int:
    """Return what the mean over patches is multiplied by: 1, or the number of an image's patches.

    Raises:
        ValueError: an unknown reduction.
    """
    if reduction not in REDUCTIONS:
        raise ValueError(f"no reduction is named '{reduction}'; use one of {', '.join(REDUCTIONS)}")
    sums = reduction == "sum" or (reduction == "published" and not has_tail)
    return patches if sums else 1
