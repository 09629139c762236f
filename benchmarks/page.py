"""docs/benchmarks.md: every measurement with its command, on the machine that made it."""

import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version

import torch

from benchmarks.measure import Measurement

_HEAD = """# Benchmarks

Made by `python -m benchmarks NAME... --write docs/benchmarks.md`, which replaces the sections of what it ran
(`make bench` runs all); no line is written by hand. A ratio compares two things that ran in turn in one
process; the value is the median of its pairs and the interval holds that median with 90 % confidence.
Absolute times are this machine's.
"""


def machine() -> str:
    """Return one sentence about where the numbers were taken."""
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    libraries = ", ".join(f"{name} {version(name)}" for name in ("torch", "numpy", "h5py"))
    device = f"{torch.cuda.get_device_name()}, " if torch.cuda.is_available() else ""
    return (
        f"{platform.machine()}, {os.cpu_count()} cores, {device}Python {platform.python_version()}, "
        f"{libraries}; load at the start {load}."
    )


def page(found: Mapping[str, Sequence[Measurement]], *, where: str, before: str = "") -> str:
    """Return the page, a section a benchmark; sections of `before` that did not run now stay."""
    sections = _sections(before) | {name: _section(name, rows, where=where) for name, rows in found.items()}
    return "\n".join([_HEAD, *(sections[name] for name in sorted(sections))])


def _sections(page: str) -> dict[str, str]:
    _, *parts = page.split("\n## ")
    return {part.split("\n", 1)[0]: f"## {part.rstrip()}\n" for part in parts}


def _section(name: str, measurements: Sequence[Measurement], *, where: str) -> str:
    head = [
        f"## {name}\n\n`python -m benchmarks {name} --json` on {where}\n\n",
        "| measurement | value | 90 % interval | n | against | target | holds |\n",
        "|---|---|---|---|---|---|---|\n",
    ]
    return "".join(head + [_row(measurement) for measurement in measurements])


def _row(one: Measurement) -> str:
    unit = "" if one.unit == "ratio" else f" {one.unit}"
    relation = ">=" if one.unit == "1/s" else "<="
    if one.value is None or one.interval is None:
        return f"| {one.name} | absent | | 0 | {one.against} | | |\n"
    low, high = one.interval
    target = "" if one.target is None else f"{relation} {one.target:g}{unit}"
    holds = {None: "", True: "yes", False: "no"}[one.holds]
    return (
        f"| {one.name} | {one.value:.4g}{unit} | {low:.4g} to {high:.4g} | {one.n} | {one.against} | "
        f"{target} | {holds} |\n"
    )
