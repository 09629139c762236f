"""The loss of a batch from its flow's outputs, with its terms for the log.

Source: notes 004 L306 (center), L487 (focal), L2367 (tail), L4810 (log-det); facts 1.3.
"""

import math

from jaxtyping import Float
from torch import Tensor

from mechlab.train.stage import Loss
from reproductions.moleflow.config import MoLEFlowConfig
from reproductions.moleflow.focal import published_focal, relative_focal
from reproductions.moleflow.losses import center_loss, log_det_penalty, mean_loss, patch_nll, tail_loss
from reproductions.moleflow.reduction import reduction_factor


def training_loss(
    config: MoLEFlowConfig,
    *,
    latent: Float[Tensor, "batch row column dim"],
    log_det: Float[Tensor, "batch row column"],
    away: Float[Tensor, ""] | None = None,
) -> Loss:
    """Return the total and its terms, in nats a patch; `reduction` may turn the NLL's into nats an image."""
    nll = patch_nll(latent, log_det)
    terms = {"nll": mean_loss(nll)}
    total = terms["nll"]
    if config.focal != "none":
        focal = published_focal if config.focal == "published" else relative_focal
        nll = focal(nll, gamma=config.focal_gamma)
        total = terms["nll_with_focus"] = mean_loss(nll)
    if config.tail_weight:
        total = tail_loss(nll, weight=config.tail_weight, ratio=config.tail_ratio)
        terms["nll_with_tail"] = total
    patches = math.prod(nll.shape[1:])
    factor = reduction_factor(config.reduction, patches=patches, has_tail=config.tail_weight > 0)
    if factor != 1:
        total = terms["nll_reduced"] = factor * total
    if config.center_weight:
        terms["center"] = config.center_weight * center_loss(latent)
        total = total + terms["center"]
    if away is not None:
        terms["identity"] = config.identity_weight * away
        total = total + terms["identity"]
    if config.log_det_weight:
        terms["log_det"] = config.log_det_weight * log_det_penalty(log_det)
        total = total + terms["log_det"]
    return Loss(total=total, terms=terms)
