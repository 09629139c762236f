"""What an evaluation asks of test-time interventions; `mechlab.instrument.intervening` answers.

Source: design notes, "EvalSpec" and "Result" rule 6.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import Any, Protocol, runtime_checkable

from mechlab.specs import Item

COMPARABLE = (
    "the flow was changed, and with it the normaliser of its scores: compare them with other scores by rank "
    "metrics (AUROC, AP, AUPRO), or z-scored on held-out normals"
)


@runtime_checkable
class Alteration(Protocol):
    """A system that is changed while the block lasts, and further while images go through an expert."""

    texts: tuple[str, ...]  # canonical; none changes nothing
    needs_items: bool  # whether it acts only on images that it knows

    def __enter__(self) -> "Alteration":
        """Change what does not depend on the images."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Restore the system; an intervention that never acted is a MechlabError."""
        ...

    def around(self, task: int, items: Sequence[Item]) -> AbstractContextManager[object]:
        """Return the block in which images go through the expert of `task`; no items: held-out normals."""
        ...

    def effects(self) -> list[dict[str, Any]]:
        """Return what each intervention did, as JSON."""
        ...


class Unaltered:
    """The system as it is."""

    texts: tuple[str, ...] = ()
    needs_items = False

    def __enter__(self) -> "Unaltered":
        """Change nothing."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Restore nothing."""

    def around(self, task: int, items: Sequence[Item]) -> AbstractContextManager[object]:
        """Return a block in which nothing is changed."""
        return nullcontext()

    def effects(self) -> list[dict[str, Any]]:
        """Return nothing."""
        return []


UNALTERED = Unaltered()
