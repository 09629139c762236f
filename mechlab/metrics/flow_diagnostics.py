"""Is the volume term of a flow alive, and are normal images more diverse than defective ones?

Of the patches of an image group: deviation of the log-det, variance of the prior's log-density, correlation
of the latent's length with the log-det. A flow whose scale does nothing has a deviation near 0. Ratios are
those of defective over normal images: below 1, normals are the more diverse ones, which a likelihood cannot
flag. The notes call a ratio of 0.79 "DEAD" and give no rule, so none is applied here. Patches are no
replicates: these are descriptions, without a test. Source: notes 004 L1481, L3377.
"""

import numpy as np
from jaxtyping import Float, Int

Table = dict[str, float | None]


def group_statistics(
    lengths: Float[np.ndarray, "item row column"], log_dets: Float[np.ndarray, "item row column"]
) -> Table:
    """Return the statistics of some images' patches; None for a correlation of what does not vary.

    `lengths` are those of the latents; log-dets are in nats, `log_prior_variance` in squared nats.
    """
    length, log_det = (values.astype(np.float64).ravel() for values in (lengths, log_dets))
    varies = length.std() > 0 and log_det.std() > 0
    return {
        "log_det_std": float(log_det.std()),
        "log_prior_variance": float((0.5 * length**2).var()),
        "length_log_det_correlation": float(np.corrcoef(length, log_det)[0, 1]) if varies else None,
    }


def flow_diagnostics(
    lengths: Float[np.ndarray, "item row column"],
    log_dets: Float[np.ndarray, "item row column"],
    labels: Int[np.ndarray, " item"],
) -> dict[str, Table | None]:
    """Return the statistics of normal (label 0) and defective images, and their ratios; or None."""
    found: dict[str, Table | None] = {}
    for label, name in ((0, "normal"), (1, "defective")):
        chosen = labels == label
        found[name] = group_statistics(lengths[chosen], log_dets[chosen]) if chosen.any() else None
    found["ratio"] = _ratios(found["normal"], found["defective"])
    return found


def _ratios(normal: Table | None, defective: Table | None) -> Table | None:
    if normal is None or defective is None:
        return None
    ratios: Table = {}
    for name in ("log_det_std", "log_prior_variance"):
        below, above = normal[name], defective[name]
        ratios[name] = above / below if below and above is not None else None
    return ratios
