"""Every setting of a reverse distillation, one commented line a key; evaluation settings are not here.

In the comments `code` is the published code of the paper (Deng & Li, CVPR 2022), `ADer` a later benchmark of
many classes in one model (arXiv:2406.03262), `ours` an addition.
"""

from typing import Annotated, Literal

from pydantic import Field

from mechlab.specs import Spec

Share = Annotated[float, Field(ge=0, le=1)]
Beta = Annotated[float, Field(ge=0, lt=1)]


class ReverseDistillationConfig(Spec):
    """The parts of one training; the defaults are those of the published code."""

    # Model
    block: Literal["teacher", "basic", "bottleneck"] = (
        "teacher"  # of bottleneck and student; code: the teacher's; ours: as ResNet-18 or ResNet-50 has them
    )
    student: Literal["per-task", "shared"] = "per-task"  # ours; shared: one that every task trains on

    # Loss
    loss: Literal["flat", "pixel"] = (
        "flat"  # one cosine a map, as in the code, or one a place, as in the text of the paper
    )

    # Optimisation
    epochs: int = Field(200, ge=1)  # code, a task
    batch_size: int = Field(16, ge=1)  # code, images
    learning_rate: float = Field(5e-3, gt=0)  # code, a step of Adam
    beta_first: Beta = 0.5  # code, of the mean of gradients
    beta_second: Beta = 0.999  # code, of their mean square
    schedule: Literal["constant", "step"] = "constant"  # of the learning rate; code: constant; ADer: step
    step_at: Share = 0.8  # ADer, share of the epochs after which the rate falls
    step_factor: Share = 0.1  # ADer, what it is multiplied by


# Keys that change nothing unless another key has one of these values.
NEEDS: dict[str, tuple[str, tuple[object, ...] | str]] = {
    "step_at": ("schedule", ("step",)),
    "step_factor": ("schedule", ("step",)),
}
