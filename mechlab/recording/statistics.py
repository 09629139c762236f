"""What recording cost and what it lost, as its writer counted it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """What recording cost and what it lost, since this writer was made."""

    rows: int  # accepted
    bytes: int  # accepted, values and coordinates
    segments: int  # committed
    dropped_rows: int  # by the policy, or by a fault that the loop outlived
    dropped_batches: int
    blocked_seconds: float  # the caller waited for room
    append_seconds: float  # the caller spent in `append`, waiting included
    longest_uncommitted_seconds: float  # from a row's append to its commit
