"""Interventions from the words of a command line: recordings are found by path and named by hash."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mechlab.errors import MechlabError
from mechlab.files import canonical_json, sha256_bytes
from mechlab.intervention import VALUES, parse, while_testing
from mechlab.recording import Recording, reader

OUTPUTS = ("activation", "latent", "log_det")  # quantities that are a site's own output


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The interventions of an evaluation, and where the recordings they name lie (provenance)."""

    texts: tuple[str, ...] = ()
    recordings: Mapping[str, Path] = field(default_factory=dict)  # hash -> path

    def document(self) -> dict[str, Any]:
        """Return it as what a request to record carries; empty where nothing is changed."""
        if not self.texts:
            return {}
        paths = {name: str(path) for name, path in self.recordings.items()}
        return {"interventions": list(self.texts), "recordings": paths}


NOTHING = Asked()


def asked(*, ablate: Sequence[str] = (), swap: Sequence[str] = (), patch: Sequence[str] = ()) -> Asked:
    """Return the interventions that words like `flow.2=zero`, `0,1` and `adapted=RECORDING[:KEY]` ask for.

    Raises:
        MechlabError: a word of another form, a path that is no recording, a site that it does not hold.
    """
    texts = [_ablation(word) for word in ablate] + [parse(f"swap:{word}").text for word in swap]
    recordings: dict[str, Path] = {}
    for word in patch:
        site, equals, source = word.partition("=")
        if not equals or not site or not source:
            raise MechlabError(f"'{word}' is no patch; write SITE=RECORDING or SITE=RECORDING:KEY.")
        path, key = _source(source)
        with reader.open(path) as recording:
            key = key or _key(recording, site)
            name = recording_hash(recording, key)
        texts.append(parse(f"patch:{site}:{name}:{key}").text)
        recordings[name] = path
    return Asked(texts=while_testing(texts), recordings=recordings)


def recording_hash(recording: Recording, key: str) -> str:
    """Return 12 hex digits that name a recording wherever it lies.

    That of its RecordSpec where it has one, as its folder is called; of a foreign model, that of the values
    and items under `key`.
    """
    spec = recording.attributes.get("spec")
    if spec is not None:
        return sha256_bytes(canonical_json(spec).encode())[:12]
    quantity, digest = recording[key], hashlib.sha256()
    digest.update(canonical_json([list(quantity.axes), list(quantity.shape), str(quantity.dtype)]).encode())
    for name, column in sorted(quantity.coordinates.items()):
        digest.update(name.encode() + np.ascontiguousarray(column).tobytes())
    for _, values in quantity.chunks(rows=64):
        digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()[:12]


def _ablation(word: str) -> str:
    site, equals, value = word.rpartition("=")
    if not equals or not site:
        raise MechlabError(f"'{word}' is no ablation; write SITE=VALUE with {', '.join(VALUES)}.")
    return parse(f"ablate:{site}:{value}").text


def _source(text: str) -> tuple[Path, str | None]:
    """Return path and key of RECORDING[:KEY]; a colon inside an existing path is no separator."""
    if Path(text).exists():
        return Path(text), None
    path, colon, key = text.rpartition(":")
    return (Path(path), key) if colon and "/" in key else (Path(text), None)


def _key(recording: Recording, site: str) -> str:
    """Return the one key that holds the output of a site."""
    wanted = {f"{quantity}/{site.removesuffix(f'.{quantity}')}" for quantity in OUTPUTS}
    found = [key for key in recording if key in wanted]
    if len(found) == 1:
        return found[0]
    there = f"several keys of it ({', '.join(found)})" if found else f"none of {', '.join(sorted(wanted))}"
    raise MechlabError(
        f"'{recording.path}' holds {there}; name the key as in {site}=RECORDING:latent/flow.2."
    )
