"""Two runs side by side: spec, aspects, declared and observed parameters, trajectory, metrics.

Aspects are what a system says of itself in words (`ASPECTS` of its catalog: parts -> name -> words), so that
the differences which a document lists can be read off two runs.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from math import prod
from typing import Any

from mechlab import fingerprint, systems
from mechlab.errors import MechlabError
from mechlab.fingerprint import StageFingerprint
from mechlab.runs.folder import RunFolder
from mechlab.runs.parts import complete


def difference(first: RunFolder, second: RunFolder) -> dict[str, Any]:
    """Return what `mechlab diff --json` prints of runs: spec, declared, observed, trajectory, metrics."""
    one, two = _stages(first), _stages(second)
    specs = first.spec(), second.spec()
    keys = fingerprint.differing_keys(*specs)
    equal = fingerprint.trajectory(one) == fingerprint.trajectory(two)
    no_op = None
    if equal and specs[0].hash != specs[1].hash:
        try:
            fingerprint.refuse_no_op([(run.name, run.spec(), "equal") for run in (first, second)])
        except MechlabError as refusal:
            no_op = str(refusal)
    return {
        "kind": "runs",
        "first": first.name,
        "second": second.name,
        "spec": [{"key": key, "first": _value(first, key), "second": _value(second, key)} for key in keys],
        "aspects": _aspects(first, second),
        "declared": _differing(_declared(one), _declared(two)),
        "observed": _differing(_observed(one), _observed(two)),
        "trajectory_equal": equal,
        "no_op": no_op,
        "parameters": {"first": _count(one), "second": _count(two)},
        "metrics": _metrics(first, second),
    }


def _stages(run: RunFolder) -> tuple[StageFingerprint, ...]:
    file = run.path / "fingerprint.json"
    if not file.exists():
        raise MechlabError(f"run '{run.path}' has no finished task to compare; train it first.")
    return fingerprint.load(file)


def _value(run: RunFolder, key: str) -> Any:  # noqa: ANN401 - a JSON value
    document = run.spec().model_dump(mode="json")
    if key == "features":
        return [
            f"{item['class_name']}: {item['backbone']}, {item['weights'][:12]}"
            for item in document["features"]
        ]
    return run.parts().get(key.removeprefix("parts.")) if key.startswith("parts.") else document.get(key)


def _aspects(first: RunFolder, second: RunFolder) -> list[dict[str, str | None]]:
    """Return the aspects in which two runs differ; None where a system does not name one."""
    one, two = (_aspects_of(run) for run in (first, second))
    return [
        {"aspect": name, "first": one.get(name), "second": two.get(name)}
        for name in dict.fromkeys([*one, *two])
        if one.get(name) != two.get(name)
    ]


def _aspects_of(run: RunFolder) -> Mapping[str, str]:
    catalog = systems.catalogs().get(run.spec().system)
    told: Callable[[Mapping[str, Any]], Mapping[str, str]] | None = getattr(catalog, "ASPECTS", None)
    return {} if told is None else told(complete(run.spec()))


def _declared(stages: tuple[StageFingerprint, ...]) -> dict[str, Any]:
    return {f"stage {stage.task} {item.name}": asdict(item) for stage in stages for item in stage.declared}


def _observed(stages: tuple[StageFingerprint, ...]) -> dict[str, Any]:
    return {f"stage {stage.task} {name}": moved for stage in stages for name, moved in stage.moved.items()}


def _differing(one: dict[str, Any], two: dict[str, Any]) -> list[str]:
    return [name for name in sorted(one.keys() | two.keys()) if one.get(name) != two.get(name)]


def _count(stages: tuple[StageFingerprint, ...]) -> int:
    return sum(prod(item.shape) for item in stages[-1].declared)


def _metrics(first: RunFolder, second: RunFolder) -> list[dict[str, Any]]:
    if not (first.is_finished and second.is_finished):
        return []
    one, two = first.summary()["mean"], second.summary()["mean"]
    rows = []
    for name in one:
        known = isinstance(one[name], int | float) and isinstance(two.get(name), int | float)
        change = two[name] - one[name] if known else None
        rows.append({"metric": name, "first": one[name], "second": two.get(name), "difference": change})
    return rows
