"""What recording cost, measured from inside the recorder.

Source: numerics notes, "Recording overhead", point 7.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """Seconds, steps and bytes; the hooks' seconds do not hold the blocked ones."""

    seconds: float = 0.0  # between entering and leaving
    seconds_in_hooks: float = 0.0
    seconds_blocked: float = 0.0  # in which the writer held the loop back
    steps: int = 0  # that were opened, due or not
    bytes: int = 0  # handed to the writer
    silent: tuple[str, ...] = ()  # keys of the plan that were never written

    def __add__(self, other: "Statistics") -> "Statistics":
        """Return the cost of two recordings after one another."""
        return Statistics(
            seconds=self.seconds + other.seconds,
            seconds_in_hooks=self.seconds_in_hooks + other.seconds_in_hooks,
            seconds_blocked=self.seconds_blocked + other.seconds_blocked,
            steps=self.steps + other.steps,
            bytes=self.bytes + other.bytes,
            silent=self.silent + other.silent,
        )

    @property
    def overhead_ratio(self) -> float:
        """Time with recording over time without it; 1 costs nothing."""
        plain = self.seconds - self.seconds_in_hooks - self.seconds_blocked
        return self.seconds / plain if plain > 0 else float("inf")
