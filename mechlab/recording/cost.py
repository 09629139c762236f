"""What recording cost and lost, from what the recorder and the writers noted in the recording."""

from typing import Any

from mechlab.recording.reader import Recording


def cost(recording: Recording) -> dict[str, Any]:
    """Return what recording cost and lost; None for what nobody measured.

    `overhead_ratio` is the time of the loop with recording over the time without, `seconds_in_hooks` the
    recorder's own; seconds blocked are those in which the loop waited for the writer.
    """
    spent, written = recording.facts.get("overhead", {}), recording.statistics
    found = {name: spent.get(name) for name in ("seconds", "seconds_in_hooks", "seconds_blocked")}
    ratio = None
    if None not in found.values():
        plain = found["seconds"] - found["seconds_in_hooks"] - found["seconds_blocked"]
        ratio = found["seconds"] / plain if plain > 0 else None
    names = ("blocked_seconds", "longest_uncommitted_seconds", "dropped_rows", "dropped_batches")
    return {
        "overhead_ratio": ratio,
        **found,
        **{name: written.get(name) for name in names},
        "fault": recording.facts.get("fault"),
    }


def cost_line(spent: dict[str, Any]) -> str:
    """Return what recording cost as one line of text."""
    words = []
    if spent["overhead_ratio"] is not None:
        words.append(
            f"overhead ratio {spent['overhead_ratio']:.3f} ({spent['seconds_in_hooks']:.2f} s in hooks, "
            f"{spent['seconds_blocked']:.2f} s blocked, of {spent['seconds']:.2f} s)"
        )
    if spent["blocked_seconds"] is not None:
        words.append(f"{spent['blocked_seconds']:.2f} s in which the loop waited for room")
    if spent["dropped_rows"] is not None:
        words.append(f"{spent['dropped_rows']:.0f} rows dropped")
    if spent["fault"] is not None:
        words.append(f"ended early: {spent['fault']['reason']}")
    return "; ".join(words) or "nobody measured what recording cost"
