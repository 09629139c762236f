"""The accuracy matrix over stages and tasks: forgetting, and whether earlier scores stayed bit-identical."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Stages = Sequence[Mapping[str, Any]]  # one evaluation document a stage


def accuracy_matrix(stages: Stages, tasks: Sequence[Sequence[str]]) -> list[list[float | None]]:
    """Return routed image AUROC [stage][task], None before a task; a task is the mean of its classes."""
    rows: list[list[float | None]] = []
    for stage, document in enumerate(stages):
        row: list[float | None] = []
        for task in range(len(tasks)):
            names = tasks[task] if task <= stage else ()
            values = [document["metrics"][name]["image_auroc"] for name in names]
            known = [value for value in values if value is not None]
            row.append(float(np.mean(known)) if known else None)
        rows.append(row)
    return rows


def forgetting(matrix: Sequence[Sequence[float | None]]) -> float | None:
    """Return the mean fall of earlier tasks from their best image AUROC (Chaudhry et al. 2018)."""
    lost = []
    for task in range(len(matrix) - 1):
        column = [value for row in matrix[task:] if (value := row[task]) is not None]
        if column and matrix[-1][task] is not None:
            lost.append(max(column) - column[-1])
    return float(np.mean(lost)) if lost else None


def scores_identical(stages: Stages, tasks: Sequence[Sequence[str]]) -> bool | None:
    """Return whether every earlier task's scores given its id kept every bit; None for one task."""
    if len(stages) < 2:
        return None
    return all(
        stages[task]["hashes"][name] == later["hashes"][name]
        for task, names in enumerate(tasks)
        for later in stages[task + 1 :]
        for name in names
    )
