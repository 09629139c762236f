"""A finished run of a detector, read again beside the windows that it was trained and judged on."""

from collections.abc import Callable
from dataclasses import dataclass

from mechlab.errors import MechlabError
from mechlab.runs.folder import RunFolder
from reproductions.can_ids.config import TrainingConfig, VGAEConfig
from reproductions.can_ids.divided import Divided, divided
from reproductions.can_ids.inputs import window_spec
from reproductions.can_ids.models import Trained, configured, refuse_stranger, trained
from reproductions.can_ids.request_words import logs_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A trained model with its settings, and the windows of its logs; a VGAE's training ones are normal."""

    found: Trained
    config: TrainingConfig
    windows: Divided


def finished(run: RunFolder, *, say: Callable[[str], None]) -> Finished:
    """Return what a run was trained on and what came of it; its teacher is not needed.

    Raises:
        MechlabError: a run of another system or without its checkpoint, logs that cannot be read, or other
            logs than those that it was trained on.
    """
    found = trained(run)
    config, request = configured(found.system, run.parts()), run.request()
    root, name = logs_of(request)
    windows = divided(root, config, cache=request.cache, say=say)
    refuse_stranger(found, windows.train, dataset=name, split=config.split, purpose="run")
    if isinstance(config, VGAEConfig):
        windows = windows.normal()
    if window_spec(name, windows.train, split="train") != run.spec().features[0]:
        raise MechlabError(
            f"run '{run.path}' was trained on other logs than '{root}' holds now; give it the logs it was "
            "trained with, or train it again."
        )
    return Finished(found=found, config=config, windows=windows)
