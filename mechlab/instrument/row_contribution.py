"""Row contributions: the norm of each row's term in the gradient of a Linear layer's parameters.

For y = W a + b the gradient of a loss is the sum over rows i of b_i a_iᵀ with b_i = d loss / d y_i, so row
i adds a term of norm |a_i| |b_i| to the gradient of W and one of norm |b_i| to that of the bias. It costs
two vector norms a layer and no product of matrices. Low-rank branches are two Linears and need nothing
else. Source: Goodfellow 2015 (arXiv:1510.01799); numerics notes, "Per-patch gradient norms" (and when it is
exact).
"""

from collections import deque
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.weak import TensorWeakRef

from mechlab.errors import MechlabError
from mechlab.instrument.log_det import site_axes
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

_NARROW = 32  # channels; below, one product of a matrix and a vector is several times faster


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
        self.squares: Tensor | None = None  # the total's, float64, summed as the layers answer
        self.norms = RowNorms()
        self.called: set[str] = set()
        self.answered: set[str] = set()
        self.waiting: dict[str, Tensor] = {}  # of input rows whose layer has not returned yet
        self._take, self._meet = target.sink.timed(self.take), target.sink.timed(self.meet)
        self.removals: list[Removal] = []
        for name, linear in self.linears.items():
            # Before the layer, its input is still in the processor's cache.
            before = linear.register_forward_pre_hook(partial(self._before, name), with_kwargs=True)
            self.removals += [before.remove, linear.register_forward_hook(partial(self._after, name)).remove]

    def _before(self, name: str, _: nn.Linear, inputs: tuple[Tensor, ...], named: dict[str, Tensor]) -> None:
        if self.active and torch.is_grad_enabled():
            self._take(name, inputs[0] if inputs else named["input"])

    def take(self, name: str, rows: Tensor) -> None:
        """Keep the norms of a layer's input rows until its output's gradient comes."""
        self.waiting[name] = self.norms.of(rows)

    def _after(self, name: str, module: nn.Linear, _: tuple[Tensor, ...], output: Tensor) -> None:
        norm = self.waiting.pop(name, None)
        if norm is not None and output.requires_grad:
            if name in self.called:
                raise MechlabError(
                    f"'{name}' runs twice in one step, so its rows add to the gradient together; record "
                    "'gradient' instead, or leave the layer out."
                )
            self.called.add(name)
            hook = partial(self._meet, name, module.bias is not None, norm)
            output.register_hook(hook)  # type: ignore[no-untyped-call]

    def meet(self, name: str, has_bias: bool, inputs: Tensor, gradient: Tensor) -> None:
        """Multiply the norms of input rows and output gradients."""
        if name in self.answered:
            raise MechlabError(
                f"two backward passes went through '{name}' in one step; take one step for each loss."
            )
        self.answered.add(name)
        outputs = self.norms.of(gradient)
        if not self.is_total:
            self._write(key_of(self.quantity, name), inputs * outputs)
            return
        fold = self.target.sink.folded
        self._add(name, fold(inputs * outputs))
        if has_bias:
            self._add(name, fold(outputs))

    def _add(self, name: str, term: Tensor) -> None:
        if self.squares is None:
            self.squares = torch.zeros(term.shape, dtype=torch.float64, device=term.device)
        if self.squares.shape != term.shape:
            raise MechlabError(
                f"'{name}' sees rows of shape {tuple(term.shape)} and the layers before it "
                f"{tuple(self.squares.shape)}; a total needs layers with the same rows, so choose those."
            )
        exact = term.double()
        self.squares.addcmul_(exact, exact)

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
        self.squares = None
        self.called.clear()
        self.answered.clear()
        self.waiting.clear()
        self.norms.clear()

    def end(self) -> None:
        """Write the total and switch off."""
        if self.squares is not None:
            self._write(self.keys[0], self.squares.sqrt())
        self.active = False
        self.squares = None
        self.norms.clear()

    def remove(self) -> None:
        """Take the hooks off."""
        remove_all(self.removals)


class RowNorms:
    """Euclidean norms of rows, computed once for a tensor that several layers share.

    A layer and its low-rank branch read one tensor and get one gradient. Tensors are held weakly, so that
    none lives longer than without recording.
    """

    def __init__(self, *, held: int = 4) -> None:
        """Remember the norms of the last `held` tensors only: sharers come soon after one another."""
        self.known: deque[tuple[TensorWeakRef, int, Tensor]] = deque(maxlen=held)

    def of(self, rows: Tensor) -> Tensor:
        """Return the norm over the last axis of a tensor as it is now, in float32 at least."""
        for held, version, known in self.known:
            if held() is rows and version == rows._version:
                return known
        exact = rows.detach()
        exact = exact if exact.dtype == torch.float64 else exact.float()
        norm: Tensor
        if exact.shape[-1] <= _NARROW:
            norm = (exact.square() @ exact.new_ones(exact.shape[-1])).sqrt_()
        else:
            norm = torch.linalg.vector_norm(exact, dim=-1)
        self.known.append((TensorWeakRef(rows), rows._version, norm))
        return norm

    def clear(self) -> None:
        """Forget everything."""
        self.known.clear()


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
