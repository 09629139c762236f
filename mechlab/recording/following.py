"""Following a recording while it is written: each commit once, until no writer is left.

For `mechlab inspect --follow`; code that wants the rows calls `Recording.refresh` in its own loop.
Source: docs/recording.md, "Reading while it is written".
"""

import time
from collections.abc import Iterator
from pathlib import Path

from mechlab.files import is_locked, size
from mechlab.recording.format import PACKED
from mechlab.recording.manifest import Committed
from mechlab.recording.reader import Rewound
from mechlab.recording.reader import open as open_recording

POLL_SECONDS = 0.25


def follow(path: Path | str, *, poll_seconds: float = POLL_SECONDS) -> Iterator[Committed | Rewound]:
    """Give every commit of a recording, those of the past first, until no writer holds it.

    A `Rewound` among them says that commits which were given before were dropped by a resume.
    """
    with open_recording(path) as recording:
        yield from recording.segments
        folder = recording.path.parent if recording.path.name == PACKED else recording.path
        while True:
            is_last = not has_writer(folder)  # asked before the last look, so that no commit is missed
            try:
                yield from recording.refresh()
            except Rewound as rewound:
                yield rewound
                yield from rewound.new
            if is_last:
                return
            time.sleep(poll_seconds)


def has_writer(folder: Path) -> bool:
    """Return whether a process holds the lock of any rank."""
    return any(is_locked(path) for path in folder.glob("writer-r*.lock"))


def told(event: Committed | Rewound) -> str:
    """Return one line about an event of `follow`."""
    if isinstance(event, Rewound):
        return f"rewound: {event}"
    rows = sum(event.rows.values())
    steps = f"steps {event.steps[0]} to {event.steps[1]}" if event.steps else "no steps"
    taken = "" if event.bytes is None else f"  {size(event.bytes)}"
    return f"{event.name.removesuffix('.h5')}  {rows} rows  {steps}{taken}"
