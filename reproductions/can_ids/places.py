"""Where a run stands in the scheme of the notes, and how a teacher is found there.

`{modality}/{dataset}/{learning type}/{model}/{size}/{with-kd,no-kd}/{mode}` below the folder of runs holds a
link to each finished run of that kind, under the run's own name. Runs themselves stand where all runs stand.
Source: notes 003, 1.3 and 4.3.
"""

import os
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from mechlab.errors import MechlabError
from mechlab.files import told
from mechlab.runs.folder import RunFolder
from reproductions.can_ids.modes import MODES

MODALITY = "automotive"
LEARNING = {"vgae": "unsupervised", "gat": "supervised", "fusion": "rl_fusion"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A kind of run in the scheme."""

    dataset: str
    model: str
    size: str
    is_distilled: bool
    mode: str

    @property
    def path(self) -> PurePosixPath:
        """Its folder below the folder of runs."""
        switch = "with-kd" if self.is_distilled else "no-kd"
        return PurePosixPath(MODALITY, self.dataset, LEARNING[self.model], self.model, self.size, switch,
                             self.mode)  # fmt: skip

    @property
    def teacher(self) -> "Place":
        """Where a teacher of such a run is looked for: not distilled, and a GAT in curriculum mode."""
        return replace(self, size="teacher", is_distilled=False, mode=MODES[self.model][0])


def enter(run: RunFolder, place: Place) -> Path:
    """Link a finished run into its place, and return the link; one that is there is made anew."""
    link = run.path.parent / place.path / run.name
    with told(link):
        link.parent.mkdir(parents=True, exist_ok=True)
        target = Path(*[".."] * len(place.path.parts), run.name)
        part = link.with_name(f".{run.name}.{os.getpid()}.part")
        part.unlink(missing_ok=True)
        part.symlink_to(target, target_is_directory=True)
        part.replace(link)
    return link


def runs_at(out: Path, place: Place) -> tuple[RunFolder, ...]:
    """Return the finished runs of a place, by name; a link to a run that was removed is none."""
    links = sorted((out / place.path).glob("*"))
    found = [RunFolder(out / link.name) for link in links if not link.name.startswith(".")]
    return tuple(run for run in found if run.is_finished)


def discovered(out: Path, place: Place, *, seed: int, purpose: str) -> RunFolder:
    """Return the run at a place: that of the same seed, or the only one; `purpose` is what it is wanted for.

    Raises:
        MechlabError: no run, or several of which none has the seed, or several that have it.
    """
    found = runs_at(out, place)
    same = [run for run in found if run.spec().seed == seed]
    if len(same) == 1:
        return same[0]
    if len(found) == 1:
        return found[0]
    if not found:
        raise MechlabError(
            f"{purpose} was looked for at '{out / place.path}', and no finished run is there; train one with "
            f"'mechlab train {place.model} --preset {place.size} --mode {place.mode}' on the same logs, or "
            "name a "
            "run."
        )
    several = ", ".join(run.name for run in same or found)
    raise MechlabError(
        f"{purpose} was looked for at '{out / place.path}', which has {several}; name one of them."
    )
