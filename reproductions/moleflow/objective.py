"""The loss of a batch from its flow's outputs, with its terms for the log.

Source: notes 004 L2367 (tail), L4810 (log-det); facts 1.3.
"""

from jaxtyping import Float
from torch import Tensor

from mechlab.train.stage import Loss
from reproductions.moleflow.config import MoLEFlowConfig
from reproductions.moleflow.losses import log_det_penalty, mean_loss, patch_nll, tail_loss


def training_loss(
    config: MoLEFlowConfig,
    *,
    latent: Float[Tensor, "batch row column dim"],
    log_det: Float[Tensor, "batch row column"],
) -> Loss:
    """Return the total and its terms, all in nats a patch."""
    nll = patch_nll(latent, log_det)
    total = mean_loss(nll)
    terms = {"nll": total}
    if config.tail_weight:
        total = tail_loss(nll, weight=config.tail_weight, ratio=config.tail_ratio)
        terms["nll_with_tail"] = total
    if config.log_det_weight:
        terms["log_det"] = config.log_det_weight * log_det_penalty(log_det)
        total = total + terms["log_det"]
    return Loss(total=total, terms=terms)
