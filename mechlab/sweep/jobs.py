"""The jobs of a sweep: one a training and seed; arms that differ only in how they score share a training."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mechlab.files import canonical_json
from mechlab.sweep.arms import Arm
from mechlab.sweep.ledger import Job


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One arm at one seed: the job that makes it, and which of the job's evaluations is its own."""

    arm: str
    seed: int
    job: Job
    evaluation: int | None  # None: that of the training itself


def cells(arms: Sequence[Arm], *, seeds: int) -> tuple[Cell, ...]:
    """Return every arm at every seed, seeds outermost, so that a part of a sweep is a whole comparison."""
    groups: dict[str, list[Arm]] = {}
    for arm in arms:
        groups.setdefault(canonical_json([arm.request.document(), dict(arm.runs)]), []).append(arm)
    found = []
    for seed in range(seeds):
        known: dict[str, Job] = {}  # by arm; an arm takes runs of earlier ones alone
        for group in groups.values():
            evaluated = [arm for arm in group if arm.evaluation]
            job = Job(
                name=f"{' / '.join(arm.name for arm in group)}, seed {seed}",
                request=replace(group[0].request, seed=seed).document(),
                evaluate=tuple(arm.evaluation for arm in evaluated),
                after={key: known[name].hash for key, name in group[0].runs.items()},
            )
            known |= {arm.name: job for arm in group}
            found += [
                Cell(arm=arm.name, seed=seed, job=job,
                     evaluation=evaluated.index(arm) if arm.evaluation else None)
                for arm in group
            ]  # fmt: skip
    return tuple(found)


def jobs(found: Sequence[Cell]) -> list[Job]:
    """Return the jobs behind cells, each once."""
    return list({cell.job.hash: cell.job for cell in found}.values())
