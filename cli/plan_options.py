"""The options of a recording plan: each `--site` begins an entry, and what follows it belongs to it.

What stands before the first site holds for all of them, where they say nothing else. Click keeps the values
of an option together and forgets what stood between them, so the command looks at their order first.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

from mechlab.errors import MechlabError

NAMES = ("site", "quantity", "every", "first", "at", "log_spaced", "reduction", "dtype")
_SCHEDULES = ("every", "at", "log_spaced")
_ORDER = "mechlab.plan_options"  # key of a click context's own memory


class PlanCommand(click.Command):
    """A command that knows in which order its options were given."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Note the order of the options, then parse as any command."""
        if not ctx.resilient_parsing:
            _, _, order = self.make_parser(ctx).parse_args(list(args))
            ctx.meta[_ORDER] = [str(parameter.name) for parameter in order]
        return super().parse_args(ctx, args)


def plan_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of a plan's entries; `plan_entries` takes them out again."""
    for option in (
        click.option("--dtype", multiple=True, type=click.Choice(["float16", "float32", "float64"]),
                     help="Of a site on disk; default: float32."),
        click.option("--reduction", multiple=True,
                     help="Of a site: norm, moments, covariance, quantiles, subsample:N, sum or total."),
        click.option("--log-spaced", multiple=True, type=click.IntRange(1),
                     help="Of a site: steps (images) a doubling, so 0, 1, 2, 4, ... for 1."),
        click.option("--at", multiple=True, type=click.IntRange(0),
                     help="Of a site: only this step (image of a class), from 0; may be repeated."),
        click.option("--first", multiple=True, type=click.IntRange(1),
                     help="Of a site: only the first steps (images of a class)."),
        click.option("--every", multiple=True, type=click.IntRange(1),
                     help="Of a site: every n-th step (image of a class); default: 1."),
        click.option("--quantity", multiple=True, help="One a --site; see 'mechlab list quantities'."),
        click.option("--site", multiple=True, metavar="PATTERN",
                     help="Record these places, e.g. 'flow.*.log_det'; needs --quantity. Its schedule, "
                     "reduction and dtype follow it; before the first --site they hold for all."),
    ):  # fmt: skip
        command = option(command)
    return command


def plan_entries(words: dict[str, Any]) -> list[dict[str, Any]]:
    """Take the options of a plan out of the words of a command; return its entries, [] for none.

    Raises:
        MechlabError: not one quantity a site, or one option twice for a site.
    """
    values = {name: iter(words.pop(name)) for name in NAMES}
    order = click.get_current_context().meta.get(_ORDER, [])
    return entries_of([(name, next(values[name])) for name in order if name in values])


def one_plan(
    file: Path | None, entries: list[dict[str, Any]], *, option: str
) -> Path | list[dict[str, Any]] | None:
    """Return the file of a plan or its entries, None for neither; MechlabError for both."""
    if file is not None and entries:
        raise MechlabError(
            f"{option} {file} and --site '{entries[0]['site']}' were both given; write all entries into the "
            f"file, or leave {option} out."
        )
    return file or entries or None


def entries_of(given: Iterable[tuple[str, Any]]) -> list[dict[str, Any]]:
    """Return the entries of options (name, value) in the order in which they were given."""
    shared: dict[str, Any] = {}
    entries: list[dict[str, Any]] = []
    quantities: list[str] = []
    for name, value in given:
        own = entries[-1] if entries else shared
        if name == "site":
            entries.append({"site": value})
        elif name == "quantity":
            quantities.append(value)
        elif name == "at":
            own.setdefault("at", []).append(value)
        elif name in own:
            where = f"'{own['site']}'" if entries else "all sites"
            word = name.replace("_", "-")
            raise MechlabError(
                f"--{word} {own[name]} and --{word} {value} were both given for {where}; give one after each "
                "--site, or one before the first for all."
            )
        else:
            own[name] = value
    if len(entries) != len(quantities):
        raise MechlabError(
            f"{len(entries)} sites and {len(quantities)} quantities were given; give one a site."
        )
    if shared and not entries:
        word = next(iter(shared)).replace("_", "-")
        raise MechlabError(f"--{word} was given without --site, so nothing reads it; it says how a site is "
                           "recorded, and a plan in a file says that of each entry itself.")  # fmt: skip
    pairs = zip(entries, quantities, strict=True)
    return [_without_other_schedule(shared, entry) | entry | {"quantity": name} for entry, name in pairs]


def _without_other_schedule(shared: dict[str, Any], entry: dict[str, Any]) -> dict[str, Any]:
    """Return what holds for all sites; a schedule of its own takes the place of the common one."""
    has_own = any(name in entry for name in _SCHEDULES)
    return {name: value for name, value in shared.items() if not (has_own and name in _SCHEDULES)}
