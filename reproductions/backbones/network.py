"""A timm network as feature levels: what its layers are called, what they need, how weight files fit it.

Every timm network gives its intermediate maps through one method, so nothing here depends on a family.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import timm
import torch
from timm.models import is_model
from torch import Tensor, nn

from mechlab.errors import MechlabError, unknown

NEIGHBOURHOOD = 9  # places that a patch of a convolutional map takes in


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A timm model without classifier, and its feature levels from shallow to deep."""

    name: str
    module: nn.Module
    names: tuple[str, ...]
    strides: tuple[int, ...]  # pixels from place to place
    channels: tuple[int, ...]
    config: Mapping[str, Any]  # timm's: mean, std, hub repository

    @property
    def has_tokens(self) -> bool:
        """Return whether all levels share one grid, as in a plain ViT."""
        return len(self.names) > 1 and len(set(self.strides)) == 1

    def chosen(self, layers: tuple[str, ...] | None) -> tuple[int, ...]:
        """Return the numbers of the levels asked for by name or number, from shallow to deep.

        None: four blocks of a ViT (1, 3, 5, 11 of twelve), layer2 and layer3 of a ResNet, else the levels
        of stride 8 and 16.
        """
        if layers is None:
            if self.has_tokens:
                return tuple(round(len(self.names) * share) - 1 for share in (1 / 6, 1 / 3, 1 / 2, 1))
            if {"layer2", "layer3"} <= set(self.names):
                return self.names.index("layer2"), self.names.index("layer3")
            middle = tuple(index for index, stride in enumerate(self.strides) if stride in (8, 16))
            return middle or (len(self.names) - 1,)
        if not layers:
            raise MechlabError(f"no layers are given for '{self.name}'; choose from {', '.join(self.names)}.")
        numbers = set()
        for layer in layers:
            if layer not in self.names and not (layer.isdecimal() and int(layer) < len(self.names)):
                raise unknown(f"layer of '{self.name}'", layer, self.names)
            numbers.add(self.names.index(layer) if layer in self.names else int(layer))
        return tuple(sorted(numbers))

    def check_width(self, dim: int, indices: tuple[int, ...]) -> None:
        """Refuse a width that the channels of these levels cannot give."""
        most = min(self.channels[index] for index in indices) * (1 if self.has_tokens else NEIGHBOURHOOD)
        if not 1 <= dim <= most:
            raise MechlabError(
                f"--dim {dim} is not possible: these layers of '{self.name}' give 1 to {most}."
            )

    def check_size(self, image_size: int) -> None:
        """Refuse an image that patches of a ViT do not divide: its right and lower border would be cut."""
        patch = self.strides[0]
        if self.has_tokens and image_size % patch:
            near = max(1, image_size // patch) * patch
            raise MechlabError(
                f"images of {image_size} pixels are no whole number of the {patch}-pixel patches of "
                f"'{self.name}'; give --image-size {near} or {near + patch}."
            )

    def needed(self, indices: tuple[int, ...], *, image_size: int) -> frozenset[str]:
        """Return the names of the tensors that some levels depend on, found by one backward pass.

        A buffer (running statistics) is needed where a parameter of the same module is.
        """
        parameters = dict(self.module.named_parameters())
        self.module.eval()
        try:
            with torch.enable_grad():
                maps = levels(self.module, torch.zeros(1, 3, image_size, image_size), indices)
                total = torch.stack([level.sum() for level in maps]).sum()
        except (AssertionError, RuntimeError, AttributeError, TypeError) as fault:
            raise MechlabError(
                f"'{self.name}' gives no features for images of {image_size} pixels ({fault}); "
                "give another --image-size or --backbone."
            ) from fault
        slopes = torch.autograd.grad(total, list(parameters.values()), allow_unused=True)
        used = {name for name, slope in zip(parameters, slopes, strict=True) if slope is not None}
        homes = {name.rpartition(".")[0] for name in used}
        state = self.module.state_dict()
        buffers = {
            name
            for name in state.keys() - parameters.keys()
            if name.rpartition(".")[0] in homes and state[name].is_floating_point()
        }
        return frozenset(used | buffers)

    def shed(self, needed: frozenset[str]) -> None:
        """Let go of the parameters that no level asked for depends on; a pass that reaches one fails."""
        for name, parameter in self.module.named_parameters():
            if name not in needed:
                parameter.data = parameter.data.new_empty(0)

    def translated(self, tensors: Mapping[str, Tensor], *, source: str) -> Mapping[str, Tensor]:
        """Apply timm's own translation of weight files, where there is one: it resizes position tables."""
        translate = getattr(sys.modules[type(self.module).__module__], "checkpoint_filter_fn", None)
        if translate is None:
            return tensors
        try:
            return dict(translate(dict(tensors), self.module))
        except (KeyError, IndexError, RuntimeError, ValueError, AssertionError, AttributeError) as fault:
            raise MechlabError(
                f"the weights '{source}' do not fit '{self.name}' ({fault!r}); give weights of this backbone."
            ) from fault


def created(name: str, *, image_size: int, seed: int) -> Network:
    """Create a network with random weights of a seed; torch's global generator stays as it was."""
    if not is_model(name):
        known = timm.list_models()
        near = get_close_matches(name, ["embedded", *known], n=1, cutoff=0.6)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        raise MechlabError(
            f"no backbone named '{name}'.{hint} Known: 'embedded' and the {len(known)} names "
            "of timm.list_models()."
        )
    pretrained = timm.get_pretrained_cfg(name)
    fixed = pretrained is not None and pretrained.fixed_input_size
    sized: dict[str, Any] = {"img_size": image_size} if fixed else {}
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            module: Any = timm.create_model(name, pretrained=False, num_classes=0, **sized)
    except (RuntimeError, TypeError, AssertionError, ValueError) as fault:
        raise MechlabError(
            f"backbone '{name}' cannot be made for images of {image_size} pixels ({fault}); "
            "give another --image-size or --backbone."
        ) from fault
    return Network(
        name=name,
        module=module,
        names=tuple(str(level["module"]) for level in module.feature_info),
        strides=tuple(int(level["reduction"]) for level in module.feature_info),
        channels=tuple(int(level["num_chs"]) for level in module.feature_info),
        config=module.pretrained_cfg,
    )


def levels(module: nn.Module, images: Tensor, indices: tuple[int, ...]) -> list[Tensor]:
    """Return the maps (batch, channel, row, column) of some levels; nothing deeper is computed."""
    network: Any = module
    return list(
        network.forward_intermediates(
            images, indices=list(indices), stop_early=True, output_fmt="NCHW", intermediates_only=True
        )
    )
