"""What a step of the published sizes costs on a CUDA device in each precision, beside float32.

Preset `main` with D 768 (6 blocks, DIA 2, LoRA 64, context 5) on 16 images of 28 x 28 patches: features in,
loss backward, with deterministic kernels as in a training; task 0 (all trains) and task 1 (bases frozen).
"""

from collections.abc import Iterator
from functools import partial
from statistics import median
from time import perf_counter

import torch
from torch import Tensor

from benchmarks.flow import GRID
from benchmarks.measure import Measurement, absent, median_interval, paired_ratios, ratio
from mechlab.train import determinism
from mechlab.train.precision import products_behind
from mechlab.train.scopes import apply
from reproductions.moleflow.sizes import MAIN
from reproductions.moleflow.system import MoLEFlow

PAIRS, DIM, IMAGES = 15, 768, 16
FORMS = {
    "tf32": {"precision": "tf32"},
    "bf16": {"precision": "bf16"},
    "fused": {"products": "fused"},
    "fused-tf32": {"products": "fused", "precision": "tf32"},
    "fused-bf16": {"products": "fused", "precision": "bf16"},
}


def measure() -> Iterator[Measurement]:
    """Yield milliseconds of float32 and ratios of the others, by task; absent rows without a device."""
    if not torch.cuda.is_available():
        for task in (0, 1):
            for form in ("float32", *FORMS):
                yield absent(_name(form, task), why="no CUDA device")
        return
    determinism.settle(seed=0, threads=None)
    features = torch.randn(IMAGES, *GRID, DIM, generator=torch.Generator().manual_seed(0)).cuda()
    yield from cost(MAIN, FORMS, features, pairs=PAIRS)


def cost(
    parts: dict[str, object], forms: dict[str, dict[str, str]], features: Tensor, *, pairs: int
) -> Iterator[Measurement]:
    """Yield what a step costs in each form, on the device of the features."""
    for task in (0, 1):
        plain = partial(step, system(parts, features, task=task), features, task=task)
        seconds = [_seconds(plain) for _ in range(pairs + 1)][1:]  # the first one warms up
        yield Measurement(
            name=_name("float32", task), value=1e3 * median(seconds), unit="ms", target=None, n=pairs,
            against=f"forward + backward of {len(features)} images, task {task}",
            interval=tuple(1e3 * edge for edge in median_interval(seconds)),
        )  # fmt: skip
        for form, own in forms.items():
            other = partial(step, system(parts | own, features, task=task), features, task=task)
            found = paired_ratios(plain, other, pairs=pairs)["wall"]
            against = f"float32, products apart, task {task}"
            yield ratio(_name(form, task), found, against=against, target=None)


def _name(form: str, task: int) -> str:
    return f"precision-{form}" + ("-later" if task else "")


def system(parts: dict[str, object], features: Tensor, *, task: int) -> MoLEFlow:
    """Return a system that is ready to train a task, on the device of the features."""
    _, rows, columns, dim = features.shape
    made = MoLEFlow.create(dict(parts), dim=dim, grid=(rows, columns), seed=0)
    for number in range(task + 1):
        made.add_task(number)
    apply(made, made.stage(task))
    return made.to(features.device).train()


def step(system: MoLEFlow, features: Tensor, *, task: int) -> float:
    """Take the gradient of a batch's loss and return the loss, in nats a patch; the device has ended then."""
    system.zero_grad(set_to_none=True)
    total = system.loss(features, task=task).total
    with products_behind(system.config.precision):
        total.backward()
    if features.is_cuda:
        torch.cuda.synchronize()
    return float(total.detach())


def _seconds(work: partial[float]) -> float:
    began = perf_counter()
    work()
    return perf_counter() - began
