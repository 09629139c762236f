"""A projector that knows no places: each patch encoded alone, plus a mean over the image.

Nothing of x passes by the encoder, so the flow's input is whatever it makes: likelihoods are of those codes
and say nothing about features. Source: notes 004 L2501 (bottleneck half the channels, gate sigmoid(0.3)).
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reproductions.moleflow.initialisation import BASE, empty_linear, generator, start_uniform


def _network(fan_in: int, hidden: int, fan_out: int, *, name: str, seed: int) -> nn.Sequential:
    layers = [empty_linear(fan_in, hidden), empty_linear(hidden, fan_out)]
    for number, linear in enumerate(layers):
        draw = generator(seed, task=BASE, name=f"mixer.{name}.{number}")
        start_uniform(linear.weight, linear.bias, draw=draw)
    return nn.Sequential(layers[0], nn.GELU(), layers[1])


class SemanticProjector(nn.Module):
    """patch(x) + sigmoid(level) · decode(mean over patches of encode(x))."""

    def __init__(self, dim: int, *, ratio: float, seed: int) -> None:
        super().__init__()
        hidden = max(1, round(ratio * dim))
        self.level = nn.Parameter(torch.tensor([0.3]))
        self.patch = _network(dim, hidden, dim, name="patch", seed=seed)
        self.encode = _network(dim, hidden, hidden, name="encode", seed=seed)
        self.decode = _network(hidden, hidden, dim, name="decode", seed=seed)

    def add_task(self, task: int) -> None:
        """Do nothing: no task has parameters here."""

    def forward(
        self, x: Float[Tensor, "batch row column dim"], *, task: int
    ) -> Float[Tensor, "batch row column dim"]:
        """Encode each patch, and add what the image as a set gives."""
        of_image = self.decode(self.encode(x).mean(dim=(1, 2), keepdim=True))
        return self.patch(x) + torch.sigmoid(self.level) * of_image
