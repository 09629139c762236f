"""What `mechlab evaluate` and `score` ask of runs whose inputs are no images: their own session answers."""

from collections.abc import Mapping, Sequence
from types import ModuleType

from mechlab import systems
from mechlab.errors import MechlabError
from mechlab.runs.folder import RunFolder


def session_of(runs: Sequence[RunFolder]) -> ModuleType | None:
    """Return what answers for a run without images; None for runs on images.

    Raises:
        MechlabError: such a run among several: scores of two systems of windows have no common scale.
    """
    for run in runs:
        found = systems.session(run.spec().system)
        if found is None:
            continue
        if len(runs) > 1:
            raise MechlabError(
                f"run '{run.name}' is of system {run.spec().system}, and {len(runs)} runs were given; only "
                "runs on images are scored as one: name one run, or train a fusion."
            )
        return found
    return None


def refuse_words_of_images(run: RunFolder, given: Mapping[str, object]) -> None:
    """Refuse what says something of images to a run without any; `given` by option, without its hyphens.

    Raises:
        MechlabError: the first word that is given.
    """
    for option, value in given.items():
        if value is not None and value is not False and value != ():
            raise MechlabError(
                f"--{option.replace('_', '-')} was given, and run '{run.name}' is of system "
                f"{run.spec().system}, which sees no images; leave it out."
            )


def refuse_words_of_windows(run: RunFolder, given: Mapping[str, object]) -> None:
    """Refuse what says something of windows of messages to a run on images.

    Raises:
        MechlabError: the first word that is given.
    """
    for option, value in given.items():
        if value is not None:
            raise MechlabError(
                f"--{option.replace('_', '-')} was given, and run '{run.name}' is of system "
                f"{run.spec().system}, which is judged on images; leave it out."
            )
