"""The forecast of a recording that follows a loop: what its first step took tells what all of them will."""

from collections.abc import Mapping
from pathlib import Path

from torch import nn

from mechlab.instrument.recorder import Recorder
from mechlab.instrument.schedule import is_due
from mechlab.recording.forecast import check_room


def check_steps(
    recorder: Recorder, sizes: Mapping[str, int], folder: Path, *, steps: range, checkpoint_bytes: int = 0
) -> None:
    """Refuse a loop over `steps` whose recording will not fit the disk of `folder`.

    `sizes` are the bytes of each key after the first of the steps. What was not due in it is not counted, so
    that a recording is never refused wrongly. `checkpoint_bytes` are what the run writes beside it. Raises
    MechlabError.
    """
    taken = 0
    for entry, tap in recorder.taps:
        due = sum(is_due(step, entry) for step in steps)
        taken += due * sum(sizes.get(key, 0) for key in tap.keys)
    mean = taken // max(1, len(steps))
    check_room(folder, step_bytes=mean, steps=len(steps), checkpoint_bytes=checkpoint_bytes)


def checkpoint_bytes(module: nn.Module, *, tasks: int) -> int:
    """Return what the checkpoints after `tasks` tasks will take at least, and the one within a task.

    The latter also holds what AdamW keeps: two numbers for each that trains. Later tasks may add parameters.
    """
    weights: int = sum(values.nbytes for values in module.state_dict().values())
    trained = sum(parameter.nbytes for parameter in module.parameters() if parameter.requires_grad)
    return (tasks + 1) * weights + 2 * trained
