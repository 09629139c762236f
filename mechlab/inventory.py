"""What there is, as plain lists: the catalogs, the rooms, and the inventory rows that they cover."""

from collections.abc import Callable
from dataclasses import asdict
from importlib import import_module
from types import ModuleType
from typing import Any

from mechlab import systems
from mechlab.runs.aggregation_keys import MODE_OF
from mechlab.runs.settings import NONZERO
from mechlab.sweep import file as sweep
from mechlab.systems import Entry, Preset

Row = dict[str, Any]


def entries(kind: str) -> list[Row]:
    """Return the entries of a kind as `{name, id, summary, source, ...}`; none of them imports torch."""
    kinds: dict[str, Callable[[], list[Row]]] = {
        "systems": lambda: [_row(catalog.SYSTEM) for catalog in systems.catalogs().values()],
        "presets": lambda: _each(lambda catalog: catalog.PRESETS),
        "parts": lambda: _each(lambda catalog: catalog.PARTS),
        "datasets": lambda: [
            _row(entry) for entry in import_module("reproductions.datasets.catalog").DATASETS
        ],
        "backbones": lambda: [
            _row(entry) for entry in import_module("reproductions.backbones.catalog").BACKBONES
        ],
        "quantities": lambda: [
            _row(entry) for entry in import_module("mechlab.instrument.catalog").QUANTITIES
        ],
        "combinations": _combinations,
        "probes": lambda: [_probe(name, module) for name, module in systems.probes().items()],
        "figures": _figures,
        "studies": lambda: [
            *(_study(name, module) for name, module in systems.probes().items()),
            *(_sweep(sweep.read(path)) for path in sweep.shipped().values()),
        ],
    }
    return kinds[kind]()


def _row(entry: Entry) -> Row:
    return {name: value for name, value in asdict(entry).items() if name != "target"}


def _each(attribute: Callable[[ModuleType], tuple[Entry | Preset, ...]]) -> list[Row]:
    found = []
    for name, catalog in systems.catalogs().items():
        found += [
            {key: value for key, value in asdict(entry).items() if key != "target"} | {"system": name}
            for entry in attribute(catalog)
        ]
    return found


def _combinations() -> list[Row]:
    """Return what is refused unless --allow names it: a system's own, then keys that nothing would read."""
    found = []
    for system, catalog in systems.catalogs().items():
        for one in getattr(catalog, "COMBINATIONS", ()):
            row = {"name": one.name, "id": None, "summary": one.summary, "source": one.source}
            found.append(row | {"system": system, "refused": not one.is_warning})
        for key, (other, wanted) in catalog.NEEDS.items():
            values = "above 0" if wanted == NONZERO else " or ".join(map(str, wanted))
            row = {"name": key, "id": None, "summary": f"nothing reads {key} unless {other} is {values}"}
            found.append(row | {"source": "this repository", "system": system, "refused": True})
    for key, mode in MODE_OF.items():
        row = {"name": key, "id": None, "summary": f"nothing reads {key} unless aggregation is {mode}"}
        found.append(row | {"source": "notes 004 L5895", "system": None, "refused": True})
    return found


def _probe(name: str, module: ModuleType) -> Row:
    return {
        "name": name,
        "id": module.ID,
        "summary": _first_line(module),
        "source": module.SOURCE,
        "hypothesis": module.HYPOTHESIS,
    }


def _study(name: str, module: ModuleType) -> Row:
    plan = module.plan()
    return {
        "name": plan.name,
        "id": module.ID,
        "summary": plan.decision_rule,
        "source": module.SOURCE,
        "probe": name,
        "arms": [arm.name for arm in plan.arms],
        "seeds": plan.seeds,
        "hash": plan.hash,
    }


def _sweep(document: sweep.Document) -> Row:
    return {
        "name": document.name,
        "id": document.id,
        "summary": document.question,
        "source": document.source,
        "command": f"mechlab sweep run {document.name}",
        "arms": [arm.get("name") for arm in document.arms],
        "sizes": {name: size.seeds for name, size in document.sizes.items()},
    }


def _figures() -> list[Row]:
    probes = systems.probes()
    found = []
    for name, path in systems.modules("figures").items():
        module = import_module(path)
        if hasattr(module, "draw"):
            row = probes.get(name)
            found.append(
                {
                    "name": name,
                    "id": row.ID if row else None,
                    "summary": _first_line(module),
                    "source": "mechlab",
                }
            )
    return found


def _first_line(module: ModuleType) -> str:
    return (module.__doc__ or "").strip().splitlines()[0]
