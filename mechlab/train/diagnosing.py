"""Diagnostics of a finished run's flow on its own test images, each class by the expert of its task."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from mechlab.errors import MechlabError
from mechlab.files import read_json, write_json
from mechlab.metrics.flow_diagnostics import flow_diagnostics
from mechlab.runs.folder import RunFolder
from mechlab.train.devices import device_of
from mechlab.train.resolution import plan_of
from mechlab.train.scoring import BATCH
from mechlab.train.session import Report, restore, silent
from mechlab.train.stage import Diagnosable, Trainable


def diagnose(run: RunFolder, *, device: str = "auto", report: Report = silent) -> dict[str, Any]:
    """Return the diagnostics of each class after the last task, kept in the run's `diagnostics.json`.

    Raises:
        MechlabError: a run that is not finished, or a system without latents and log-dets.
    """
    file = run.path / "diagnostics.json"
    run.summary()  # refuses a run that is not finished
    if file.exists():
        return dict(read_json(file))
    plan, where = plan_of(run), device_of(device)
    system = restore(plan, checkpoint=len(plan.spec.tasks) - 1, device=where)
    if not isinstance(system, Diagnosable):
        raise MechlabError(
            f"run '{run.name}' is of {plan.spec.system}, which has no latents and log-dets to diagnose; "
            "leave --diagnostics out, or give a run of moleflow."
        )
    report(f"{run.name}: diagnostics of {sum(map(len, plan.spec.tasks))} classes")
    found: dict[str, Any] = {}
    for task, names in enumerate(plan.spec.tasks):
        for name in names:
            features = plan.inputs.features(name, "test")
            lengths, log_dets = _terms(system, features.values, task=task, device=where)
            labels = np.array([item.label for item in features.items])
            found[name] = flow_diagnostics(lengths, log_dets, labels)
    write_json(file, found)
    return found


@torch.inference_mode()
def _terms(
    system: Trainable, features: Float[np.ndarray, "item row column dim"], *, task: int, device: torch.device
) -> tuple[Float[np.ndarray, "item row column"], Float[np.ndarray, "item row column"]]:
    assert isinstance(system, Diagnosable)
    parts = []
    for start in range(0, len(features), BATCH):
        batch = torch.from_numpy(np.array(features[start : start + BATCH])).to(device)
        parts.append([value.double().cpu().numpy() for value in system.patch_terms(batch, task=task)])
    lengths, log_dets = (np.concatenate(values) for values in zip(*parts, strict=True))
    return lengths, log_dets
