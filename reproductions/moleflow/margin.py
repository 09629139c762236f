"""Normal patches against the same patches with a pseudo-anomaly.

Source: notes 004 L2651 ("nll + lambda * margin_loss(normal, pseudo-anomaly)", no formula). Chosen here: each
damaged patch is compared with itself before the damage, and the hinge is smooth, so that no patch ever stops
pulling: a part that learns from this loss alone always moves.
"""

from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional


def margin_loss(
    normal: Float[Tensor, "batch row column"],
    damaged: Float[Tensor, "batch row column"],
    mask: Bool[Tensor, "batch row column"],
    *,
    margin: float,
    dim: int,
) -> Float[Tensor, ""]:
    """Return dim · softplus(margin - rise / dim), mean over an image's damaged patches, then over images.

    Scores in nats a patch, `margin` in nats a channel; rise = damaged - normal. Falls in the rise; near
    dim · margin where nothing rises, near 0 where every damaged patch rises by far more than the margin.
    """
    short = dim * functional.softplus(margin - (damaged - normal) / dim)
    touched = mask.to(short.dtype)
    return ((short * touched).sum(dim=(1, 2)) / touched.sum(dim=(1, 2))).mean()
