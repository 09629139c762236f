"""What can be trained, read and asked, found by name at run time: built-ins by folder, others by entry point.

A catalog is a torch-free file that lists entries; the code behind an entry is imported when it is used.
"""

import pkgutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, UInt8
from pydantic import JsonValue

from mechlab.errors import INSTALL, MechlabError, unknown
from mechlab.specs import Item, Layout

OF_IMAGES = ("image_auroc", "pixel_auroc", "pixel_ap")  # metrics of a table of runs on images


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of a list: a thing with a name, the inventory row it covers, and where its code is."""

    name: str
    summary: str
    source: str  # paper or note line
    target: str  # "package.module:attribute", imported on use
    id: str | None = None
    system: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """A named list of parts: what `--preset` selects."""

    name: str
    summary: str
    source: str
    parts: Mapping[str, JsonValue] = field(default_factory=dict)
    inputs: Mapping[str, JsonValue] = field(default_factory=dict)  # of mechlab.runs.settings.InputSettings
    evaluation: Mapping[str, JsonValue] = field(
        default_factory=dict
    )  # of mechlab.runs.settings.EvaluationSettings
    allow: tuple[str, ...] = ()  # combinations that it stands for, let pass and marked without being asked
    asks: Mapping[str, JsonValue] = field(
        default_factory=dict
    )  # words of the command line that it is meant for, e.g. backbone
    id: str | None = None


@runtime_checkable
class Dataset(Protocol):
    """Images of several classes with their labels and masks."""

    name: str

    def classes(self) -> tuple[str, ...]:
        """Return the class names, in order."""
        ...

    def items(self, class_name: str) -> tuple[Item, ...]:
        """Return the images of a class, training split first; an unknown or empty class is a MechlabError."""
        ...

    def image(self, item: Item, size: int) -> UInt8[np.ndarray, "height width 3"]:
        """Return one RGB image, resized to size x size pixels."""
        ...

    def mask(self, item: Item, size: int) -> Bool[np.ndarray, "height width"]:
        """Return the defect mask of one image, resized like it; all False for a normal image."""
        ...


def load(target: str) -> Any:  # noqa: ANN401 - any object of a module
    """Import `package.module:attribute`; a package of an extra that is absent becomes a sentence."""
    module, _, attribute = target.partition(":")
    try:
        found = import_module(module)
    except ModuleNotFoundError as fault:
        if fault.name and fault.name.split(".")[0] in _rooms():
            raise
        raise MechlabError(
            f"'{module}' needs the package '{fault.name}', which is not installed; {INSTALL}."
        ) from fault
    return getattr(found, attribute) if attribute else found


def _rooms() -> tuple[str, ...]:
    return ("mechlab", "probes", "reproductions", "figures", "cli")


@cache
def catalogs() -> dict[str, ModuleType]:
    """Return the torch-free catalog of each system by system name; a name clash is an error."""
    found: dict[str, ModuleType] = {}
    rooms = import_module("reproductions")
    paths = [
        f"reproductions.{module.name}.catalog"
        for module in pkgutil.iter_modules(rooms.__path__)
        if module.ispkg and (Path(rooms.__path__[0]) / module.name / "catalog.py").exists()
    ]
    outside = [point.value for point in entry_points(group="mechlab.systems")]
    for path in _further([*paths, *outside]):
        catalog = import_module(path)
        if not hasattr(catalog, "SYSTEM"):
            continue  # data sets and backbones list no system
        if catalog.SYSTEM.name in found:
            raise MechlabError(
                f"two systems are named '{catalog.SYSTEM.name}'; uninstall one of the packages."
            )
        found[catalog.SYSTEM.name] = catalog
    return found


def _further(paths: Iterable[str]) -> Iterator[str]:
    """Give each path, or where a room holds several systems, the paths of their catalogs (its `CATALOGS`)."""
    for path in paths:
        yield from getattr(import_module(path), "CATALOGS", (path,))


def session(system: str) -> ModuleType | None:
    """Return what trains a system whose inputs are no images (`SESSION` of its catalog); else None.

    Its `train(request, report=...)` and `outline(request)` are those of `mechlab.train`, and its
    `record(run, document, device=..., report=...)` does what `mechlab.instrument.session.record_run` does.
    `evaluate(run, words, device=..., report=...)` answers `mechlab evaluate`, and `score(run, place, target,
    device=..., report=...)` answers `mechlab score`.
    """
    path: str | None = getattr(catalog(system), "SESSION", None)
    if path is None:
        return None
    found = load(path)
    assert isinstance(found, ModuleType)
    return found


def catalog(system: str) -> ModuleType:
    """Return one system's catalog: SYSTEM, PRESETS, PARTS."""
    known = catalogs()
    if system not in known:
        raise unknown("system", system, known)
    return known[system]


def layout(system: str) -> Layout:
    """Return how a system sees an image: patches of one width, or a teacher's maps each on its own grid."""
    found: Layout = getattr(catalog(system), "LAYOUT", "patches")
    return found


def preset(system: str, name: str) -> Preset:
    """Return one preset of a system."""
    known: dict[str, Preset] = {item.name: item for item in catalog(system).PRESETS}
    if name not in known:
        raise unknown(f"preset of {system}", name, known)
    return known[name]


def score_unit(system: str) -> str:
    """Return the unit of a system's scores as people read it: its catalog's SCORE_UNIT, else nats."""
    return str(getattr(catalogs().get(system), "SCORE_UNIT", "nats"))


def metrics(system: str) -> tuple[str, ...]:
    """Return the metrics by which runs of a system are compared, the first above all (its METRICS)."""
    return tuple(getattr(catalogs().get(system), "METRICS", OF_IMAGES))


def loss_unit(system: str) -> str:
    """Return what a system's training loss is counted in: its catalog's LOSS_UNIT, else nats a patch."""
    return str(getattr(catalogs().get(system), "LOSS_UNIT", "nats a patch"))


def modules(room: str) -> dict[str, str]:
    """Return name -> import path of the modules of a room that hold one thing each (probes, figures)."""
    package = import_module(room)
    found = {module.name: f"{room}.{module.name}" for module in pkgutil.iter_modules(package.__path__)}
    for point in entry_points(group=f"mechlab.{room}"):
        if point.name in found:
            raise MechlabError(f"two {room} are named '{point.name}'; uninstall one of the packages.")
        found[point.name] = point.value
    return found


@cache
def probes() -> dict[str, ModuleType]:
    """Return the probes by name: every module of the folder that has a HYPOTHESIS."""
    loaded = {name: import_module(path) for name, path in modules("probes").items()}
    return {name: module for name, module in loaded.items() if hasattr(module, "HYPOTHESIS")}


def probe(name: str) -> ModuleType:
    """Return one probe by name; hyphens and underscores are the same."""
    known = probes()
    found = known.get(name.replace("-", "_"))
    if found is None:
        raise unknown("probe", name, known)
    return found


def dataset(name: str, root: Path | None) -> Dataset:
    """Open a data set by name."""
    entries: dict[str, Entry] = {
        entry.name: entry for entry in import_module("reproductions.datasets.catalog").DATASETS
    }
    if name not in entries:
        raise unknown("data set", name, entries)
    opened: Dataset = load(entries[name].target)(root)
    return opened
