"""A folder of CAN logs in the layout of can-train-and-test and of the graph detectors' public code.

`<root>/<part>/<log>` or, flat, `<root>/<part>__<log>`; a part is `train_01_attack_free`,
`train_02_with_attacks`, or `test_0X_...`: `01_known_vehicle_known_attack`, `02_unknown_vehicle_known_attack`,
`03_known_vehicle_unknown_attack`, `04_unknown_vehicle_unknown_attack`, `05_suppress`, `06_masquerade`, or an
attack of Car-Hacking. A log is named `<attack>-<vehicle>`, `<attack>-<number>` or `<attack>`. Source:
arXiv:2308.04972; notes 003.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from mechlab.errors import MechlabError
from reproductions.can_ids.graph_set import Source
from reproductions.can_ids.reading import SUFFIXES

EXCLUDED = ("suppress", "masquerade")  # attacks that add no message: a window's ids and rate do not change
NO_ATTACK = "none"
VEHICLES = ("kia", "soul", "sonata", "spark", "impala", "silverado", "traverse", "forester")
_ATTACKS = {"flooding": "dos", "fuzzy": "fuzzing", "fuzz": "fuzzing"}  # other words for the same attack
_PART = re.compile(r"(train|test)_\d\d_\w+")
_FREE = re.compile(r"attack[-_ ]?free|normal", re.IGNORECASE)
_SILENT = ("dataset", "data", "attack", "log", "run")  # words of a file name that tell nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFile:
    """One log on the disk."""

    path: Path
    source: Source


@dataclass(frozen=True, slots=True, kw_only=True)
class CanFolder:
    """The logs below a root: those of training parts first, by part and name."""

    root: Path
    files: tuple[LogFile, ...]
    left_out: tuple[Path, ...]  # logs of excluded attacks

    @property
    def name(self) -> str:
        """The name of the data set: that of its folder."""
        return self.root.resolve().name

    @property
    def training(self) -> tuple[LogFile, ...]:
        """The logs of the training parts."""
        return tuple(file for file in self.files if file.source.part.startswith("train_"))

    @property
    def test(self) -> tuple[LogFile, ...]:
        """The logs of the test parts."""
        return tuple(file for file in self.files if file.source.part.startswith("test_"))


def open(root: Path | None, *, exclude: Sequence[str] = EXCLUDED) -> CanFolder:
    """Find the logs below a root; those whose part or name has a word of `exclude` are left out.

    Raises:
        MechlabError: no folder, or no training log in it.
    """
    if root is None:
        raise MechlabError("data set 'can' needs a folder of logs; give it with --root DIR.")
    if not root.is_dir():
        raise MechlabError(f"data folder '{root}' does not exist; give the folder of the logs with --root.")
    kept, left_out = [], []
    for part, path in logs_below(root):
        if not part:
            continue
        name = plain_name(part, path)
        if any(word in f"{part} {name}".lower() for word in exclude):
            left_out.append(path)
        else:
            kept.append(LogFile(path=path, source=source_of(name, part)))
    if not any(file.source.part.startswith("train_") for file in kept):
        raise MechlabError(
            f"'{root}' has no training log; put logs ({', '.join(SUFFIXES)}) into folders such as "
            "train_01_attack_free, train_02_with_attacks and test_01_known_vehicle_known_attack, or name "
            "them <part>__<log>."
        )
    order = sorted(
        kept, key=lambda file: (file.source.part[:5] != "train", file.source.part, file.source.name)
    )
    return CanFolder(root=root, files=tuple(order), left_out=tuple(sorted(left_out)))


def refuse_images(root: Path | None) -> NoReturn:
    """Say to who asks for the images of such a folder that there are none."""
    del root
    raise MechlabError(
        "data set 'can' holds logs of messages, not images; train vgae, gat or fusion on it, look at it with "
        "'mechlab can check DIR', or give a data set of images with --data."
    )


def source_of(name: str, part: str = "") -> Source:
    """Return what the name of a log and its part tell: attack and vehicle, in small letters."""
    words = [word for word in re.split(r"[-_ ]+", name.lower()) if word and word not in _SILENT]
    vehicle = next((word for word in words if word in VEHICLES), "")
    told = [_ATTACKS.get(word, word) for word in words if word != vehicle and not word.isdigit()]
    is_free = bool(_FREE.search(name)) or part.endswith("attack_free")
    attack = NO_ATTACK if is_free else "-".join(told) or "unnamed"
    return Source(name=name, part=part, attack=attack, vehicle=vehicle)


def logs_below(root: Path) -> list[tuple[str, Path]]:
    """Return each log below a folder, or a log itself, with its part.

    That is the nearest folder, or the beginning of its own name, that is a part; "" where none is.
    """
    found = []
    for path in [root] if root.is_file() else sorted(root.rglob("*")):
        if path.suffix.lower() not in SUFFIXES or not path.is_file() or path.name.startswith("."):
            continue
        own, _, rest = path.stem.partition("__")
        if rest and _PART.fullmatch(own):
            found.append((own, path))
            continue
        folders = [parent for parent in path.relative_to(root).parts[:-1] if _PART.fullmatch(parent)]
        found.append((folders[-1] if folders else "", path))
    return found


def plain_name(part: str, path: Path) -> str:
    """Return the name of a log without suffix and part."""
    return path.stem.removeprefix(f"{part}__")
