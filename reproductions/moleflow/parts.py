"""The parts of the model as torch-free entries: flow, branches, adapters, mixers and losses.

What is set at evaluation (routers, aggregations, maps) stands in `catalog.py`.
"""

from mechlab.systems import Entry

ROOM = "reproductions.moleflow"


def part(name: str, summary: str, source: str, target: str, row: str | None = None) -> Entry:
    """Return one part of MoLE-Flow; `row` is that of the inventory."""
    return Entry(name=name, id=row, summary=summary, source=source, target=target, system="moleflow")


LOSSES: tuple[Entry, ...] = (
    part("center-loss", "center_weight=W: W times mean |z|^2, which is a prior of variance 1 / (1 + 2 W)",
         "notes 004 L306", f"{ROOM}.losses:center_loss", "M6"),
    part("focal-published", "focal=published: as sketched; no bit changes at real NLLs, NaN below 0",
         "notes 004 L487", f"{ROOM}.focal:published_focal", "M8"),
    part("focal-relative", "focal=relative: weights within an image; gamma 0 is the NLL",
         "notes 004 L487, scaled by us", f"{ROOM}.focal:relative_focal", "M8"),
    part("reduction", "reduction=mean, sum, or published (a sum without a tail, a mean with one)",
         "notes 004 L332, L2292", f"{ROOM}.reduction:reduction_factor", "M46"),
)  # fmt: skip

MODEL_PARTS: tuple[Entry, ...] = LOSSES
