"""A finished run judged as it is asked for: on another split, at another recall, over other blocks of time.

Nothing is trained, and what is as usual gives the numbers of the training bit for bit. The windows are read
from the logs that the run was trained with, so logs that have changed are refused.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from mechlab.errors import MechlabError
from mechlab.runs.folder import RunFolder
from mechlab.train.checkpoint import load_weights
from mechlab.train.devices import device_of
from reproductions.can_ids.evaluation import judgement
from reproductions.can_ids.finished import finished
from reproductions.can_ids.fusion_work import fusion_work
from reproductions.can_ids.judging import Judging
from reproductions.can_ids.models import CONFIGS
from reproductions.can_ids.work import Work


def reevaluate(
    run: RunFolder, words: Mapping[str, Any], *, device: str, report: Callable[[str], None]
) -> dict[str, Any]:
    """Return the metrics of a run, judged as `words` (keys of a `Judging`) say, and keep them in its `evals`.

    Raises:
        MechlabError: a word that cannot be, a run that is not finished, logs that have changed, or a run that
            a fusion needs and that is gone.
    """
    judging, where = Judging(**words), device_of(device)
    run.summary()  # refuses what is not finished
    report(f"{run.name}: judging the {judging.split} windows")
    if run.spec().system in CONFIGS:
        seen = finished(run, say=report)
        return judgement(seen.found.model.to(where), seen.windows, run, run.spec(), seen.config, judging)
    work = _fusion(run, report=report)
    system = work.build(where)
    load_weights(run.checkpoint(0), system)
    return work.judge(system, judging)


def _fusion(run: RunFolder, *, report: Callable[[str], None]) -> Work:
    """Return the training of a finished fusion again, of the two runs that it fused."""
    asked, parts = run.request(), run.parts()
    settings = dict(asked.settings) | {name: parts[name] for name in CONFIGS}
    work = fusion_work(replace(asked, out=run.path.parent, settings=settings), say=report)
    if work.plan.spec.hash != run.spec().hash:
        raise MechlabError(
            f"run '{run.path}' was trained on other logs than '{asked.root}' holds now; give it the logs "
            "that it was trained with, or train it again."
        )
    return work
