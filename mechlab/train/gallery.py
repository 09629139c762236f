"""A few images of each class with mask and map, kept beside an evaluation so that a report needs no data set.

Which ones is a rule, not a choice: of each kind of image (normal, and every defect) the one with the median
score, and the normal image with the highest.
"""

import io
from pathlib import Path

import numpy as np
from jaxtyping import Float

from mechlab.files import write_bytes
from mechlab.train.inputs import Features, Inputs

KINDS = 8  # of defects at most


def chosen(defects: list[str], scores: Float[np.ndarray, " item"]) -> list[int]:
    """Return the indices of the images that are shown."""
    found = []
    for kind in sorted(set(defects), key=lambda name: (name != "good", name))[: KINDS + 1]:
        of_kind = [index for index, defect in enumerate(defects) if defect == kind]
        ranked = sorted(of_kind, key=lambda index: float(scores[index]))
        found.append(ranked[(len(ranked) - 1) // 2])
        if kind == "good":
            found.append(ranked[-1])
    return list(dict.fromkeys(found))


def save(
    path: Path, inputs: Inputs, features: Features, *, scores: Float[np.ndarray, " item"], maps: np.ndarray
) -> None:
    """Write images (uint8), masks (bool), maps (float32), scores, labels and defects as one .npz."""
    picked = chosen([item.defect for item in features.items], scores)
    items = [features.items[index] for index in picked]
    assert features.masks is not None, "the test split has masks"
    stream = io.BytesIO()
    np.savez_compressed(
        stream,
        images=np.stack([inputs.dataset.image(item, features.spec.image_size) for item in items]),
        masks=np.asarray(features.masks[picked], dtype=bool),
        maps=maps[picked].astype(np.float32),
        scores=scores[picked],
        labels=np.array([item.label for item in items]),
        defects=np.array([item.defect for item in items]),
        lowest=float(maps.min()),
        highest=float(maps.max()),
    )
    write_bytes(path, stream.getvalue())
