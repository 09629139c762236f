"""A bank file on the user's own images: no run, no data set and no router are needed."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from mechlab.errors import MechlabError
from mechlab.files import staged_folder
from mechlab.metrics.class_metrics import Scoring
from mechlab.train.images import image_files, write_maps, write_table
from mechlab.train.scoring import score
from reproductions.backbones.extraction import BATCH, extracted
from reproductions.backbones.timm_features import Extractor, build
from reproductions.datasets.pictures import read_image
from reproductions.patchcore.exchange import SCORING, BankFile, read_bank
from reproductions.patchcore.system import PatchCore


def score_by_bank(bank: Path, folder: Path, target: Path, *, weights: str | None) -> list[dict[str, Any]]:
    """Score every image below `folder`; `target` gets scores.csv and maps/, whole or not at all.

    `weights` are those of the backbone, as in a training; None: the backbone's own.

    Raises:
        MechlabError: a damaged bank, other weights than it was made with, no image, or a target that exists.
    """
    file = read_bank(bank)
    files = image_files(folder)
    if target.exists():
        raise MechlabError(f"'{target}' exists; give a folder that is not there yet with --out.")
    about, extractor = file.about, _extractor(file, weights)
    system = _system(file, extractor)
    maps, weighed = [], []
    for begin in range(0, len(files), BATCH):
        chunk = files[begin : begin + BATCH]
        pictures = np.stack([read_image(path, about["image_size"]) for path in chunk])
        features = extracted(pictures, extractor)
        scores = score(system, features, task=0, tasks=1, router="oracle", device=torch.device("cpu"))
        maps.append(scores.given)
        weighed.append(scores.given_images)
    scoring = Scoring(
        aggregation=about["aggregation"], value=about["aggregation_value"], sigma=about["sigma"]
    )
    found, limit = np.concatenate(maps), about["threshold"]
    names = [str(path.relative_to(folder)) for path in files]
    rows = [
        {"image": name, "score": float(value), "threshold": limit,
         "anomalous": None if limit is None else bool(value > limit), "task": about["task"],
         "classes": "+".join(about["classes"])}
        for name, value in zip(names, scoring.image_scores(np.concatenate(weighed)), strict=True)
    ]  # fmt: skip
    pixels = scoring.pixel_maps(found, size=about["image_size"], class_name=about["classes"][0])
    with staged_folder(target) as stage:
        write_table(stage / "scores.csv", rows)
        write_maps(stage / "maps", names, pixels)
    return rows


def _extractor(file: BankFile, weights: str | None) -> Extractor:
    about = file.about
    is_word = weights is None or weights == "embedded" or weights.startswith("random-")
    found = build(
        about["backbone"],
        weights=weights if weights is None or is_word else Path(weights),
        layers=tuple(about["layers"]),
        image_size=about["image_size"],
        dim=about["dim"],
    )
    if found.weights_id != about["weights"]:
        raise MechlabError(
            f"this bank was made with weights {about['weights'][:12]} of '{about['backbone']}', and "
            f"{found.weights_id[:12]} were given; give the same ones with --weights."
        )
    return found


def _system(file: BankFile, extractor: Extractor) -> PatchCore:
    parts = {key: file.about[key] for key in SCORING}
    system = PatchCore.create(parts, dim=file.about["dim"], grid=extractor.grid, seed=0)
    system.add_task(0)
    patches = torch.from_numpy(file.patches)
    system.keep(0, patches, patches.double().mean(dim=0))
    return system
