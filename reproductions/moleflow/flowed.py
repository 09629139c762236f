"""What the flow makes of a batch: latents and log-dets."""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor


class Flowed(NamedTuple):
    """Adapted features mapped to the latent side."""

    latent: Float[Tensor, "batch row column dim"]
    log_det: Float[Tensor, "batch row column"]  # nats, of flow and DIA
    block_log_dets: Float[Tensor, "batch row column layer"]  # one a block: flow first, then DIA
    adapted: Float[Tensor, "batch row column dim"]  # the flow's input
