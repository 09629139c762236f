"""What a training may take from another run instead of training it: what all its tasks share.

The training is named by the bytes that it takes, wherever they lie. Source: notes on MoLE-Flow, L1676 (M43).
"""

import hashlib
from collections.abc import Mapping
from typing import Any

from pydantic import JsonValue

from mechlab import systems
from mechlab.errors import MechlabError
from mechlab.runs.folder import RunFolder, find
from mechlab.runs.request import TrainRequest
from mechlab.runs.weights import read_tensors


def given_keys(request: TrainRequest) -> dict[str, JsonValue]:
    """Return the keys that a request's base of another run stands for; none where it takes none."""
    if request.base_from is None:
        return {}
    run = find(request.base_from, request.out)
    return {"base": "given", "base_weights": base_hash(run, system=request.system)}


def refuse_no_base(parts: Mapping[str, Any], request: TrainRequest) -> None:
    """Refuse a training that takes its base from another run and is told none.

    Raises:
        MechlabError: base=given without --base-from.
    """
    if parts.get("base") == "given" and request.base_from is None:
        raise MechlabError(
            "base=given takes what tasks share from another run; name it with --base-from RUN."
        )


def base_hash(run: RunFolder, *, system: str) -> str:
    """Return 12 hex digits that name what a run's tasks share, as its first task left it.

    Raises:
        MechlabError: a run of another system, one without a finished task, or one that shares nothing.
    """
    if run.spec().system != system:
        raise MechlabError(
            f"run '{run.name}' is of {run.spec().system}, and {system} cannot start from it; "
            f"give a run of {system}."
        )
    is_given = getattr(systems.catalog(system), "IS_GIVEN", lambda _: False)
    if 0 not in run.checkpoints():
        raise MechlabError(f"run '{run.path}' has no finished task to take a base from; train it first.")
    tensors = read_tensors(run.checkpoint(0) / "weights.safetensors")
    names = sorted(name for name in tensors if is_given(name))
    if not names:
        raise MechlabError(
            f"run '{run.name}' has nothing that its tasks share; give another run to start from."
        )
    digest = hashlib.sha256()
    for name in names:
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tensor.shape} ".encode())
        digest.update(tensor.raw.tobytes())
    return digest.hexdigest()[:12]
