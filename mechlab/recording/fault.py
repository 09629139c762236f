"""What a recording does about a fault of its disk: stop the loop, or let it go on without recording.

Source: docs/recording.md, "Faults".
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Literal

from mechlab.errors import MechlabError
from mechlab.recording.backlog import Backlog
from mechlab.recording.manifest import append_line
from mechlab.recording.segment import writing
from mechlab.recording.statistics import Statistics

OnFault = Literal["stop", "go-on"]


@contextmanager
def judged(backlog: Backlog, path: Path) -> Iterator[None]:
    """Let the backlog decide about a fault in the body: it raises, or the loop goes on without recording."""
    try:
        with writing(path):
            yield
    except MechlabError as fault:
        backlog.fail(fault)
        backlog.check()


def note_end(folder: Path, statistics: Statistics, *, fault: MechlabError | None) -> None:
    """Write what a writer has cost and, after a fault that the loop outlived, why its recording ends early.

    The disk that failed may refuse these lines as well; then the warning in the log is all there is.
    """
    try:
        with writing(folder):
            append_line(folder, "statistics", {"statistics": asdict(statistics)})
            if fault is not None:
                lost = {"reason": str(fault), "dropped_rows": statistics.dropped_rows}
                append_line(folder, "facts", {"facts": {"fault": lost}})
    except MechlabError as second:
        if fault is None:
            raise
        logging.getLogger(__name__).warning("the loss could not be noted in the recording: %s", second)
