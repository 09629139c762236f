"""Which recordings are of a teacher and which of its students, and whether a comparison of them is one.

An arm is named by what the run was told: nothing (`without`), `soft labels` (GAT), `latent`, `reconstruction`
or `both` (VGAE). Source: notes 003, phases 2 and 3.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from mechlab.errors import MechlabError
from mechlab.recording import Recording
from mechlab.runs.parts import defaults
from mechlab.study.replicates import Pick, image_rows, training
from mechlab.study.windows import Windows, windows_of

TEACHER, WITHOUT = "teacher", "without"
SIGNALS = ("latent_weight", "reconstruction_weight")
OF_RUNS = ("distill", "difficulty")  # keys whose value is a run, which differs from seed to seed
OF_TEACHING = ("alpha", "temperature")  # keys that nothing reads without a teacher


@dataclass(frozen=True, slots=True, kw_only=True)
class Taught:
    """A recording of a detector, and what its run is in the comparison."""

    recording: Recording
    system: str
    seed: int
    arm: str
    teacher: str | None  # name of the run that taught it
    words: dict[str, Any]  # what all students of a system must have in common

    @property
    def name(self) -> str:
        """Name of its run."""
        return str(self.recording.attributes["run_id"])


def taught(recording: Recording) -> Taught:
    """Return what a recorded run is in the comparison.

    Raises:
        MechlabError: a run of another system than vgae and gat.
    """
    train = training(recording, needs="who taught it")
    system = str(train["system"])
    if system not in ("vgae", "gat"):
        raise MechlabError(
            f"recording '{recording.name}' is of {system}, which no teacher teaches; give runs of vgae or "
            "gat."
        )
    parts = {**defaults(system), **train["parts"]}
    words = {key: value for key, value in parts.items() if key not in (*OF_RUNS, *SIGNALS)}
    words |= {key: train[key] for key in ("epochs", "batch_size", "features")}
    if parts["distill"] is None:
        words = {key: value for key, value in words.items() if key not in OF_TEACHING}
    return Taught(
        recording=recording, system=system, seed=int(train["seed"]), arm=arm_of(system, parts),
        teacher=parts["distill"], words=words,
    )  # fmt: skip


def arm_of(system: str, parts: dict[str, Any]) -> str:
    """Return the arm of a run by its parts."""
    if parts["distill"] is None:
        return TEACHER if parts["size"] == TEACHER else WITHOUT
    if system == "gat":
        return "soft labels"
    latent, reconstruction = (bool(parts[key]) for key in SIGNALS)
    return "both" if latent and reconstruction else "latent" if latent else "reconstruction"


def lessons(runs: Sequence[Taught]) -> Iterator[tuple[Taught, list[Taught]]]:
    """Give each teacher with its students, by system and seed; a student without a teacher is of that seed.

    Raises:
        MechlabError: two runs of one arm and seed, no teacher, a student of another teacher, or students of
            a system that differ in more than their teaching.
    """
    found: dict[tuple[str, int], dict[str, Taught]] = {}
    for run in runs:
        of_seed = found.setdefault((run.system, run.seed), {})
        if run.arm in of_seed:
            raise MechlabError(
                f"runs '{of_seed[run.arm].name}' and '{run.name}' are both the {run.system} '{run.arm}' of "
                f"seed {run.seed}; give one of them."
            )
        of_seed[run.arm] = run
    _refuse_other_differences(runs)
    for (system, seed), of_seed in found.items():
        teacher = of_seed.pop(TEACHER, None)
        if teacher is None:
            raise MechlabError(
                f"no teacher of seed {seed} is among the runs of {system} ({_names(of_seed)}); give the run "
                "that taught them as well."
            )
        for run in of_seed.values():
            if run.teacher not in (None, teacher.name):
                raise MechlabError(
                    f"run '{run.name}' was taught by '{run.teacher}', and the teacher of seed {seed} is "
                    f"'{teacher.name}'; give the teacher that it had."
                )
        yield teacher, list(of_seed.values())


def _refuse_other_differences(runs: Sequence[Taught]) -> None:
    """Refuse students whose difference might come of something else than the teaching."""
    seen: dict[tuple[str, str], tuple[Taught, Any]] = {}
    for run in runs:
        for key, value in run.words.items() if run.arm != TEACHER else ():
            first, known = seen.setdefault((run.system, key), (run, value))
            if known != value:
                raise MechlabError(
                    f"runs '{first.name}' and '{run.name}' differ in '{key}' as well, so their difference is "
                    "not that of the teaching; give students that differ in it alone."
                )


def _names(runs: dict[str, Taught]) -> str:
    return ", ".join(run.name for run in runs.values())


class Seen(NamedTuple):
    """What a run makes of the windows of its recording; rows stand in the order of the windows."""

    run: Taught
    windows: Windows
    scores: Float[np.ndarray, " window"]
    layers: dict[str, Int[np.ndarray, " window"]]  # key of a layer -> its rows


def seen_by(run: Taught, keys: Mapping[str, str]) -> Seen:
    """Return scores and layers of a run; `keys` are those of `score` and `latent`, and a pattern of `levels`.

    Raises:
        MechlabError: a recording without scores or latents of windows, or of training windows.
    """
    recording = run.recording
    for role in ("score", "latent"):
        if keys[role] not in recording:
            raise MechlabError(
                f"recording '{recording.name}' of run '{run.name}' has no '{keys[role]}'; record level.* "
                "(activation), latent (latent) and window (score) of every run."
            )
    layers = [*recording.keys(keys["levels"]), keys["latent"]]
    items, (rows, *others) = image_rows(recording, [Pick(key=key) for key in (keys["score"], *layers)])
    if any(recording.items[int(item)].split != "test" for item in items):
        raise MechlabError(
            f"run '{run.name}' was recorded on windows that it was trained on; record its tests (--split "
            "test)."
        )
    scores = recording[keys["score"]].exact(rows).astype(np.float64)
    return Seen(run, windows_of(recording, items), scores, dict(zip(layers, others, strict=True)))


def refuse_other_windows(teacher: Seen, student: Seen) -> None:
    """Refuse two recordings whose rows are not of the same windows.

    Raises:
        MechlabError: other windows, or others by the limit.
    """
    if teacher.windows.names != student.windows.names:
        raise MechlabError(
            f"runs '{teacher.run.name}' and '{student.run.name}' were recorded on other windows; record both "
            "on the same split of the same logs, without --limit or with the same one."
        )
