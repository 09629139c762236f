"""A learned gate: softmax regression from vectors to the group that they come from.

Learned "joint" it sees all groups at once, which a continual learner does not; "sequential" it sees them one
after the other, each from where the one before left off, and forgets: the vectors of one group alone are best
told by a gate that always says that group. Source: notes 004 L7003 (gating forgets); Bishop 2006, 4.3.4.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module

import numpy as np
from jaxtyping import Float
from scipy.special import log_softmax

RIDGE = 1e-3  # times half the squared weights, beside a mean over vectors
LEARNING = ("joint", "sequential")


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Weights and offsets of each group for standardised vectors."""

    middle: Float[np.ndarray, " dim"]
    deviation: Float[np.ndarray, " dim"]
    weights: Float[np.ndarray, "group dim"]
    offsets: Float[np.ndarray, " group"]

    @classmethod
    def of(cls, groups: Sequence[Float[np.ndarray, "_ dim"]], *, learning: str) -> "Gate":
        """Learn the gate of some groups of vectors; without chance, whatever the order inside a group.

        Standardised by the groups seen first: all of them, or in a sequence the first one.
        Raises ValueError for another way to learn, or no group.
        """
        if learning not in LEARNING or not groups:
            raise ValueError(f"no gate learns '{learning}' from {len(groups)} groups")
        values = [np.asarray(group, dtype=np.float64) for group in groups]
        first = np.concatenate(values) if learning == "joint" else values[0]
        middle, deviation = first.mean(axis=0), np.maximum(first.std(axis=0), np.finfo(np.float32).eps)
        rows = [(value - middle) / deviation for value in values]
        labels = [np.full(len(value), index) for index, value in enumerate(rows)]
        numbers = np.zeros((len(rows), middle.size + 1))
        if learning == "joint":
            numbers = _learned(numbers, np.concatenate(rows), np.concatenate(labels))
        else:
            for count, (row, label) in enumerate(zip(rows, labels, strict=True), start=1):
                numbers[:count] = _learned(numbers[:count], row, label)
        return cls(middle=middle, deviation=deviation, weights=numbers[:, :-1], offsets=numbers[:, -1])

    def surprise(self, vectors: Float[np.ndarray, "item dim"]) -> Float[np.ndarray, "item group"]:
        """Return -log of the probability that the gate gives each group, nats."""
        rows = (np.asarray(vectors, dtype=np.float64) - self.middle) / self.deviation
        return -np.asarray(log_softmax(rows @ self.weights.T + self.offsets, axis=1))


def _learned(
    start: Float[np.ndarray, "group _"], rows: Float[np.ndarray, "item dim"], labels: np.ndarray
) -> Float[np.ndarray, "group _"]:
    """Return the numbers of least mean surprise plus ridge, from `start`; the offsets have no ridge."""
    design = np.concatenate([rows, np.ones((len(rows), 1))], axis=1)
    wanted = np.eye(len(start))[labels]

    def value_and_slope(flat: np.ndarray) -> tuple[float, np.ndarray]:
        numbers = flat.reshape(start.shape)
        told = log_softmax(design @ numbers.T, axis=1)
        ridge = RIDGE * numbers * np.append(np.ones(rows.shape[1]), 0.0)
        value = -(wanted * told).sum() / len(rows) + 0.5 * (ridge * numbers).sum()
        slope = (np.exp(told) - wanted).T @ design / len(rows) + ridge
        return float(value), slope.ravel()

    # Looked up when a gate is learned: every training imports this module, and few learn a gate.
    minimize = import_module("scipy.optimize").minimize
    found = minimize(value_and_slope, start.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": 300})
    return np.asarray(found.x).reshape(start.shape)
