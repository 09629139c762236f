"""Every setting of a MoLE-Flow training, one commented line a key. What only changes an evaluation is not here."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from mechlab.specs import Spec


def _odd(kernel: int) -> int:
    if kernel < 1 or kernel % 2 == 0:
        raise ValueError("a kernel has an odd size, so that it has a centre; use 3, 5 or 7")
    return kernel


OddKernel = Annotated[int, AfterValidator(_odd)]
Share = Annotated[float, Field(ge=0, le=1)]


class MoLEFlowConfig(Spec):
    """The parts of one training. `facts` = the study's code as read, `notes L` = a line of the version notes."""

    # Position
    position: Literal["none", "sine", "condition"] = "sine"  # added to the features (notes L2579), or given to subnets
    position_dim: int = Field(32, gt=0, multiple_of=4)  # channels of the condition; "sine" always has D

    # Input adapter, one a task
    adapter: Literal["none", "whitening", "diagonal", "covariance"] = "whitening"  # notes L849; ours: adapter.py
    gamma_low: float = Field(0.5, gt=0)  # factor range of "whitening" (notes L888)
    gamma_high: float = Field(2.0, gt=0)
    beta_limit: float = Field(2.0, gt=0)  # shift range of "whitening"
    adapter_by_place: bool = False  # centre of the affine adapters: the mean of each place instead of one
    adapter_ridge: float = Field(1e-3, ge=0)  # of the affine adapters, in mean variances

    # Context mixer
    mixer: Literal["none", "depthwise"] = "none"  # facts 1.2; its Jacobian is not in the log-det
    mixer_kernel: OddKernel = 3  # patches

    # Coupling flow
    blocks: int = Field(6, ge=0)  # facts 1.2; 0 leaves the DIA alone
    subnet: Literal["plain", "context"] = "context"  # notes L562
    hidden_ratio: float = Field(2.0, gt=0)  # hidden width over channels read (facts 1.2)
    context_kernel: OddKernel = 5  # patches (notes L6162)
    context_initial: float = Field(0.1, gt=0)  # weight of the context at the start (notes L592)
    context_limit: float = Field(0.2, gt=0)  # its largest weight
    clamp: float = Field(1.9, gt=0)  # largest |log s| of a channel, nats (facts 1.2)
    global_affine: bool = False  # learned scale and offset a channel; published: fixed at 1 and 0
    base: Literal["first-task", "shared"] = "first-task"  # what of the flow trains after task 0: nothing, or all of it

    # Low-rank branches, one a task
    lora_rank: int = Field(64, ge=0)  # 0: none
    lora_alpha: float = Field(1.0, gt=0)  # scaling is alpha / rank (notes L30)
    lora_first_task: bool = True  # notes L30; v1 had none on task 0 (L12)

    # Deep invertible adapter, one a task
    dia_blocks: int = Field(2, ge=0)  # notes L1014
    dia_hidden_ratio: float = Field(0.5, gt=0)  # hidden width over D

    # Loss
    tail_weight: Share = 0.7  # notes L2367, L6162; 0 is the mean NLL
    tail_ratio: float = Field(0.02, gt=0, le=1)  # of an image's patches
    log_det_weight: float = Field(1e-4, ge=0)  # notes L4810: times the mean squared log-det

    # Optimisation
    epochs: int = Field(60, ge=1)  # a task (facts 2)
    batch_size: int = Field(16, ge=1)  # images
    learning_rate: float = Field(3e-4, gt=0)  # a step
    weight_decay: float = Field(0.01, ge=0)  # decoupled (facts 2)
    clip_norm: float | None = Field(0.5, gt=0)  # gradient norm, nats a patch per unit
    warmup_epochs: int = Field(0, ge=0)
    final_learning_rate: Share = 0.01  # share of the learning rate at the last step


# Keys that do nothing unless another key has one of these values.
NEEDS: dict[str, tuple[str, tuple[object, ...]]] = {
    "position_dim": ("position", ("condition",)),
    "gamma_low": ("adapter", ("whitening",)),
    "gamma_high": ("adapter", ("whitening",)),
    "beta_limit": ("adapter", ("whitening",)),
    "adapter_by_place": ("adapter", ("diagonal", "covariance")),
    "adapter_ridge": ("adapter", ("diagonal", "covariance")),
    "mixer_kernel": ("mixer", ("depthwise",)),
    "context_kernel": ("subnet", ("context",)),
    "context_initial": ("subnet", ("context",)),
    "context_limit": ("subnet", ("context",)),
}
