"""From a task's latents to its patch scores: -log p, of one pass or two, and what isolated peaks lose.

Plain, it is -log p. Its parameters stand behind the NLL, so they learn from the margin loss or not at all:
without one they are `still`, as in the published code. Source: notes 004 L2709 to L2734, L2893 to L2987.
"""

from jaxtyping import Float
from torch import Tensor, nn

from reproductions.moleflow.config import MoLEFlowConfig
from reproductions.moleflow.consistency import LocalConsistency, NoCalibration
from reproductions.moleflow.dual_branch import Latent, LatentTrust, Scores, ScoreTrust


class Scorer(nn.Module):
    """One task's trust in the pass with position, and its weights of isolated peaks."""

    def __init__(
        self,
        trust: LatentTrust | ScoreTrust | None,
        consistency: NoCalibration | LocalConsistency,
        *,
        learns: bool,
    ) -> None:
        super().__init__()
        self.trust, self.consistency = trust, consistency
        self.still = () if learns else tuple(name for name, _ in self.named_parameters())

    @property
    def is_dual(self) -> bool:
        """Whether scores need a second pass, without position."""
        return self.trust is not None

    def forward(
        self, latent: Latent, nll: Scores, blind: tuple[Latent, Scores] | None = None
    ) -> Float[Tensor, "batch row column"]:
        """Return scores in nats; `blind` are latent and -log p of the pass without position."""
        scores = nll
        if self.trust is not None:
            assert blind is not None, "two passes are weighed"
            share = self.trust(latent, blind[0], nll, blind[1])
            scores = share * nll + (1 - share) * blind[1]
        return self.consistency(scores)


def scorer_of(config: MoLEFlowConfig, *, dim: int, task: int, seed: int) -> Scorer:
    """Return a task's scorer."""
    trust: LatentTrust | ScoreTrust | None = None
    if config.scorer == "dual-guided":
        trust = ScoreTrust()
    elif config.scorer != "nll":
        trust = LatentTrust(dim, is_bounded=config.scorer == "dual-bounded", task=task, seed=seed)
    kernels = {"none": (), "local": (config.consistency_kernel,), "multi-scale": (3, 5, 7)}[
        config.consistency
    ]
    consistency = LocalConsistency(kernels) if kernels else NoCalibration()
    return Scorer(trust, consistency, learns=config.margin_weight > 0)
