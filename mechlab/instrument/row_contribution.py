"""Row contributions: the norm of each row's term in the gradient of a Linear layer's parameters.

For y = W a + b the gradient of a loss is the sum over rows i of b_i a_iᵀ with b_i = d loss / d y_i, so row
i adds a term of norm |a_i| |b_i| to the gradient of W and one of norm |b_i| to that of the bias. It costs
two vector norms a layer and no product of matrices. Low-rank branches are two Linears and need nothing
else. Source: Goodfellow 2015 (arXiv:1510.01799); numerics notes, "Per-patch gradient norms" (and when it is
exact).
"""

from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mechlab.errors import MechlabError
from mechlab.instrument.log_det import site_axes
from mechlab.instrument.row_norms import RowNorms
from mechlab.instrument.sites import find_linears
from mechlab.instrument.tap import Removal, Target, key_of, remove_all

_COUPLING = (
    nn.modules.conv._ConvNd,
    nn.modules.batchnorm._BatchNorm,
    nn.MultiheadAttention,
    nn.RNNBase,
    nn.modules.instancenorm._InstanceNorm,
    nn.GroupNorm,
)


class _Term(NamedTuple):
    """What one layer gives: for each row, the norm of its input and of its output's gradient."""

    layer: str
    inputs: Tensor
    outputs: Tensor
    has_bias: bool


class RowContributionTap:
    """Records |a_i| |b_i| of every Linear that one plan entry selects, or the root of their summed squares.

    Reduction "total" sums squares over the weights and biases of all selected layers: for each row, the
    norm of its term in the gradient of all these parameters together.
    """

    def __init__(self, target: Target) -> None:
        """Hook the layers; a MechlabError where the product would not be what its name says."""
        self.target, self.quantity = target, target.entry.quantity
        self.linears = find_linears(target.model, target.entry.site)
        _refuse_tied(self.linears)
        if self.quantity == "patch_gradient_norm":
            _refuse_coupled(target.model)
        self.is_total = target.entry.reduction == "total"
        names = ["total"] if self.is_total else list(self.linears)
        self.keys = tuple(key_of(self.quantity, name) for name in names)
        self.fired: set[str] = set()
        self.active = False
        self.terms: list[_Term] = []  # of the step under way
        self.norms = RowNorms()
        self.called: set[str] = set()
        self.answered: set[str] = set()
        self._take, self._meet = target.sink.timed(self.take), target.sink.timed(self.meet)
        self._end = target.sink.timed(self.write)
        self.removals: list[Removal] = [
            linear.register_forward_hook(partial(self._after, name), with_kwargs=True).remove
            for name, linear in self.linears.items()
        ]

    def _after(
        self,
        name: str,
        module: nn.Linear,
        inputs: tuple[Tensor, ...],
        named: dict[str, Tensor],
        output: Tensor,
    ) -> None:
        if self.active and output.requires_grad and torch.is_grad_enabled():
            self._take(name, module, inputs[0] if inputs else named["input"], output)

    def take(self, name: str, module: nn.Linear, rows: Tensor, output: Tensor) -> None:
        """Take the norms of a layer's input rows, and wait for its output's gradient."""
        if name in self.called:
            raise MechlabError(
                f"'{name}' runs twice in one step, so its rows add to the gradient together; record "
                "'gradient' instead, or leave the layer out."
            )
        self.called.add(name)
        hook = partial(self._meet, name, self.norms.of(rows), module.bias is not None)
        output.register_hook(hook)  # type: ignore[no-untyped-call]

    def meet(self, name: str, inputs: Tensor, has_bias: bool, gradient: Tensor) -> None:
        """Take the norms of a layer's output gradients."""
        if name in self.answered:
            raise MechlabError(
                f"two backward passes went through '{name}' in one step; take one step for each loss."
            )
        self.answered.add(name)
        self.terms.append(_Term(name, inputs, self.norms.of(gradient), has_bias))

    def write(self) -> None:
        """Multiply the norms and write the products, or the root of their summed squares."""
        if not self.is_total:
            for term in self.terms:
                self._write(key_of(self.quantity, term.layer), term.inputs * term.outputs)
        elif self.terms:
            self._write(self.keys[0], self._total())

    def _total(self) -> Tensor:
        """Return each row's norm over all layers, in float64."""
        fold = self.target.sink.folded
        total = torch.zeros_like(fold(self.terms[0].outputs), dtype=torch.float64)
        for term in self.terms:
            outputs = fold(term.outputs)
            if outputs.shape != total.shape:
                raise MechlabError(
                    f"'{term.layer}' sees rows of shape {tuple(outputs.shape)} and the layers before it "
                    f"{tuple(total.shape)}; a total needs layers with the same rows, so choose those."
                )
            product = (fold(term.inputs) * outputs).double()
            total.addcmul_(product, product)
            if term.has_bias:
                total.addcmul_(outputs.double(), outputs.double())
        return total.sqrt_()

    def _write(self, key: str, values: Tensor) -> None:
        sink = self.target.sink
        values = sink.folded(values)
        sink.put(
            key, values, axes=site_axes(values), unit="loss", dtype=self.target.entry.dtype, of_loss=True
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
        self.called.clear()
        self.answered.clear()
        self.terms.clear()
        self.norms.clear()

    def remove(self) -> None:
        """Take the hooks off."""
        remove_all(self.removals)


def _refuse_tied(linears: dict[str, nn.Linear]) -> None:
    owners: dict[int, str] = {}
    for name, linear in linears.items():
        first = owners.setdefault(id(linear.weight), name)
        if first != name:
            raise MechlabError(
                f"'{first}' and '{name}' share one weight, so a row's terms add up before the norm; record "
                "'gradient' instead, or choose only one of the layers."
            )


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
