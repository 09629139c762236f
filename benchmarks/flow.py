"""What a training pass of the flow costs beside the same map of FrEIA's blocks: equal weights, equal losses.

The reference is FrEIA's `AllInOneBlock` around subnets whose low-rank branches are products of their own, as
the public code has them (facts 1.2): LoRA 64 on every Linear, context 5, features in, loss backward, task 0
(all trains) and task 1 (bases frozen). Sizes: issue 4. Ours is measured as `products=fused` and as `apart`.
"""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch
from torch import Tensor

from benchmarks.measure import Measurement, one_thread, paired_ratios, ratio
from reproductions.moleflow.initialisation import generator
from reproductions.moleflow.sizes import MAIN
from reproductions.moleflow.system import MoLEFlow

PAIRS = 7
GRID = (28, 28)
FLOW = MAIN | {"position": "none", "adapter": "none", "mixer": "none", "dia_blocks": 0}
SIZES = {"128": (128, 4, 16, 0.5), "768": (768, 2, 4, 0.75)}  # D, blocks, images, target
SAME = 1e-4  # largest relative difference of losses


def measure() -> Iterator[Measurement]:
    """Yield ratios of time by size, task and form, and the largest difference of losses."""
    with one_thread():
        for name, (dim, blocks, images, target) in SIZES.items():
            yield from cost(name, dim=dim, blocks=blocks, images=images, target=target, pairs=PAIRS)


def cost(
    name: str, *, dim: int, blocks: int, images: int, target: float, pairs: int, rank: int = 64
) -> Iterator[Measurement]:
    """Yield what one size costs; the target is that of the fused form in the first task."""
    draw = torch.Generator().manual_seed(0)
    features = torch.randn(images, *GRID, dim, generator=draw)
    differences = []
    for task in (0, 1):
        forms = {form: flow(form, dim=dim, blocks=blocks, rank=rank, task=task) for form in FORMS}
        losses = {form: step(system, features, task=task) for form, system in forms.items()}
        differences += [abs(loss / losses["freia"] - 1) for loss in losses.values()]
        reference = partial(step, forms["freia"], features, task=task)
        for form in ("fused", "apart"):
            work: Callable[[], object] = partial(step, forms[form], features, task=task)
            found = paired_ratios(reference, work, pairs=pairs)["wall"]
            label = f"flow-{name}" + ("" if form == "fused" else "-apart") + ("" if task == 0 else "-later")
            wanted = target if form == "fused" and task == 0 else 1.0
            against = f"FrEIA's blocks, forward + backward, D {dim}, {blocks} blocks, task {task}"
            yield ratio(label, found, against=against, target=wanted)
    yield Measurement(
        name=f"flow-{name}-loss",
        value=float(np.max(differences)),  # a loss that is not a number is none that agrees
        unit="ratio",
        against="the loss of FrEIA's blocks: largest relative difference",
        target=SAME,
        n=len(differences),
        interval=(0.0, float(np.max(differences))),
    )


FORMS = {
    "freia": {"coupling": "freia"},
    "apart": {"products": "apart"},
    "fused": {"products": "fused"},
}


def flow(form: str, *, dim: int, blocks: int, rank: int, task: int) -> MoLEFlow:
    """Return a flow whose numbers depend on its sizes alone, off the identity, ready to train a task."""
    system = MoLEFlow.create(
        FLOW | {"blocks": blocks, "lora_rank": rank} | FORMS[form], dim=dim, grid=GRID, seed=0
    )
    for number in range(task + 1):
        system.add_task(number)
    with torch.no_grad():
        for name, parameter in system.named_parameters():
            if "freia.global" not in name and "freia.w_perm" not in name:
                own = name.replace("freia.subnet.subnet", "subnet")  # one number for one role in all forms
                draw = generator(1, task=0, name=own)
                parameter.add_(0.02 * torch.randn(parameter.shape, generator=draw))
    permuted_alike(system)
    scopes = system.stage(task).scopes
    for name, parameter in system.named_parameters():
        parameter.requires_grad_(scopes[name] != "frozen")
    return system.train()


def permuted_alike(system: MoLEFlow) -> None:
    """Give every block the reversal of its channels: FrEIA draws its own order."""
    order = torch.arange(system.dim - 1, -1, -1)
    for block in system.flow:
        if hasattr(block, "freia"):
            with torch.no_grad():
                block.freia.w_perm.copy_(torch.eye(system.dim)[order].view_as(block.freia.w_perm))
                block.freia.w_perm_inv.copy_(torch.eye(system.dim)[order].T.view_as(block.freia.w_perm))
        else:
            block.order.copy_(order)
            block.back.copy_(order.argsort())


def step(system: MoLEFlow, features: Tensor, *, task: int) -> float:
    """Take the gradient of a batch's loss and return the loss, in nats a patch."""
    system.zero_grad(set_to_none=True)
    total = system.loss(features, task=task).total
    total.backward()
    return float(total.detach())
