"""The forecast of a recording that follows a loop: what its first step took tells what all of them will."""

from collections.abc import Mapping
from pathlib import Path

from mechlab.instrument.recorder import Recorder
from mechlab.instrument.schedule import is_due
from mechlab.recording.forecast import check_room


def check_steps(recorder: Recorder, sizes: Mapping[str, int], folder: Path, *, steps: range) -> None:
    """Refuse a loop over `steps` whose recording will not fit the disk of `folder`.

    `sizes` are the bytes of each key after the first of the steps. What was not due in it is not counted, so
    that a recording is never refused wrongly. Raises MechlabError.
    """
    taken = 0
    for entry, tap in recorder.taps:
        due = sum(is_due(step, entry) for step in steps)
        taken += due * sum(sizes.get(key, 0) for key in tap.keys)
    check_room(folder, step_bytes=taken // max(1, len(steps)), steps=len(steps))
