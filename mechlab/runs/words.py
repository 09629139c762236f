"""From the words of a command line, and a YAML file of the same words, to a request."""

import os
from collections.abc import Collection, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml

from mechlab.errors import MechlabError, unknown
from mechlab.runs.overrides import overrides_of
from mechlab.runs.request import TrainRequest, setting


def request_of(words: Mapping[str, Any], *, config: Path | None, given: Collection[str]) -> TrainRequest:
    """Return a request; words that were given win over the file, the file over the defaults.

    Raises:
        MechlabError: an unknown key in the file, a value of the wrong kind, a setting that is no key=value.
    """
    chosen = dict(words)
    chosen["settings"] = dict(setting(text) for text in words["settings"])
    chosen["overrides"] = overrides_of(words.get("overrides", ()))
    if config is not None:
        listed = read_yaml(config)
        known = {field.name for field in fields(TrainRequest)}
        for key, value in listed.items():
            name = key.replace("-", "_")
            if name not in known:
                raise unknown(f"key of '{config}'", key, known)
            if name not in given:
                chosen[name] = value
    if chosen.get("weights") is None:
        chosen["weights"] = weights_of(str(chosen.get("backbone")))
    layers = chosen.get("layers")
    chosen["layers"] = tuple(layers.split(",")) if isinstance(layers, str) else layers
    return TrainRequest.read(chosen)


def weights_of(backbone: str) -> Path | None:
    """Return the file of $MECHLAB_WEIGHTS of a backbone, so that the run remembers it; else None."""
    folder = os.environ.get("MECHLAB_WEIGHTS")
    file = Path(folder or ".") / f"{backbone}.safetensors"
    return file.resolve() if folder and file.is_file() else None


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping safely."""
    try:
        value = yaml.safe_load(path.read_text())
    except FileNotFoundError as fault:
        raise MechlabError(f"'{path}' does not exist; give the path of a YAML file.") from fault
    except (yaml.YAMLError, UnicodeDecodeError) as fault:
        raise MechlabError(f"'{path}' is not valid YAML: {' '.join(str(fault).split())}.") from fault
    if not isinstance(value, dict):
        raise MechlabError(f"'{path}' holds no mapping; write one 'key: value' a line.")
    return {str(key): item for key, item in value.items()}
