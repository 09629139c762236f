"""How many numbers a run holds and trains, by part, from its fingerprint; loads no torch."""

from collections import Counter
from math import prod
from typing import Any

from mechlab import fingerprint
from mechlab.errors import MechlabError
from mechlab.runs.folder import RunFolder


def run_counts(run: RunFolder) -> dict[str, Any]:
    """Return the numbers of a run after its last finished task: in total, trained by task, and by part.

    Raises:
        MechlabError: a run without a finished task.
    """
    file = run.path / "fingerprint.json"
    if not file.exists():
        raise MechlabError(f"run '{run.path}' has no finished task to count; train it first.")
    stages = fingerprint.load(file)
    trained = [
        sum(prod(item.shape) for item in stage.declared if item.learning_rate is not None) for stage in stages
    ]
    parts: Counter[str] = Counter()
    moved: Counter[str] = Counter()
    for item in stages[-1].declared:
        name = item.name.split(".", 1)[0]
        parts[name] += prod(item.shape)
        moved[name] += prod(item.shape) if item.learning_rate is not None else 0
    return {
        "tasks": len(stages),
        "total": parts.total(),
        "trained": trained,
        "parts": {name: {"total": size, "trained": moved[name]} for name, size in sorted(parts.items())},
    }
