"""The windows of logs that a recording holds: digest, label, log, time and group of each.

A window stands in the item table as `<part>/<log>@<seconds>`, and the facts of the recording say in which
group of tests each log counts.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int, Int64

from mechlab.errors import MechlabError
from mechlab.recording import Recording

UNKNOWN = "unknown_vehicle"  # in the name of a group: its ids are of no vehicle that training knows


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """What is known of windows, in the order of the rows that they are read by."""

    names: tuple[str, ...]  # SHA-256 of a window's arrays: the same in every recording
    labels: Bool[np.ndarray, " window"]  # whether it holds an attack
    logs: Int64[np.ndarray, " window"]  # number of its log
    starts: Float64[np.ndarray, " window"]  # seconds, of its first message
    groups: tuple[str, ...]  # of tests; "" in training

    def of_group(self, group: str) -> Bool[np.ndarray, " window"]:
        """Return which windows are of a group."""
        return np.array([name == group for name in self.groups], dtype=np.bool_)

    @property
    def known(self) -> Bool[np.ndarray, " window"]:
        """Which windows are of a vehicle that training knows."""
        return np.array([UNKNOWN not in name for name in self.groups], dtype=np.bool_)


def windows_of(recording: Recording, items: Int[np.ndarray, " window"]) -> Windows:
    """Return the windows behind rows of the item table.

    Raises:
        MechlabError: a recording whose items are no windows of logs.
    """
    groups = recording.facts.get("groups")
    if not isinstance(groups, Mapping):
        raise MechlabError(
            f"recording '{recording.name}' does not say of which logs its items are windows; give one that "
            "'mechlab record' made of a run of vgae or gat."
        )
    table = [recording.items[int(item)] for item in items]
    places = [item.image.rpartition("@") for item in table]
    logs = {name: number for number, name in enumerate(dict.fromkeys(place[0] for place in places))}
    return Windows(
        names=tuple(item.sha256 for item in table),
        labels=np.array([item.label == 1 for item in table], dtype=np.bool_),
        logs=np.array([logs[place[0]] for place in places], dtype=np.int64),
        starts=np.array([float(place[2]) for place in places], dtype=np.float64),
        groups=tuple(str(groups[place[0]]) for place in places),
    )
