"""What a user asks of a training: the words of the command line, before they become a spec."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import JsonValue

from mechlab.errors import MechlabError, unknown
from mechlab.systems import Dataset

OnFault = Literal["stop", "go-on"]  # as in mechlab.recording, which this file does without: it loads h5py


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainRequest:
    """One `mechlab train`: everything but `out`, `cache`, `device`, `threads` and paths can move a number."""

    system: str = "moleflow"
    preset: str = "mini"
    data: str = "embedded"
    root: Path | None = None
    tasks: str = "all"
    stream: str | None = None  # classes of the first and of each further task, as in 14-1
    order: str | None = None  # of the classes in the stream, by a name of the data set
    backbone: str = "embedded"
    weights: Path | str | None = None  # file, "embedded", "random-<seed>"; None: the backbone's own
    image_size: int | None = None  # pixels; None: the preset's
    layers: tuple[str, ...] | None = None
    dim: int | None = None
    seed: int = 0
    epochs: int | None = None
    batch_size: int | None = None
    settings: dict[str, JsonValue] = field(default_factory=dict)
    record: Path | tuple[dict[str, JsonValue], ...] | None = (
        None  # plan, or its entries, followed in training
    )
    record_fault: OnFault | None = None  # when the recording's disk fails; None: stop
    freeze: tuple[str, ...] = ()  # patterns of parameters that do not move
    allow: tuple[str, ...] = ()  # names of what would be refused and shall pass; the result is marked
    overrides: dict[str, dict[str, JsonValue]] = field(default_factory=dict)  # of tasks, by a class's name
    base_from: str | None = None  # a run whose shared parameters are taken and never trained
    name: str | None = None  # the user's own, for tables; must not contradict the settings
    device: str = "auto"
    devices: int = 1
    threads: int | None = None
    out: Path = Path("runs")
    cache: Path = Path("cache")

    def document(self) -> dict[str, Any]:
        """Return the request as JSON: what `run.json` keeps as provenance."""
        return {
            name: str(value) if isinstance(value, Path) else value for name, value in asdict(self).items()
        }

    @classmethod
    def read(cls, document: dict[str, Any]) -> "TrainRequest":
        """Rebuild a request from `document`."""
        known = {item.name for item in fields(cls)}
        surplus = sorted(set(document) - known)
        if surplus:
            raise unknown("key of a training request", surplus[0], known)
        values = dict(document)
        for name in {"root", "record", "out", "cache"} & values.keys():
            is_plan = isinstance(values[name], list | tuple)  # of `record` alone: its entries themselves
            values[name] = tuple(values[name]) if is_plan else _path(values[name])
        weights = values.get("weights")
        if weights is not None and weights != "embedded" and not str(weights).startswith("random-"):
            values["weights"] = Path(weights)
        values["layers"] = None if values.get("layers") is None else tuple(values["layers"])
        for name in ("freeze", "allow"):
            words = values.get(name) or ()
            values[name] = (words,) if isinstance(words, str) else tuple(words)
        _check_fault(values.get("record_fault"), record=values.get("record"))
        return cls(**values)


def _path(value: Path | str | None) -> Path | None:
    return None if value is None else Path(value)


def _check_fault(word: object, *, record: object) -> None:
    if word is not None and word not in get_args(OnFault):
        raise unknown("answer to a fault of the recording", str(word), get_args(OnFault))
    if word is not None and record is None:
        raise MechlabError(
            f"--record-fault {word} was given without --record, so nothing reads it; give --record PLAN (or "
            "--site) as well, or leave it out."
        )


def task_stream(text: str, dataset: Dataset) -> tuple[tuple[str, ...], ...]:
    """Return the tasks that `text` names: a comma starts a task, `+` joins classes.

    A subset makes a task of each of its classes; `all` is every class, unless the data set has its own.

    Raises:
        MechlabError: an unknown class, a class named twice, an empty task, or a subset that is not all there.
    """
    if (subset := subset_of(text, dataset)) is not None:
        return tuple((name,) for name in subset)
    tasks = tuple(tuple(part.strip() for part in task.split("+")) for task in text.split(","))
    named = [name for task in tasks for name in task]
    for name in named:
        if not name:
            raise MechlabError(
                f"tasks '{text}' hold an empty name; write them as class,class or class+class,class."
            )
        if name not in dataset.classes():
            raise unknown(f"class of {dataset.name}", name, [*dataset.classes(), *_subsets(dataset)])
        if named.count(name) > 1:
            raise MechlabError(
                f"class '{name}' stands twice in tasks '{text}'; each class belongs to one task."
            )
    return tasks


def subset_of(text: str, dataset: Dataset) -> tuple[str, ...] | None:
    """Return the classes of the subset that `text` names; None where it names none.

    Raises:
        MechlabError: a subset that is not all there.
    """
    if text not in (subsets := _subsets(dataset)):
        return None
    _refuse_missing(text, subsets[text], dataset)
    return tuple(subsets[text])


def _subsets(dataset: Dataset) -> dict[str, Sequence[str]]:
    return {"all": dataset.classes(), **getattr(dataset, "subsets", {})}


def _refuse_missing(text: str, names: Sequence[str], dataset: Dataset) -> None:
    there = [name for name in names if name in dataset.classes()]
    if len(there) < len(names):
        missing = [name for name in names if name not in there]
        advice = f"or give --tasks {','.join(there)}" if there else "or name other classes with --tasks"
        raise MechlabError(
            f"tasks '{text}' are {len(names)} classes of {dataset.name}, and {len(missing)} are not there: "
            f"{', '.join(missing)}; add their folders, {advice}."
        )


def setting(text: str) -> tuple[str, JsonValue]:
    """Return the key and value of one `--set key=value`; the value is read as JSON where it is JSON."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise MechlabError(f"'{text}' is no setting; write --set key=value, e.g. --set tail_weight=0.")
    try:
        return key.strip(), json.loads(value)
    except json.JSONDecodeError:
        return key.strip(), value
