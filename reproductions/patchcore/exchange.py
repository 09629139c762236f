"""One bank as a file of its own: patches as `.npy`, what they mean as `.json` beside it; written and read.

The `.npy` is plain float32 (patch, dim), so any program can read it; the `.json` names the backbone, the
threshold and all else that scoring needs, and the SHA-256 of the patches. Source: notes 002, "Save Model".
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from mechlab.errors import MechlabError
from mechlab.files import read_json, sha256_file, write_json
from mechlab.runs.folder import RunFolder
from mechlab.train.devices import device_of
from mechlab.train.images import task_thresholds
from mechlab.train.resolution import Plan, plan_of
from mechlab.train.session import restore
from reproductions.patchcore.system import PatchCore

KIND, VERSION = "patchcore bank", 1
SCORING = ("neighbours", "reweight")  # keys of the configuration that scores depend on


@dataclass(frozen=True, slots=True)
class BankFile:
    """A bank that was read: its patches, and the document beside them."""

    patches: Float32[np.ndarray, "patch dim"]
    about: dict[str, Any]


def export(run: RunFolder, target: Path) -> list[Path]:
    """Write each task's bank of a PatchCore run below `target`; return the `.npy` files.

    Raises:
        MechlabError: a run of another system, or a bank file that exists and differs.
    """
    plan = plan_of(run)
    if plan.spec.system != "patchcore":
        raise MechlabError(
            f"run '{run.name}' is of system '{plan.spec.system}', which has no bank; give a run of patchcore."
        )
    last = max(run.checkpoints(), default=-1)
    system = restore(plan, checkpoint=last, device=device_of("cpu"))
    assert isinstance(system, PatchCore)
    thresholds = task_thresholds(plan)
    target.mkdir(parents=True, exist_ok=True)
    files = []
    for task, classes in enumerate(plan.spec.tasks[: last + 1]):
        patches = system.bank[str(task)].patches.detach().cpu().numpy()
        file = target / f"{'+'.join(classes)}.npy"
        _write(file, patches)
        write_json(file.with_suffix(".json"), _about(plan, file, task=task, threshold=thresholds[task]))
        files.append(file)
    return files


def _write(file: Path, patches: np.ndarray) -> None:
    part = file.with_name(f".{file.name}.part.npy")
    np.save(part, patches.astype(np.float32), allow_pickle=False)
    if file.exists() and sha256_file(file) != sha256_file(part):
        part.unlink()
        raise MechlabError(f"'{file}' exists and holds another bank; give another --out, or remove it.")
    part.replace(file)


def _about(plan: Plan, file: Path, *, task: int, threshold: float | None) -> dict[str, Any]:
    origin, parts = plan.inputs.extractor_at(plan.inputs.size(task)).origin, plan.parts
    return {
        "kind": KIND,
        "version": VERSION,
        "sha256": sha256_file(file),
        "run": plan.run.name,
        "task": task,
        "classes": list(plan.spec.tasks[task]),
        "backbone": origin.backbone,
        "weights": origin.weights_id,
        "layers": list(origin.layers),
        "image_size": origin.image_size,
        "dim": origin.dim,
        "ratio": parts["ratio"],
        "seed": plan.spec.seed,
        **{key: parts[key] for key in SCORING},
        "aggregation": plan.evaluation.aggregation,
        "aggregation_value": plan.evaluation.aggregation_value,
        "sigma": plan.evaluation.sigma,
        "threshold": threshold,
    }


def read_bank(file: Path) -> BankFile:
    """Read a bank; a damaged file, one of another kind, or not the one described is a sentence."""
    beside = file.with_suffix(".json")
    if not file.is_file() or not beside.is_file():
        absent = beside if file.is_file() else file
        raise MechlabError(f"'{absent}' does not exist; a bank is a .npy file with its .json beside it.")
    about = dict(read_json(beside))
    if about.get("kind") != KIND or about.get("version") != VERSION:
        raise MechlabError(f"'{beside}' describes no {KIND} of version {VERSION}; export the run again.")
    try:
        patches = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as fault:
        raise MechlabError(
            f"'{file}' is no .npy file or is damaged ({fault}); export the run again."
        ) from fault
    if patches.dtype != np.float32 or patches.ndim != 2 or patches.shape[1] != about["dim"]:
        raise MechlabError(
            f"'{file}' holds {patches.dtype} of shape {patches.shape}, not float32 of "
            f"(patches, {about['dim']}); export the run again."
        )
    if sha256_file(file) != about["sha256"] or not np.isfinite(patches).all():
        raise MechlabError(f"'{file}' is not the bank that '{beside}' describes; export the run again.")
    return BankFile(patches, about)
