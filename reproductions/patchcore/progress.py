"""How far a coreset is, and how long it still takes: on a terminal's standard error, after two seconds."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from reproductions.patchcore.coreset import Told

PATIENCE_SECONDS = 2.0  # before a bar appears


@contextmanager
def bar(what: str) -> Iterator[Told]:
    """Give a function that is told picks done and picks in all."""
    console, began = Console(stderr=True), time.monotonic()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    task = progress.add_task(what)

    def told(done: int, total: int) -> None:
        progress.update(task, completed=done, total=total)
        if time.monotonic() - began > PATIENCE_SECONDS:
            progress.start()

    try:
        yield told
    finally:
        progress.stop()
