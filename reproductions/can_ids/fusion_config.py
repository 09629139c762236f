"""Every setting of a fusion of VGAE and GAT, one commented line a key."""

from typing import Literal

from pydantic import Field

from mechlab.specs import Spec
from reproductions.can_ids.folder import EXCLUDED


class FusionConfig(Spec):
    """Which two runs are fused, and how the weight between them is learned."""

    mode: str = "fusion"  # its only one
    size: Literal["teacher", "student"] = "student"  # of the two runs, where they are looked for
    vgae: str = "auto"  # run, or the one at its place
    gat: str = "auto"  # likewise
    distill: str | None = None  # refused: the two runs are distilled by themselves
    gamma: float = Field(0.0, ge=0, lt=1)  # 0: a contextual bandit; a window does not change by being weighed
    epsilon: float = Field(0.1, ge=0, le=1)  # share of weights that are drawn at random
    target_every: int = Field(100, ge=1)  # steps after which the target network is the network (gamma > 0)
    judges_alpha: bool = False  # reward alpha > 1/2 instead of the fused score's call (public code)
    double_softmax: bool = False  # a softmax of the GAT's probabilities (public code)
    layers: int = Field(2, ge=1)  # of the network of values
    width: int = Field(128, ge=1)  # of each
    dropout: float = Field(0.2, ge=0, lt=1)
    learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(1e-5, ge=0)
    epochs: int = Field(50, ge=1)
    batch_size: int = Field(128, ge=1)  # windows
    window: int = Field(100, ge=2, le=1024)  # messages of a graph, as the two runs have it
    stride: int = Field(100, ge=1)
    split: Literal["published", "time"] = "published"
    exclude: tuple[str, ...] = EXCLUDED
    false_positives: float = Field(0.01, gt=0, lt=1)  # of the baseline's threshold, among validation normals


NEEDS: dict[str, tuple[str, tuple[object, ...] | str]] = {"target_every": ("gamma", "nonzero")}
