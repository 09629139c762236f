"""Frozen patch features of any timm network: layers, neighbourhoods, one width D, one grid.

Source: Roth et al., CVPR 2022 (PatchCore), as MoLE-Flow uses it: the mean over layers of
neighbourhood-pooled maps, without parameters. Tokens of a ViT are taken as they are, without class
token and without the final norm.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Self

import timm
import torch
from jaxtyping import Float
from timm.models import is_model
from torch import Tensor, nn

from mechlab.errors import MechlabError, unknown
from reproductions.backbones import hub
from reproductions.backbones.pooling import averaged, narrowed, pooled
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
    dim: int  # D
    normalisation: str  # of the pixels, e.g. "imagenet"


class Extractor(nn.Module):
    """A frozen backbone: RGB images in 0..1 to patch features; it stays in evaluation mode."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, network: nn.Module, origin: Origin, *, indices: tuple[int, ...], tokens: bool) -> None:
        """Freeze `network`; `indices` count its feature levels, `tokens` marks a transformer of one grid."""
        super().__init__()
        self.network = network.requires_grad_(False)
        self.origin = origin
        self._indices, self._tokens = indices, tokens
        for name, key in (("mean", "mean"), ("deviation", "std")):
            self.register_buffer(name, torch.tensor(network.pretrained_cfg[key]).view(1, -1, 1, 1))
        self.eval()
        with torch.inference_mode():
            blank = torch.zeros(1, 3, origin.image_size, origin.image_size)
            self.grid: tuple[int, int] = tuple(self(blank).shape[1:3])

    @property
    def weights_id(self) -> str:
        """SHA-256 of the tensors that are used, or random-<seed>."""
        return self.origin.weights_id

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers whose features are averaged."""
        return self.origin.layers

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode whatever is asked: running statistics must not move."""
        del mode
        return super().train(False)

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch row column dim"]:
        """Return the features of RGB images in 0..1 (the backbone's own mean and deviation are applied)."""
        maps = _levels(self.network, (images - self.mean) / self.deviation, self._indices)
        reduce = narrowed if self._tokens else pooled
        return averaged([reduce(level, self.origin.dim) for level in maps])


def build(
    backbone: str,
    *,
    weights: Path | str | None = None,
    layers: tuple[str, ...] | None = None,
    image_size: int = 224,
    dim: int = 128,
) -> Extractor:
    """Return a frozen extractor on the CPU.

    `weights`: a file, "embedded", "random-<seed>", or None for $MECHLAB_WEIGHTS and then the hub.
    `layers`: names ("layer2") or numbers of the backbone's levels; None takes layer2 and layer3 of a
    ResNet, four blocks of a ViT, the levels of stride 8 and 16 otherwise. Raises MechlabError for unknown
    names, weights that lack a needed tensor or have another shape, and an unreachable hub.
    """
    architecture = EMBEDDED_ARCHITECTURE if backbone == EMBEDDED else backbone
    if not is_model(architecture):
        raise _unknown_backbone(backbone)
    source = located(backbone, weights)
    network = _created(architecture, image_size=image_size, seed=source if isinstance(source, int) else 0)
    names = [str(level["module"]) for level in network.feature_info]
    tokens = len({level["reduction"] for level in network.feature_info}) == 1 and len(names) > 4
    chosen = _indices(layers, names, network=network, tokens=tokens, backbone=backbone)
    _check_width(dim, [network.feature_info[index]["num_chs"] for index in chosen], tokens=tokens, backbone=backbone)
    needed = _needed(network, chosen, image_size=image_size, backbone=backbone)
    if isinstance(source, int):
        weights_id = f"{RANDOM}{source}"
    else:
        file = source or hub.fetched(backbone, _hub_repository(network))
        used = checked(
            _translated(read(file), network, source=str(file)),
            expected=network.state_dict(),
            needed=needed,
            source=str(file),
        )
        network.load_state_dict(used, strict=False)
        weights_id = digest(used)
    origin = Origin(
        backbone=backbone,
        weights_id=weights_id,
        layers=tuple(names[index] for index in chosen),
        image_size=image_size,
        dim=dim,
        normalisation=_normalisation(network.pretrained_cfg),
    )
    return Extractor(network, origin, indices=chosen, tokens=tokens)


def _unknown_backbone(name: str) -> MechlabError:
    known = timm.list_models()
    near = get_close_matches(name, [EMBEDDED, *known], n=1, cutoff=0.6)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    return MechlabError(
        f"no backbone named '{name}'.{hint} Known: '{EMBEDDED}' and the {len(known)} names of timm.list_models()."
    )


def _created(architecture: str, *, image_size: int, seed: int) -> nn.Module:
    """Create a network with random weights of a seed, leaving torch's global generator as it was."""
    config = timm.get_pretrained_cfg(architecture)
    sized = {"img_size": image_size} if config is not None and config.fixed_input_size else {}
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return timm.create_model(architecture, pretrained=False, num_classes=0, **sized)
    except (RuntimeError, TypeError, AssertionError, ValueError) as fault:
        raise MechlabError(
            f"backbone '{architecture}' cannot be made for images of {image_size} pixels ({fault}); "
            "give another --image-size or --backbone."
        ) from fault


def _indices(
    layers: tuple[str, ...] | None, names: list[str], *, network: nn.Module, tokens: bool, backbone: str
) -> tuple[int, ...]:
    """Return the numbers of the chosen feature levels, in the order of depth."""
    if layers is None:
        if tokens:
            return tuple(round(len(names) * share) - 1 for share in (1 / 6, 1 / 3, 1 / 2, 1))
        if {"layer2", "layer3"} <= set(names):
            return names.index("layer2"), names.index("layer3")
        strides = [level["reduction"] for level in network.feature_info]
        return tuple(index for index, stride in enumerate(strides) if stride in (8, 16)) or (len(names) - 1,)
    if not layers:
        raise MechlabError(f"no layers are given for '{backbone}'; choose from {', '.join(names)}.")
    chosen = set()
    for layer in layers:
        if layer not in names and not (layer.isdecimal() and int(layer) < len(names)):
            raise unknown(f"layer of '{backbone}'", layer, names)
        chosen.add(names.index(layer) if layer in names else int(layer))
    return tuple(sorted(chosen))


def _check_width(dim: int, channels: list[int], *, tokens: bool, backbone: str) -> None:
    most = min(channels) * (1 if tokens else 9)
    if not 1 <= dim <= most:
        raise MechlabError(f"--dim {dim} is not possible with '{backbone}'; these layers give 1 to {most}.")


def _levels(network: nn.Module, images: Tensor, indices: tuple[int, ...]) -> list[Tensor]:
    return network.forward_intermediates(
        images, indices=list(indices), stop_early=True, output_fmt="NCHW", intermediates_only=True
    )


def _needed(network: nn.Module, indices: tuple[int, ...], *, image_size: int, backbone: str) -> frozenset[str]:
    """Return the names of the tensors that the chosen levels depend on, found by one backward pass.

    A buffer (running statistics) is needed where a parameter of the same module is.
    """
    parameters = dict(network.named_parameters())
    network.eval()
    try:
        levels = _levels(network, torch.zeros(1, 3, image_size, image_size), indices)
    except (AssertionError, RuntimeError, AttributeError, TypeError) as fault:
        raise MechlabError(
            f"'{backbone}' gives no features for images of {image_size} pixels ({fault}); "
            "give another --image-size or --backbone."
        ) from fault
    total = torch.stack([level.sum() for level in levels]).sum()
    slopes = torch.autograd.grad(total, list(parameters.values()), allow_unused=True)
    used = {name for name, slope in zip(parameters, slopes, strict=True) if slope is not None}
    homes = {name.rpartition(".")[0] for name in used}
    state = network.state_dict()
    buffers = {
        name
        for name in state.keys() - parameters.keys()
        if name.rpartition(".")[0] in homes and state[name].is_floating_point()
    }
    return frozenset(used | buffers)


def _translated(tensors: dict[str, Tensor], network: nn.Module, *, source: str) -> Mapping[str, Tensor]:
    """Apply the network's own translation of weight files, where timm has one: it resizes position tables."""
    translate = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
    if translate is None:
        return tensors
    try:
        return translate(dict(tensors), network)
    except (KeyError, IndexError, RuntimeError, ValueError, AssertionError, AttributeError) as fault:
        raise MechlabError(f"the weights '{source}' do not fit this backbone ({fault!r}); give its own.") from fault


def _hub_repository(network: nn.Module) -> str | None:
    return network.pretrained_cfg.get("hf_hub_id")


def _normalisation(config: Mapping[str, object]) -> str:
    mean, deviation = tuple(config["mean"]), tuple(config["std"])
    if (mean, deviation) == (timm.data.IMAGENET_DEFAULT_MEAN, timm.data.IMAGENET_DEFAULT_STD):
        return "imagenet"
    return f"mean {mean} deviation {deviation}"
