"""What a recording will take, against the disk that is free: it is refused before it fills the disk."""

import shutil
from pathlib import Path

from mechlab.errors import MechlabError
from mechlab.files import size

SHARE_OF_DISK = 0.9  # of the free disk that a recording may be expected to take


def check_room(folder: Path, *, step_bytes: int, steps: int, checkpoint_bytes: int = 0) -> None:
    """Refuse `steps` steps of `step_bytes` each (or a mean of it) that the disk of `folder` cannot hold.

    They count twice, since packing writes a second copy before it removes the first; `checkpoint_bytes` are
    what else the run will write meanwhile.

    Raises:
        MechlabError: what would be taken, what is free, and what to do.
    """
    free, taken = shutil.disk_usage(folder).free, 2 * step_bytes * steps + checkpoint_bytes
    if taken > SHARE_OF_DISK * free:
        beside = f", and {size(checkpoint_bytes)} of checkpoints" if checkpoint_bytes else ""
        raise MechlabError(
            f"the recording would take {size(taken)} ({size(step_bytes)} a step × {steps} steps, and as much "
            f"again while it is packed{beside}) and {size(free)} are free on the disk of '{folder}'; record "
            "fewer sites, less often, with a reduction or as float16, or choose another folder."
        )
