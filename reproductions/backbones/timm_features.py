"""Frozen patch features of any timm network: layers, neighbourhoods, one width D, one grid.

Source: Roth et al., CVPR 2022 (PatchCore), as MoLE-Flow uses it: the mean over layers of
neighbourhood-pooled maps, without parameters. Tokens of a ViT are taken as they are, without class
token and without the final norm.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor, nn

from mechlab.specs import Layout
from reproductions.backbones import hub
from reproductions.backbones.network import Network, created, levels
from reproductions.backbones.pooling import averaged, narrowed, pooled
from reproductions.backbones.pyramid import Pyramid, pyramid_levels, pyramid_of
from reproductions.backbones.weights import (
    EMBEDDED,
    EMBEDDED_ARCHITECTURE,
    RANDOM,
    checked,
    digest,
    located,
    read,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What identifies an extractor's numbers: its fields enter the FeatureSpec."""

    backbone: str  # the name that was asked for
    weights_id: str  # SHA-256 of the tensors that are used, or random-<seed>
    layers: tuple[str, ...]
    image_size: int  # pixels, square
    dim: int  # D, or the channels of a cell of a pyramid
    normalisation: str  # of the pixels, e.g. "imagenet"
    layout: Layout = "patches"


class Extractor(nn.Module):
    """A frozen backbone: RGB images in 0..1 to patch features; it stays in evaluation mode.

    `grid` is (rows, columns) of its features; of a pyramid, of its coarsest level.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self, network: Network, origin: Origin, *, indices: tuple[int, ...], pyramid: Pyramid | None = None
    ) -> None:
        """Freeze a network; `indices` count its feature levels, which a `pyramid` packs as they are."""
        super().__init__()
        self.network = network.module.requires_grad_(False)
        self.origin, self.pyramid = origin, pyramid
        self._indices, self._tokens = indices, network.has_tokens
        self.register_buffer("mean", torch.tensor(network.config["mean"]).view(1, -1, 1, 1))
        self.register_buffer("deviation", torch.tensor(network.config["std"]).view(1, -1, 1, 1))
        self.eval()
        with torch.inference_mode():
            blank = self(torch.zeros(1, 3, origin.image_size, origin.image_size))
        self.grid: tuple[int, int] = (int(blank.shape[1]), int(blank.shape[2]))

    @property
    def weights_id(self) -> str:
        """SHA-256 of the tensors that are used, or random-<seed>."""
        return self.origin.weights_id

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers whose features are averaged."""
        return self.origin.layers

    def train(self, mode: bool = True) -> "Extractor":
        """Stay in evaluation mode whatever is asked: running statistics must not move."""
        del mode
        return super().train(False)

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch row column dim"]:
        """Return the features of RGB images in 0..1; the backbone's own mean and deviation are applied."""
        maps = levels(self.network, (images - self.mean) / self.deviation, self._indices)
        if self.pyramid is not None:
            return self.pyramid.packed(maps)
        reduced = narrowed if self._tokens else pooled
        return averaged([reduced(level, self.origin.dim) for level in maps])


def build(
    backbone: str,
    *,
    weights: Path | str | None = None,
    layers: tuple[str, ...] | None = None,
    image_size: int = 224,
    dim: int = 128,
    layout: Layout = "patches",
) -> Extractor:
    """Return a frozen extractor on the CPU; a pyramid has all channels of its levels, whatever `dim` says.

    `weights`: a file, "embedded", "random-<seed>", or None for $MECHLAB_WEIGHTS and then the hub.
    `layers`: names ("layer2") or numbers of the backbone's levels, None for `Network.chosen`'s default.
    Raises MechlabError for unknown names, weights that lack a needed tensor or have another shape, and an
    unreachable hub.
    """
    architecture = EMBEDDED_ARCHITECTURE if backbone == EMBEDDED else backbone
    source = located(backbone, weights)
    network = created(architecture, image_size=image_size, seed=source if isinstance(source, int) else 0)
    network.check_size(image_size)
    if layout == "patches":
        indices, pyramid = network.chosen(layers), None
        network.check_width(dim, indices)
    else:
        indices = pyramid_levels(network, layers)
        pyramid = pyramid_of(network, indices, image_size=image_size)
        dim = pyramid.dim
    needed = network.needed(indices, image_size=image_size)
    if isinstance(source, int):
        weights_id = f"{RANDOM}{source}"
    else:
        file = source or hub.fetched(backbone, network.config.get("hf_hub_id"))
        weights_id = _loaded(network, file, needed=needed)
    network.shed(needed)
    origin = Origin(
        backbone=backbone,
        weights_id=weights_id,
        layers=tuple(network.names[index] for index in indices),
        image_size=image_size,
        dim=dim,
        normalisation=_normalisation(network.config),
        layout=layout,
    )
    return Extractor(network, origin, indices=indices, pyramid=pyramid)


def _loaded(network: Network, file: Path, *, needed: frozenset[str]) -> str:
    """Load the needed tensors of a weight file into the network; return their digest."""
    tensors = network.translated(read(file), source=str(file))
    used = checked(tensors, expected=network.module.state_dict(), needed=needed, source=str(file))
    network.module.load_state_dict(used, strict=False)
    return digest(used)


def _normalisation(config: Mapping[str, Any]) -> str:
    mean, deviation = tuple(config["mean"]), tuple(config["std"])
    if (mean, deviation) == (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD):
        return "imagenet"
    return f"mean {mean} deviation {deviation}"
