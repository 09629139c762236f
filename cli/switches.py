"""Options of `mechlab train` for detectors of CAN windows: the mode, and distillation as a switch.

Each is a setting of the system by another word: `--distill auto` is `--set distill=auto`. A system without
such a setting refuses it by its name.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

import click

from mechlab.errors import MechlabError

SWITCHES = ("mode", "distill", "temperature", "alpha")


def switch_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options."""
    for option in (
        click.option("--alpha", type=float, help="Weight of what the teacher says; default: 0.7."),
        click.option("--temperature", type=float, help="Of a GAT teacher's soft labels; default: 4."),
        click.option("--distill", metavar="RUN",
                     help="Learn from this teacher too; auto: from the one that the scheme of places holds."),
        click.option("--mode", help="Of vgae: autoencoder; of gat: curriculum, normal; of fusion: fusion."),
    ):  # fmt: skip
        command = option(command)
    return command


def with_switches(words: Mapping[str, Any]) -> dict[str, Any]:
    """Return the words of a command line with the switches among its settings.

    Raises:
        MechlabError: a switch that `--set` gives too.
    """
    found = {name: value for name, value in words.items() if name not in SWITCHES}
    settings = list(found["settings"])
    for name in SWITCHES:
        if words[name] is None:
            continue
        if any(text.partition("=")[0].strip() == name for text in settings):
            raise MechlabError(f"'{name}' is given as an option and by --set; give it once.")
        settings.append(f"{name}={json.dumps(words[name])}")
    return found | {"settings": tuple(settings)}
