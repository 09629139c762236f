"""What a recording will take, against the disk that is free: it is refused before it fills the disk."""

import shutil
from pathlib import Path

from mechlab.errors import MechlabError
from mechlab.files import size

SHARE_OF_DISK = 0.9  # of the free disk that a recording may be expected to take


def check_room(folder: Path, *, step_bytes: int, steps: int) -> None:
    """Refuse `steps` steps of `step_bytes` each (or a mean of it) that the disk of `folder` cannot hold.

    Raises:
        MechlabError: what would be taken, what is free, and what to do.
    """
    free, taken = shutil.disk_usage(folder).free, step_bytes * steps
    if taken > SHARE_OF_DISK * free:
        raise MechlabError(
            f"the recording would take {size(taken)} ({size(step_bytes)} a step × {steps} steps) "
            f"and {size(free)} are free on the disk of '{folder}'; record fewer sites, less often, with a "
            "reduction or as float16, or choose another folder."
        )
