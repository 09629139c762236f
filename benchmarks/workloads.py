"""The two models on which recorders are compared: a residual MLP and a ResNet-18, trained step by step.

Source: numerics notes, "Recording overhead": models (i) and (ii).
"""

from collections.abc import Callable
from dataclasses import dataclass

import timm
import torch
from torch import Tensor, nn

from mechlab.specs import PlanEntry

WIDTH, BLOCKS, ROWS = 512, 8, 4096
IMAGES, SIZE, CLASSES = 8, 224, 1000
NAMES = ("mlp", "resnet18")


class Block(nn.Module):
    """x + ReLU(Linear(x))."""

    def __init__(self, width: int) -> None:
        """Hold one square Linear."""
        super().__init__()
        self.linear = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Add the rectified map."""
        return x + torch.relu(self.linear(x))


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """A model with its loop, and the modules whose outputs are recorded beside all gradients.

    `step` trains one step; a recorder that calls the model itself gives what it made of `inputs` to `update`.
    """

    model: nn.Module
    inputs: Tensor
    step: Callable[[], None]
    update: Callable[[Tensor], None]
    sites: tuple[str, ...]

    def plan(self, **changes: str) -> list[PlanEntry]:
        """Return the plan: every site's output and every gradient, each step, in fp16."""
        kinds = {"dtype": "float16"} | changes
        outputs = [PlanEntry.model_validate({"site": site, "quantity": "activation"} | kinds)
                   for site in self.sites]  # fmt: skip
        return [*outputs, PlanEntry.model_validate({"site": "*", "quantity": "gradient"} | kinds)]


def workload(name: str) -> Workload:
    """Return "mlp" or "resnet18" with equal parameters and inputs at every call."""
    torch.manual_seed(0)
    if name == "mlp":
        model: nn.Module = nn.Sequential(*(Block(WIDTH) for _ in range(BLOCKS)))
        inputs, target = torch.randn(ROWS, WIDTH), torch.randn(ROWS, WIDTH)
        sites = tuple(str(block) for block in range(BLOCKS))
    else:
        model = timm.create_model("resnet18", pretrained=False, num_classes=CLASSES)
        inputs, target = torch.randn(IMAGES, 3, SIZE, SIZE), torch.randn(IMAGES, CLASSES)
        sites = tuple(f"layer{stage}.{block}" for stage in range(1, 5) for block in range(2))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)

    def update(output: Tensor) -> None:
        nn.functional.mse_loss(output, target).backward()
        optimizer.step()

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        update(model(inputs))

    def update_alone(output: Tensor) -> None:
        optimizer.zero_grad(set_to_none=True)
        update(output)

    return Workload(model=model.train(), inputs=inputs, step=step, update=update_alone, sites=sites)
