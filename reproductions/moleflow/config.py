"""Every setting of a MoLE-Flow training, one commented line a key; evaluation settings are not here.

In the comments `L` is a line of notes 004, `facts` the section of the MoLE-Flow facts, `ours` an addition.
"""

from typing import Annotated, Literal

from pydantic import Field, JsonValue

from mechlab.specs import Precision, Spec

Kernel = Annotated[int, Field(ge=1)]  # an even one is refused by `combinations.py`
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]


class MoLEFlowConfig(Spec):
    """The parts of one training; the defaults are the corrected published sizes."""

    # Position of a patch
    position: Literal["none", "sine", "condition", "tape", "relative", "content", "hybrid"] = (
        "sine"  # L2579: added to features; ours: given to subnets; L3103, L2709, L3091: see placing.py
    )
    position_dim: int = Field(32, gt=0, multiple_of=4)  # channels of the condition; "sine" takes D
    position_turns: bool = False  # L3552: the embedding is turned with its image
    tape_initial: float = 0.0  # L3160, level of "tape" at the start; strength is its sigmoid
    tape_rate: Positive = 100.0  # L3233, learning rate of the level over that of the others
    relative_distance: int = Field(7, ge=1)  # L2733, patches, along each side
    content_prototypes: int = Field(16, ge=1)  # ours, a task
    hybrid_share: Share = 0.5  # ours, of the grid's embedding beside the content's

    # Images
    rotation: float = Field(0.0, ge=0, le=180)  # L3457, degrees to either side, drawn anew each epoch
    align: Literal["none", "stn"] = "none"  # L3628: an angle by which an image's features are turned
    align_hidden: int = Field(128, ge=1)  # L3640
    align_weight: float = Field(0.01, ge=0)  # L3640, times the mean squared angle, radians

    # Input adapter, one a task
    adapter: Literal[
        "none", "whitening", "whitening-no-ln", "film", "instance-mlp", "diagonal", "covariance"
    ] = "whitening"  # L849; L2118; L72; L7; affine ones: ours
    adapter_first_task: bool = True  # L82; the first two versions have none on task 0
    gamma_low: Positive = 0.5  # L888, range of the factor of "whitening"
    gamma_high: Positive = 2.0
    beta_limit: Positive = 2.0  # L888, range of the shift of "whitening"
    identity_weight: float = Field(0.0, ge=0)  # L888, 0.1 there; of the regulariser, task 0 alone
    adapter_by_place: bool = False  # ours: centre on the mean of each place
    adapter_ridge: float = Field(1e-3, ge=0)  # ours: on the diagonal, in mean variances

    # Context mixer
    mixer: Literal[
        "none",
        "depthwise",
        "task-adaptive",
        "attention",
        "interaction",
        "multi-scale",
        "task-multi-scale",
        "global",
        "semantic",
    ] = "none"  # facts 1.2; L2434; L373; L942; L1450; L2466; L2501; no Jacobian of theirs is in the log-det
    mixer_kernel: Kernel = 3  # patches
    mixer_trains: Literal["first-task", "every-task"] = (
        "first-task"  # L1492: in every task, earlier ones drift
    )
    attention_hidden: int = Field(256, ge=1)  # L410
    attention_dropout: float = Field(0.1, ge=0, lt=1)  # L410
    global_regions: int = Field(4, ge=1)  # L2466, along each side
    semantic_ratio: Positive = 0.5  # L2501, bottleneck over D

    # Coupling flow
    blocks: int = Field(6, ge=0)  # facts 1.2; 0 leaves the DIA alone
    coupling: Literal["functional", "freia"] = "functional"  # equal on equal weights; facts 1.2
    subnet: Literal["plain", "context", "gated", "gated-published", "cpcf", "cpcf-sketch"] = "context"  # L562
    hidden_ratio: Positive = 2.0  # facts 1.2, hidden width over channels read
    context_kernel: Kernel = 5  # L6162, patches
    context_initial: Positive = 0.1  # L592, weight of the context at the start
    context_limit: Positive = 0.2  # L592, its largest weight
    context_trains: Literal["first-task", "every-task"] = "first-task"  # L1876: still shared in "V4"
    neighbourhood: Literal["conv", "attention", "mean"] = "mean"  # L178; L259: fixed, nothing to learn
    gate_hidden: int = Field(64, ge=1)  # L618
    clamp: Positive = 1.9  # facts 1.2, largest |log s| of a channel, nats
    global_affine: bool = False  # learned scale and offset a channel; facts 1.2: left at 1 and 0
    base: Literal["first-task", "shared", "per-task", "given"] = (
        "first-task"  # when the flow's own parameters train; L3766: a flow a task; L1676: another run's
    )
    base_weights: str | None = None  # L1676, hash of what base=given takes from another run
    starts: Literal["place", "classes"] = "place"  # L1676, what a task's draws come from; ours
    spectral_norm: bool = False  # L3766: the bases' largest singular value is 1
    products: Literal["apart", "fused"] = "apart"  # ours; fused: faster, and nothing inside can be watched
    precision: Precision = "float32"  # ours, of the products of flow and DIA; tf32: CUDA alone

    # Branches of the products, one a task
    branch: Literal["lora", "sc-lora", "linear"] = "lora"  # L152; L3766: a Linear a task, nothing shared
    lora_nodes: int = Field(4, ge=2)  # L166, of the grid of factors, along each side
    lora_rank: int = Field(64, ge=0)  # facts 1.2; 0: none
    lora_alpha: Positive = 1.0  # L30: scaling is alpha / rank
    lora_first_task: bool = True  # L30; none on task 0 in the first version (L12)

    # Deep invertible adapter, one a task
    dia_blocks: int = Field(2, ge=0)  # L1014
    dia_hidden_ratio: Positive = 0.5  # L1014, hidden width over D

    # Loss
    tail_weight: Share = 0.7  # L2367, L6162; 0 is the mean NLL
    tail_ratio: float = Field(0.02, gt=0, le=1)  # L6162, of an image's patches
    log_det_weight: float = Field(1e-4, ge=0)  # L4810, times the mean squared log-det
    center_weight: float = Field(0.0, ge=0)  # L306, 0.05 there; times the mean squared length of z
    focal: Literal["none", "published", "relative"] = "none"  # L487 as sketched; ours: within an image
    focal_gamma: float = Field(2.0, ge=0)  # L533, 1 to 2 there
    reduction: Literal["mean", "sum", "published"] = "mean"  # L332; L2292; facts 1.3: depends on the tail
    margin_weight: float = Field(0.0, ge=0)  # L2651, times the margin loss on pseudo-anomalies
    margin: float = 1.0  # ours, nats a channel that a damaged patch should rise
    pseudo_anomaly: Literal["cutpaste", "jitter"] = "cutpaste"  # L2660; the second on features
    jitter: Positive = 1.0  # ours, of "jitter", in standard deviations of a channel

    # Scores
    scorer: Literal["nll", "dual", "dual-bounded", "dual-guided"] = "nll"  # L2722, L2893, L2940
    consistency: Literal["none", "local", "multi-scale"] = "none"  # L2709, L2987
    consistency_kernel: Literal[3, 5, 7] = 3  # L2733, patches

    # Optimisation
    epochs: int = Field(60, ge=1)  # facts 2, a task
    batch_size: int = Field(16, ge=1)  # facts 2, images
    learning_rate: Positive = 3e-4  # L6162, a step
    weight_decay: float = Field(0.01, ge=0)  # facts 2, decoupled
    clip_norm: float | None = Field(0.5, gt=0)  # facts 2, of the gradient of the loss in nats a patch
    warmup_epochs: int = Field(0, ge=0)  # facts 2
    final_learning_rate: Share = 0.01  # facts 2, share of the learning rate at the last step
    optimizer: Literal["adamw", "adamp"] = "adamw"  # facts 2: AdamP there
    schedule: Literal["step", "epoch"] = "step"  # when the rate changes; facts 2: by epoch there
    later_warmup_epochs: int | None = Field(None, ge=0)  # facts 2, after the first task, 2 there; None: as it
    last_batch: Literal["keep", "drop"] = "keep"  # if smaller than the others; facts 2: dropped there

    # Slow stage: after a later task's own training, blocks that all tasks share
    slow_blocks: int = Field(0, ge=0)  # L6318, facts 2: 2 there, the last ones; 0: no slow stage
    slow_epochs: int = Field(10, ge=1)  # ours; the notes give none
    slow_rate: Positive = 0.2  # facts 2, over the learning rate
    slow_held_out: float = Field(0.15, ge=0, lt=1)  # facts 2, share of the images that it does not visit

    # What protects earlier tasks where tasks share parameters that train on
    projection: Literal["none", "sequential", "joint", "hook"] = "none"  # L1179; ours; L1451
    projection_threshold: float = Field(0.99, gt=0, le=1)  # L1311, of the gradients' energy
    projection_rank: int = Field(50, ge=1)  # L1311, directions a task and tensor
    projection_images: int = Field(300, ge=1)  # L1311, a task
    ewc_weight: float = Field(0.0, ge=0)  # L1451; of Kirkpatrick's penalty
    ewc_images: int = Field(300, ge=1)  # ours, as for the projection
    distillation_weight: float = Field(0.0, ge=0)  # L1451; of the change of earlier experts' outputs
    replay_images: int = Field(0, ge=0)  # L1451; kept of all earlier tasks together
    replay_weight: Positive = 1.0  # ours, of the mean NLL of replayed images

    # Denoising score matching beside the NLL
    dsm: Literal["none", "full", "sliced"] = "none"  # L4096; sliced: one product with the Jacobian
    dsm_alpha: Share = 0.5  # L4160, weight of the NLL; 0 is score matching alone, 1 the NLL alone
    dsm_alpha_last: Share | None = None  # L4072, of the last epoch, 0.5 from 0.8 there; none: constant
    dsm_noise: Literal["geometric", "uniform", "fixed"] = "geometric"  # L4160, how sigma is drawn
    dsm_sigma_min: Positive = 0.01  # L4160, in units of the flow's input; "fixed" takes this one
    dsm_sigma_max: Positive = 1.0  # L4160
    dsm_projections: int = Field(1, ge=1)  # L4160, directions of "sliced"
    dsm_clean_weight: float = Field(0.0, ge=0)  # L4160, of the squared score of images without noise

    # What tasks have of their own, by their number: keys of OVERRIDABLE
    overrides: dict[str, dict[str, JsonValue]] = Field(default_factory=dict)  # L2670, L3603


_BOUNDED_ADAPTERS = ("whitening", "whitening-no-ln")
_TRAINED_ADAPTERS = (*_BOUNDED_ADAPTERS, "film", "instance-mlp")
_FITTED_ADAPTERS = ("diagonal", "covariance")
_BOUNDED_CONTEXT, _GATED, _CROSS_PATCH = ("context",), ("gated", "gated-published"), ("cpcf", "cpcf-sketch")
_MIXERS = (
    *("depthwise", "task-adaptive", "attention", "interaction"),
    *("multi-scale", "task-multi-scale", "global", "semantic"),
)
_PROJECTIONS, _SCORES = ("sequential", "joint", "hook"), ("full", "sliced")

# Keys that change nothing unless another key has one of these values, or is not zero.
NEEDS: dict[str, tuple[str, tuple[object, ...] | str]] = {
    "position_dim": ("position", ("condition",)),
    "position_turns": ("rotation", "nonzero"),
    "tape_initial": ("position", ("tape",)),
    "tape_rate": ("position", ("tape",)),
    "relative_distance": ("position", ("relative",)),
    "content_prototypes": ("position", ("content", "hybrid")),
    "hybrid_share": ("position", ("hybrid",)),
    "align_hidden": ("align", ("stn",)),
    "align_weight": ("align", ("stn",)),
    "margin": ("margin_weight", "nonzero"),
    "pseudo_anomaly": ("margin_weight", "nonzero"),
    "jitter": ("pseudo_anomaly", ("jitter",)),
    "consistency_kernel": ("consistency", ("local",)),
    "adapter_first_task": ("adapter", _TRAINED_ADAPTERS + _FITTED_ADAPTERS),
    "gamma_low": ("adapter", _BOUNDED_ADAPTERS),
    "gamma_high": ("adapter", _BOUNDED_ADAPTERS),
    "beta_limit": ("adapter", _BOUNDED_ADAPTERS),
    "identity_weight": ("adapter", _BOUNDED_ADAPTERS),
    "adapter_by_place": ("adapter", _FITTED_ADAPTERS),
    "adapter_ridge": ("adapter", _FITTED_ADAPTERS),
    "mixer_trains": ("mixer", _MIXERS),
    "mixer_kernel": ("mixer", ("depthwise", "task-adaptive")),
    "attention_hidden": ("mixer", ("attention",)),
    "attention_dropout": ("mixer", ("attention",)),
    "global_regions": ("mixer", ("global",)),
    "semantic_ratio": ("mixer", ("semantic",)),
    "gate_hidden": ("subnet", _GATED),
    "neighbourhood": ("subnet", _CROSS_PATCH),
    "context_kernel": ("subnet", _BOUNDED_CONTEXT + _GATED + _CROSS_PATCH),
    "context_trains": ("subnet", _BOUNDED_CONTEXT + _GATED),
    "context_initial": ("subnet", ("context",)),
    "context_limit": ("subnet", ("context",)),
    "base_weights": ("base", ("given",)),
    "lora_nodes": ("branch", ("sc-lora",)),
    "lora_alpha": ("lora_rank", "nonzero"),
    "lora_first_task": ("lora_rank", "nonzero"),
    "dia_hidden_ratio": ("dia_blocks", "nonzero"),
    "tail_ratio": ("tail_weight", "nonzero"),
    "focal_gamma": ("focal", ("published", "relative")),
    "slow_blocks": ("base", ("first-task",)),
    "slow_epochs": ("slow_blocks", "nonzero"),
    "slow_rate": ("slow_blocks", "nonzero"),
    "slow_held_out": ("slow_blocks", "nonzero"),
    "projection_threshold": ("projection", _PROJECTIONS),
    "projection_rank": ("projection", _PROJECTIONS),
    "projection_images": ("projection", _PROJECTIONS),
    "ewc_images": ("ewc_weight", "nonzero"),
    "replay_weight": ("replay_images", "nonzero"),
    "dsm_alpha": ("dsm", _SCORES),
    "dsm_alpha_last": ("dsm", _SCORES),
    "dsm_noise": ("dsm", _SCORES),
    "dsm_sigma_min": ("dsm", _SCORES),
    "dsm_sigma_max": ("dsm_noise", ("geometric", "uniform")),
    "dsm_projections": ("dsm", ("sliced",)),
    "dsm_clean_weight": ("dsm", _SCORES),
}
