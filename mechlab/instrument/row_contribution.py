"""Row contributions: the norm of each row's term in the gradient of a layer's parameters.

For y = W a + b the gradient of a loss is the sum over rows i of b_i a_iᵀ with b_i = d loss / d y_i, so row
i adds a term of norm |a_i| |b_i| to the gradient of W and one of norm |b_i| to that of the bias. It costs
two vector norms a layer and no product of matrices. Low-rank branches are two Linears and need nothing
else. A convolution is such a layer whose rows are the places of its output and whose a_i is the patch under
one. Source: Goodfellow 2015 (arXiv:1510.01799); numerics notes, "Per-patch gradient norms" (and when it is
exact).
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from mechlab.errors import MechlabError
from mechlab.instrument.convolution import CONVOLUTIONS, PLACES, output_norms, patch_norms
from mechlab.instrument.layer_watch import LayerWatch, refuse_bypassed, refuse_unfit
from mechlab.instrument.log_det import site_axes
from mechlab.instrument.row_norms import RowNorms
from mechlab.instrument.sites import Layer, find_layers
from mechlab.instrument.tap import Target, key_of

_COUPLING = (
    nn.modules.conv._ConvNd,
    nn.modules.batchnorm._BatchNorm,
    nn.MultiheadAttention,
    nn.RNNBase,
    nn.modules.instancenorm._InstanceNorm,
    nn.GroupNorm,
)


class _Term(NamedTuple):
    """What one layer gives: for each row (and group) the norm of its input and of its output's gradient."""

    layer: str
    inputs: Tensor
    outputs: Tensor
    has_bias: bool
    is_convolution: bool

    def weight(self) -> Tensor:
        """Return the norm of each row's term in the weight's gradient."""
        products = self.inputs * self.outputs
        return torch.linalg.vector_norm(products, dim=1) if self.is_convolution else products

    def bias(self) -> Tensor:
        """Return the norm of each row's term in the bias's gradient."""
        return torch.linalg.vector_norm(self.outputs, dim=1) if self.is_convolution else self.outputs


class RowContributionTap:
    """Records |a_i| |b_i| of every layer that one plan entry selects, or the root of their summed squares.

    Reduction "total" sums squares over the weights and biases of all selected layers: for each row, the
    norm of its term in the gradient of all these parameters together.
    """

    def __init__(self, target: Target) -> None:
        """Hook the layers; a MechlabError where the product would not be what its name says."""
        self.target, self.quantity = target, target.entry.quantity
        self.layers = find_layers(target.model, target.entry.site)
        refuse_unfit(self.layers)
        if self.quantity == "patch_gradient_norm":
            _refuse_coupled(target.model)
        self.is_total = target.entry.reduction == "total"
        if self.is_total:
            refuse_bypassed(target.model, self.layers)
        names = ["total"] if self.is_total else list(self.layers)
        self.keys = tuple(key_of(self.quantity, name) for name in names)
        self.fired: set[str] = set()
        self.active = False
        self.terms: list[_Term] = []  # of the step under way
        self.norms = RowNorms()
        self.watch = LayerWatch(
            self.layers, target.sink, seen=self.take, met=self.meet, is_active=lambda: self.active
        )
        self._end = target.sink.timed(self.write)

    def take(self, layer: Layer, rows: Tensor) -> Tensor:
        """Return the norms of a layer's input rows."""
        return patch_norms(layer, rows) if isinstance(layer, CONVOLUTIONS) else self.norms.of(rows)

    def meet(self, name: str, layer: Layer, inputs: Tensor, gradient: Tensor) -> None:
        """Take the norms of a layer's output gradients."""
        has_bias = layer.bias is not None
        if isinstance(layer, CONVOLUTIONS):
            self.terms.append(_Term(name, inputs, output_norms(layer, gradient), has_bias, True))
        else:
            self.terms.append(_Term(name, inputs, self.norms.of(gradient), has_bias, False))

    def write(self) -> None:
        """Multiply the norms and write the products, or the root of their summed squares."""
        if not self.is_total:
            for term in self.terms:
                self._write(key_of(self.quantity, term.layer), term.weight(), axes=self._axes(term))
        elif self.terms:
            self._write(self.keys[0], self._total(), axes=self._axes(self.terms[0]))

    def _total(self) -> Tensor:
        """Return each row's norm over all layers, in float64."""
        fold = self.target.sink.folded
        total = torch.zeros_like(fold(self.terms[0].bias()), dtype=torch.float64)
        for term in self.terms:
            outputs = fold(term.bias())
            if outputs.shape != total.shape:
                raise MechlabError(
                    f"'{term.layer}' sees rows of shape {tuple(outputs.shape)} and the layers before it "
                    f"{tuple(total.shape)}; a total needs layers with the same rows, so choose those."
                )
            product = fold(term.weight()).double()
            total.addcmul_(product, product)
            if term.has_bias:
                total.addcmul_(outputs.double(), outputs.double())
        return total.sqrt_()

    def _axes(self, term: _Term) -> tuple[str, ...] | None:
        """Return the axes of a convolution's places; None where they follow from the shape."""
        return ("item", *PLACES[term.inputs.ndim - 2]) if term.is_convolution else None

    def _write(self, key: str, values: Tensor, *, axes: tuple[str, ...] | None = None) -> None:
        sink = self.target.sink
        values = sink.unscaled(values) if axes else sink.unscaled(sink.folded(values))
        sink.put(
            key,
            values,
            axes=axes or site_axes(values),
            unit="loss",
            dtype=self.target.entry.dtype,
            of_loss=True,
        )
        self.fired.add(key)

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
        self.terms.clear()
        self.norms.clear()

    def remove(self) -> None:
        """Take the hooks off."""
        self.watch.remove()


def _refuse_coupled(model: nn.Module) -> None:
    """Refuse the name `patch_gradient_norm` where a known kind of layer lets rows see one another."""
    for path, module in model.named_modules():
        pointwise = isinstance(module, nn.modules.conv._ConvNd) and set(module.kernel_size) == {1}
        frozen = isinstance(module, nn.modules.batchnorm._BatchNorm) and not module.training
        if isinstance(module, _COUPLING) and not pointwise and not frozen:
            raise MechlabError(
                f"'{path}' ({type(module).__name__}) lets rows see one another, so a row has no gradient "
                "of its "
                "own; ask for quantity 'row_contribution'."
            )
