"""How sharply each task's image scores look at its highest patches, tuned on pseudo-anomalies.

`aggregation=adaptive` is `attention` with a strength a task: that which best tells the task's training
normals from copies of them with a piece pasted elsewhere (CutPaste), scored by its own expert. No test image
is seen. The notes want the weighting learned (L2621) and have nothing that it could learn from;
pseudo-anomalies are theirs as well (L2660).
"""

import numpy as np
import torch
from jaxtyping import Float

from mechlab.errors import MechlabError
from mechlab.metrics.attention import attended
from mechlab.metrics.ranking import auroc
from mechlab.train.drawn import DrawnBatches
from mechlab.train.inputs import Inputs
from mechlab.train.scoring import Around, score
from mechlab.train.stage import Trainable
from mechlab.train.view import Drawing

STRENGTHS = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
IMAGES = 32  # of a task, evenly over its training normals


def tuned_strengths(
    system: Trainable,
    inputs: object,
    *,
    tasks: int,
    device: torch.device,
    around: Around,
    orientations: str = "one",
) -> tuple[float, ...]:
    """Return the strength of each of the first tasks.

    Raises:
        MechlabError: inputs that are no images, so that nothing can be pasted.
    """
    if not isinstance(inputs, Inputs):
        raise MechlabError(
            "aggregation=adaptive needs images to damage; use another aggregation, e.g. top_k."
        )
    found = []
    for task in range(tasks):
        normal, damaged = (
            score(
                system,
                values,
                task=task,
                tasks=tasks,
                router="oracle",
                device=device,
                around=around,
                orientations=orientations,
            ).given_images
            for values in pairs(inputs, task)
        )
        found.append(best_strength(normal, damaged))
    return tuple(found)


def pairs(
    inputs: Inputs, task: int
) -> tuple[Float[np.ndarray, "item row column dim"], Float[np.ndarray, "item row column dim"]]:
    """Return features of some training normals of a task and of their damaged copies, always the same."""
    features = inputs.fitting(task)
    chosen = np.unique(np.linspace(0, len(features) - 1, IMAGES).astype(np.int64))
    drawing = Drawing(damage="cutpaste")
    drawn = DrawnBatches(inputs, features, task=task, seed=0, drawing=drawing)
    _, view = drawn.batch(chosen, epoch=0, device=torch.device("cpu"))
    assert view.damaged is not None
    return features[chosen], view.damaged.numpy()


def best_strength(
    normal: Float[np.ndarray, "item row column"], damaged: Float[np.ndarray, "item row column"]
) -> float:
    """Return the strength of the highest AUROC; among equals that of the widest gap in deviations."""
    labels = np.repeat([0, 1], (len(normal), len(damaged)))
    ranked = []
    for strength in STRENGTHS:
        one, two = (attended(maps.astype(np.float64), strength) for maps in (normal, damaged))
        spread = np.hypot(one.std(), two.std())
        gap = (two.mean() - one.mean()) / spread if spread > 0 else 0.0
        ranked.append((auroc(np.concatenate([one, two]), labels), float(gap), -strength))
    return -max(ranked)[2]
