"""What `mechlab score` asks of finished runs: the user's own images, or the user's own logs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mechlab.runs.folder import RunFolder
from mechlab.train.asked_windows import refuse_words_of_images, session_of
from mechlab.train.ensemble_images import score_together
from mechlab.train.session import Report, silent


def score_as_asked(
    runs: Sequence[RunFolder],
    place: Path,
    target: Path,
    *,
    task: int | None = None,
    sigma: str | None = None,
    device: str = "auto",
    report: Report = silent,
) -> dict[str, Any]:
    """Return what `mechlab score --json` prints: `{scores, maps, images}`, or of logs `{scores, windows}`.

    Raises:
        MechlabError: as `score_together`, or as the `score` of a session.
    """
    own = session_of(runs)
    if own is not None:
        refuse_words_of_images(runs[0], {"task": task, "sigma": sigma})
        return dict(own.score(runs[0], place, target, device=device, report=report))
    rows = score_together(runs, place, target, task=task, sigma=sigma, device=device, report=report)
    return {"scores": str(target / "scores.csv"), "maps": str(target / "maps"), "images": rows}
