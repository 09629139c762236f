"""`python -m benchmarks [NAME...] [--json] [--write FILE]`: run benchmarks, print and keep the results."""

import argparse
import json
import pkgutil
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType

import benchmarks
from benchmarks.measure import Measurement
from benchmarks.page import machine, page
from mechlab.errors import MechlabError, unknown
from mechlab.files import write_text


def known() -> dict[str, ModuleType]:
    """Return the benchmarks by name: the modules of this folder that have a function `measure`."""
    names = [
        module.name for module in pkgutil.iter_modules(benchmarks.__path__) if not module.name.startswith("_")
    ]
    loaded = {name.replace("_", "-"): import_module(f"benchmarks.{name}") for name in names}
    return {name: module for name, module in loaded.items() if callable(getattr(module, "measure", None))}


def run(names: Sequence[str], *, as_json: bool) -> dict[str, list[Measurement]]:
    """Run benchmarks, all without names, and print each measurement when it is there."""
    benches = known()
    for name in names:
        if name not in benches:
            raise unknown("benchmark", name, benches)
    found: dict[str, list[Measurement]] = {}
    for name in names or benches:
        found[name] = []
        for one in benches[name].measure():
            found[name].append(one)
            print(json.dumps(one.document()) if as_json else told(one), flush=True)
    return found


def told(one: Measurement) -> str:
    """Return one line for people."""
    if one.value is None or one.interval is None:
        return f"{one.name}: absent ({one.against})"
    verdict = {None: "no target", True: "holds", False: "does not hold"}[one.holds]
    aim = verdict if one.target is None else f"target {one.target:g} {verdict}"
    return (
        f"{one.name}: {one.value:.4g} {one.unit} [{one.interval[0]:.4g}, {one.interval[1]:.4g}] of "
        f"{one.n} against "
        f"{one.against}; {aim}"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, run, write; exit status 0 whether or not targets hold, 1 for a mistake."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="benchmarks to run; all without a name")
    parser.add_argument("--json", action="store_true", help="print one JSON document a line")
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the results on this page")
    given = parser.parse_args(arguments)
    where = machine()
    try:
        found = run(given.names, as_json=given.json)
        if given.write is not None:
            before = given.write.read_text("utf-8") if given.write.exists() else ""
            write_text(given.write, page(found, where=where, before=before))
    except MechlabError as fault:
        print(f"Error: {fault}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
