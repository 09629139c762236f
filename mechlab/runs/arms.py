"""Runs as the arms of a comparison: an arm is the runs that differ in nothing but their seed.

Keys are those of training, features and evaluation, one by one, so that what differs can be named.
Source: inventory O1 (a name made of what differs from the parent), O2 (one-factor rule).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mechlab import fingerprint, systems
from mechlab.errors import MechlabError
from mechlab.files import canonical_json, read_json, sha256_bytes
from mechlab.runs.folder import RunFolder, find
from mechlab.runs.parts import defaults
from mechlab.specs import EvalSpec

_SEEN = ("dataset", "backbone", "weights", "layers", "image_size", "dim", "transform", "manifest")
# How a checkpoint is scored: every key of an EvalSpec but what is scored, so that no later key is forgotten
_SCORED = tuple(
    key for key in EvalSpec.model_fields if key not in ("train", "checkpoint", "features", "allowed")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """One run under one evaluation: what an arm is made of."""

    run: RunFolder
    keys: Mapping[str, Any]
    seed: int
    label: str
    metrics: Mapping[str, float | None]  # means over classes, and forgetting
    trajectory: str
    allowed: tuple[str, ...]
    classes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # metrics of each class, or tests


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """Runs of equal keys over seeds, and the keys in which they differ from the arm they are held against."""

    label: str
    runs: tuple[Scored, ...]  # one a seed, ascending
    differs: tuple[str, ...] = ()

    @property
    def allowed(self) -> tuple[str, ...]:
        """What was let pass in any of the runs."""
        return tuple(sorted({name for scored in self.runs for name in scored.allowed}))


def scored(name: str, out: Path) -> Scored:
    """Return a run by path, name or hash; `RUN:HASH` is the run under that evaluation.

    Raises:
        MechlabError: no such run or evaluation, or a run that is not finished.
    """
    run_name, colon, wanted = name.rpartition(":")
    is_run = not colon or (Path(name) / "run.json").exists()
    run = find(name if is_run else run_name, out)
    summary = run.summary()
    folder = run.path / "evals" / str(summary["evaluation"])
    if not is_run:
        folder = _evaluation(run, wanted)
    document = read_json(folder / "metrics.json") if (folder / "metrics.json").exists() else None
    is_first = folder.name == summary["evaluation"]
    forgetting = {"forgetting": summary["forgetting"]} if is_first else {}
    return Scored(
        run=run,
        keys=keys_of(run, {} if document is None else document["spec"]),
        seed=run.spec().seed,
        label=label(run, {} if is_first or document is None else document["spec"]),
        metrics={**(summary if document is None else document)["mean"], **forgetting},
        trajectory=summary["trajectory"],
        allowed=tuple(sorted({*run.spec().allowed, *((document or summary).get("allowed", ()))})),
        classes=(summary if document is None else document).get("metrics", {}),
    )


def _evaluation(run: RunFolder, wanted: str) -> Path:
    found = [path for path in run.evaluations() if wanted and path.name.startswith(wanted)]
    if len(found) != 1:
        known = ", ".join(path.name for path in run.evaluations()) or "none"
        raise MechlabError(f"run '{run.name}' has no one evaluation '{wanted}'; it has: {known}.")
    return found[0]


def keys_of(run: RunFolder, evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """Return everything that can move a number of a run but its seed, by name."""
    spec = run.spec().model_dump(mode="json")
    keys = {key: value for key, value in _parts(run).items() if key not in ("epochs", "batch_size")}
    keys |= {key: value for key, value in spec.items()
             if key not in ("parts", "features", "seed", "allowed")}  # fmt: skip
    for key in _SEEN:
        keys[f"features.{key}"] = {seen["class_name"]: seen[key] for seen in spec["features"]}
    sizes = keys["features.image_size"]  # and that at which tasks are compared, where some see their own
    sizes[""] = keys.pop("image_size", next(iter(sizes.values())))
    if (task := _earlier(run, evaluation)) is not None:
        keys["evaluation.checkpoint"] = task
    return keys | {f"evaluation.{key}": evaluation[key] for key in _SCORED if key in evaluation}


def _parts(run: RunFolder) -> dict[str, Any]:
    """Return the parts of a run; one that names another run beside it says what that is, but for its seed.

    So students are one arm whether they share a teacher or have one of their own seed each.
    """
    found = {}
    for key, value in run.parts().items():
        other = RunFolder(run.path.parent / value) if isinstance(value, str) and value else None
        if other is not None and (other.path / "run.json").exists():
            known = sha256_bytes(canonical_json(keys_of(other, {})).encode())[:6]
            value = f"{other.spec().system} of arm {known}"
        found[key] = value
    return found


def _earlier(run: RunFolder, evaluation: Mapping[str, Any]) -> int | None:
    """Return the task after which a checkpoint was evaluated that is not the last one."""
    task = evaluation.get("checkpoint")
    return None if task == len(run.spec().tasks) - 1 else task


def _text(value: Any) -> str:  # noqa: ANN401 - a JSON value
    return "+".join(map(str, value)) if isinstance(value, list) else str(value)


def label(run: RunFolder, evaluation: Mapping[str, Any]) -> str:
    """Return the user's name of a run, or its preset with what differs from it, and what scored it."""
    request, kind = run.request(), run.spec().system
    words = [request.name] if request.name else [request.preset, *_changes(run)]
    words += [f"{key}={_text(evaluation[key])}" for key in _SCORED if evaluation.get(key) not in (None, [])]
    if (task := _earlier(run, evaluation)) is not None:
        words.append(f"after task {task}")
    words += [f"freeze {pattern}" for pattern in request.freeze]
    return " ".join(words) if kind == "moleflow" else " ".join([kind, *words])


def _changes(run: RunFolder) -> list[str]:
    request, catalogs = run.request(), systems.catalogs()
    presets = catalogs[request.system].PRESETS if request.system in catalogs else ()
    known = {preset.name: preset for preset in presets}
    if request.preset not in known:
        return [f"{key}={value}" for key, value in request.settings.items()]
    usual = {**defaults(request.system), **known[request.preset].parts}
    changed = [f"{key}={value}" for key, value in _parts(run).items() if value != usual.get(key, value)]
    sizes = {"image_size", "dim", "holdout"} & request.settings.keys()
    asked = {name: getattr(request, name) for name in ("image_size", "dim") if getattr(request, name)}
    return changed + [
        f"{key}={value}" for key, value in (asked | {k: request.settings[k] for k in sizes}).items()
    ]


def differing(one: Scored, other: Scored) -> tuple[str, ...]:
    """Return the keys in which two arms differ, sorted; parts of two systems count as one key, `system`."""
    keys = one.keys.keys() | other.keys.keys()
    if one.keys["system"] != other.keys["system"]:
        keys -= {key for scored in (one, other) for key in scored.run.parts() if key != "holdout"}
    return tuple(sorted(key for key in keys if _differs(key, one.keys.get(key), other.keys.get(key))))


def _differs(key: str, one: Any, other: Any) -> bool:  # noqa: ANN401 - JSON values
    """Whether a key differs; features of classes that one run alone has are in `tasks`, and named there."""
    if not key.startswith("features.") or one is None or other is None:
        return bool(one != other)
    if common := one.keys() & other.keys():
        return any(one[name] != other[name] for name in common)
    first, second = ({canonical_json(value) for value in each.values()} for each in (one, other))
    return key != "features.manifest" and first != second


def arms_of(runs: Sequence[Scored]) -> tuple[Arm, ...]:
    """Return the arms of some runs, in the order in which they first come; the first one is the parent.

    Raises:
        MechlabError: one run twice, or arms of different keys with an equal trajectory: a no-op ablation.
    """
    groups: dict[str, dict[int, Scored]] = {}
    for one in runs:
        group = groups.setdefault(canonical_json(one.keys), {})
        if one.seed in group:
            raise MechlabError(
                f"runs '{group[one.seed].run.name}' and '{one.run.name}' are one arm at one seed; "
                "give each once."
            )
        group[one.seed] = one
    refuse_no_ops(runs)
    firsts = [next(iter(group.values())) for group in groups.values()]
    labels = [first.label for first in firsts]
    return tuple(
        Arm(
            label=first.label if labels.count(first.label) == 1 else f"{first.label} ({first.run.name})",
            runs=tuple(group[seed] for seed in sorted(group)),
            differs=differing(firsts[0], first),
        )
        for first, group in zip(firsts, groups.values(), strict=True)
    )


def refuse_no_ops(runs: Sequence[Scored]) -> None:
    """Refuse runs that were trained by other words and are equal to the bit (`mechlab.fingerprint`)."""
    fingerprint.refuse_no_op([(one.run.name, one.run.spec(), one.trajectory) for one in runs])
