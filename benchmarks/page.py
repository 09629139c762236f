"""docs/benchmarks.md: every measurement with its command, on the machine that made it."""

import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version

from benchmarks.measure import Measurement

_HEAD = """# Benchmarks

Made by `make bench`; no line is written by hand. A ratio compares two things that ran in turn in one
process; the value is the median of its pairs and the interval holds that median with 90 % confidence.
Absolute times are this machine's.
"""


def machine() -> str:
    """Return one sentence about where the numbers were taken."""
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    libraries = ", ".join(f"{name} {version(name)}" for name in ("torch", "numpy", "h5py"))
    return (
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {libraries}; "
        f"load at the start {load}."
    )


def page(found: Mapping[str, Sequence[Measurement]], *, where: str) -> str:
    """Return the page: one section a benchmark, one row a measurement."""
    parts = [_HEAD, f"\nMachine: {where}\n"]
    for name, measurements in found.items():
        parts.append(f"\n## {name}\n\n`python -m benchmarks {name} --json`\n\n")
        parts.append("| measurement | value | 90 % interval | n | against | target | holds |\n")
        parts.append("|---|---|---|---|---|---|---|\n")
        parts += [_row(measurement) for measurement in measurements]
    return "".join(parts)


def _row(one: Measurement) -> str:
    unit = "" if one.unit == "ratio" else f" {one.unit}"
    relation = ">=" if one.unit == "1/s" else "<="
    if one.value is None or one.interval is None:
        return f"| {one.name} | absent | | 0 | {one.against} | | |\n"
    low, high = one.interval
    target = "" if one.target is None else f"{relation} {one.target:g}{unit}"
    holds = {None: "", True: "yes", False: "no"}[one.holds]
    return (
        f"| {one.name} | {one.value:.3g}{unit} | {low:.3g} to {high:.3g} | {one.n} | {one.against} | "
        f"{target} | {holds} |\n"
    )
