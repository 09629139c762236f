"""Gradient norms of single images: the norm of an image's summed terms in the gradient of a layer's weight.

Image n adds Σ_t b_t a_tᵀ over its T places t. For a Linear the square of its norm is Σ_ts (a_t·a_s)(b_t·b_s),
T² products, or the matrix is made, fan_in · fan_out numbers: whichever is smaller. For a convolution the
patches are unfolded and the matrix is made, a few images at a time. Source: Goodfellow 2015
(arXiv:1510.01799), Rochette et al. 2019 (arXiv:1912.06015); numerics notes, "Per-patch gradient norms",
point (iii).
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mechlab.errors import MechlabError
from mechlab.instrument.convolution import CONVOLUTIONS, Convolution, patches
from mechlab.instrument.layer_watch import LayerWatch, refuse_bypassed, refuse_unfit
from mechlab.instrument.sites import Layer, find_layers
from mechlab.instrument.tap import Target, key_of

_LARGEST = 1 << 22  # numbers in a buffer: 16 MB in float32


class SampleGradientTap:
    """Records one norm an image and layer, or the norm over all selected weights and biases ("total")."""

    def __init__(self, target: Target) -> None:
        """Hook the layers; a MechlabError where images have no gradient of their own."""
        self.target = target
        self.layers = find_layers(target.model, target.entry.site)
        refuse_unfit(self.layers)
        refuse_joined(target.model)
        self.is_total = target.entry.reduction == "total"
        if self.is_total:
            refuse_bypassed(target.model, self.layers)
        names = ["total"] if self.is_total else list(self.layers)
        self.keys = tuple(key_of("sample_gradient_norm", name) for name in names)
        self.fired: set[str] = set()
        self.active = False
        self.squares: dict[str, Tensor] = {}  # layer -> of the weight alone, or with the bias for a total
        self.watch = LayerWatch(
            self.layers, target.sink, seen=self.take, met=self.meet, is_active=lambda: self.active
        )
        self._end = target.sink.timed(self.write)

    def take(self, layer: Layer, rows: Tensor) -> Tensor:
        """Return a layer's input: where its weight trains autograd holds it, and refuses it when changed."""
        is_held = layer.weight.requires_grad and not torch.is_autocast_enabled(rows.device.type)
        return rows.detach() if is_held else rows.detach().clone()

    def meet(self, name: str, layer: Layer, inputs: Tensor, gradient: Tensor) -> None:
        """Take the squared norm of every image."""
        if isinstance(layer, CONVOLUTIONS):
            square, places = convolved_squares(layer, inputs, gradient), gradient.flatten(2).transpose(1, 2)
        else:
            rows, places = self._by_image(inputs), self._by_image(gradient)
            square = summed_squares(rows, places)
        if self.is_total and layer.bias is not None:
            square = square + places.sum(dim=1, dtype=torch.float64).square().sum(dim=1)
        self.squares[name] = square

    def write(self) -> None:
        """Write the norms of this step."""
        found = {key_of("sample_gradient_norm", name): square for name, square in self.squares.items()}
        if self.is_total and found:
            counts = {name: len(square) for name, square in self.squares.items()}
            if len(set(counts.values())) > 1:
                told = ", ".join(f"{count} at '{name}'" for name, count in list(counts.items())[:4])
                raise MechlabError(
                    f"layers of one total see another number of images ({told}); choose layers that see the "
                    "same, or name the items of the step."
                )
            found = {self.keys[0]: torch.stack(list(found.values())).sum(dim=0)}
        sink, entry = self.target.sink, self.target.entry
        for key, square in found.items():
            norm = sink.unscaled(square.sqrt())
            sink.put(key, norm, axes=("item",), unit="loss", dtype=entry.dtype, of_loss=True)
            self.fired.add(key)

    def _by_image(self, values: Tensor) -> Tensor:
        """Return (item, place, channel), with flattened places folded back to their images."""
        folded = self.target.sink.folded(values)
        return folded.reshape(len(folded), -1, folded.shape[-1])

    def begin(self) -> None:
        """Switch on and forget the step before."""
        self.active = True
        self._forget()

    def end(self) -> None:
        """Write and switch off."""
        if self.active:
            self._end()
        self.active = False
        self._forget()

    def _forget(self) -> None:
        self.watch.forget()
        self.squares.clear()

    def remove(self) -> None:
        """Take the hooks off."""
        self.watch.remove()


def summed_squares(
    inputs: Float[Tensor, "item row fan_in"], outputs: Float[Tensor, "item row fan_out"]
) -> Float[Tensor, " item"]:
    """Return |Σ_t b_t a_tᵀ|² for each image, in float64; the smaller of the two forms is computed."""
    (images, places, fan_in), fan_out = inputs.shape, outputs.shape[-1]
    by_pairs = places * places < fan_in * fan_out
    size = places * places if by_pairs else fan_in * fan_out
    found = []
    for a, b in zip(*_in_parts(inputs, outputs, size=size), strict=True):
        if by_pairs:
            products = (a @ a.mT).double() * (b @ b.mT)
            found.append(products.sum(dim=(1, 2)).clamp_(min=0.0))  # rounding can bring a sum of 0 below it
        else:
            found.append(_square(b.mT @ a))
    return torch.cat(found) if found else inputs.new_zeros(images, dtype=torch.float64)


def convolved_squares(
    conv: Convolution,
    images: Float[Tensor, "item channel *size"],
    gradient: Float[Tensor, "item out *place"],
) -> Float[Tensor, " item"]:
    """Return |Σ_t b_t ⊗ patch_t|² for each image, summed over groups, in float64."""
    axes = len(conv.kernel_size)
    size = gradient[0, 0].numel() * conv.weight[0].numel() * conv.groups  # unfolded numbers an image
    found = []
    for part, own in zip(*_in_parts(images, gradient, size=size), strict=True):
        view = patches(conv, part)  # item, group, width, *place, *kernel
        after = (*range(3, 3 + axes), 2, *range(3 + axes, 3 + 2 * axes))
        rows = view.permute(0, 1, *after).flatten(2, 1 + axes).flatten(3)  # item, group, place, fan_in
        outputs = torch.unflatten(own, 1, (conv.groups, -1)).flatten(3)  # item, group, fan_out, place
        found.append(_square(_single(outputs) @ _single(rows)))
    return torch.cat(found) if found else gradient.new_zeros(len(gradient), dtype=torch.float64)


def _in_parts(first: Tensor, second: Tensor, *, size: int) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Return both tensors cut into runs of images whose buffers of `size` numbers stay small."""
    images = max(1, _LARGEST // max(1, size))
    return torch.split(_single(first), images), torch.split(_single(second), images)


def _single(values: Tensor) -> Tensor:
    """Return values in float32 at least."""
    return values if values.dtype in (torch.float32, torch.float64) else values.float()


def _square(matrices: Float[Tensor, "item *fans"]) -> Float[Tensor, " item"]:
    """Return the squared norm of each matrix, in float64."""
    return torch.linalg.vector_norm(matrices.flatten(1), dim=1, dtype=torch.float64).square_()  # type: ignore[no-any-return]


def refuse_joined(model: nn.Module) -> None:
    """Refuse models whose images see one another: then an image has no gradient of its own."""
    for path, module in model.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.training:
            raise MechlabError(
                f"'{path}' ({type(module).__name__}) lets the images of a batch see one another, so an image "
                "has no gradient of its own; put it in evaluation mode, or ask for 'row_contribution'."
            )
