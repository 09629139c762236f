"""What `mechlab evaluate` asks of finished runs: one or several, on their own images or others, diagnosed."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from mechlab.errors import MechlabError
from mechlab.runs.folder import RunFolder
from mechlab.runs.interventions import NOTHING, Asked
from mechlab.train.asked_windows import refuse_words_of_images, refuse_words_of_windows, session_of
from mechlab.train.diagnosing import diagnose
from mechlab.train.elsewhere import Elsewhere, evaluate_elsewhere
from mechlab.train.ensemble import evaluate_together
from mechlab.train.session import Report, silent

NO_WORDS: Mapping[str, Any] = MappingProxyType({})


def evaluate_as_asked(
    runs: Sequence[RunFolder],
    *,
    settings: dict[str, Any],
    interventions: Asked = NOTHING,
    elsewhere: Elsewhere | None = None,
    diagnostics: bool = False,
    judging: Mapping[str, Any] = NO_WORDS,
    device: str = "auto",
    report: Report = silent,
) -> dict[str, Any]:
    """Return the metrics that were asked for, with diagnostics of one run if wanted.

    `judging` has the words of runs on windows of messages, by the keys of their session.

    Raises:
        MechlabError: several runs, or interventions, where they are not possible; words of another kind of
            run.
    """
    own = session_of(runs)
    if own is not None:
        of_images = {**settings, "ablate, --swap or --patch": interventions.texts, "diagnostics": diagnostics,
                     "data or --root": elsewhere is not None}  # fmt: skip
        refuse_words_of_images(runs[0], of_images)
        return dict(own.evaluate(runs[0], judging, device=device, report=report))
    refuse_words_of_windows(runs[0], judging)
    if (elsewhere is not None or diagnostics) and (len(runs) > 1 or interventions.texts):
        word = "--data" if elsewhere is not None else "--diagnostics"
        raise MechlabError(
            f"{word} is of one run as it is, and {len(runs)} runs with {len(interventions.texts)} "
            "interventions were given; name one run, and no --ablate, --swap or --patch."
        )
    if elsewhere is not None:
        if diagnostics:
            raise MechlabError(
                "--diagnostics are of a run's own images, and --data names others; leave one of them out."
            )
        return evaluate_elsewhere(runs[0], elsewhere, settings=settings, device=device, report=report)
    found = evaluate_together(
        runs, settings=settings, interventions=interventions, device=device, report=report
    )
    return found | {"diagnostics": diagnose(runs[0], device=device, report=report)} if diagnostics else found
