"""Every setting of RD-Noising beside those of reverse distillation, one commented line a key.

In the comments `document` is notes 000, whose names the keys have; `second` is the later generation of the
same code, which disagrees with it; `ours` is an addition.
"""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from reproductions.reverse_distillation.config import NEEDS as NEEDS_OF_RD
from reproductions.reverse_distillation.config import ReverseDistillationConfig

LEVELS = 3
Std = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class RDNoisingConfig(ReverseDistillationConfig):
    """The parts of one training; the defaults are those of the document."""

    # Switches
    enable_noise: bool = True  # document, the model's
    noise_warmup_epochs: int = Field(0, ge=0)  # document, epochs of a task before the noise begins

    # Where and how much
    noise_source: Literal["features", "embedding"] = (
        "features"  # document: the teacher's maps; second: what the bottleneck makes of them
    )
    noise_layers: tuple[int, ...] = (0, 1, 2)  # document, levels with noise, finest first
    noise_std_range: tuple[Std, Std] = (0.01, 0.3)  # document, unit of the features; second: 0.01 to 0.5
    noise_kind: Literal["adaptive", "isotropic", "shuffled"] = (
        "adaptive"  # ours: its mean std everywhere, or its stds given to other places and channels
    )

    # Memory
    n_neighbors: int | None = Field(9, ge=1)  # document; null: the whole bank, as second
    coreset_sampling_ratio: float = Field(0.01, gt=0, le=1)  # document, of the places; second: 0.1, of images
    max_patches: int = Field(100_000, ge=1)  # of more a seeded sample is thinned; the limit is the code's

    noise_enabled: bool = Field(True, validate_default=True)  # document, the trainer's; last, see below

    @field_validator("noise_enabled")
    @classmethod
    def _agrees_with_the_model(cls, value: bool, info: Any) -> bool:  # noqa: ANN401 - pydantic's
        model = info.data.get("enable_noise", value)
        if model != value:
            raise ValueError(
                f"enable_noise is {model}, and one switch without the other would leave the noise off "
                "without a word; set both to true, or both to false, which is plain reverse distillation"
            )
        return value

    @field_validator("noise_warmup_epochs")
    @classmethod
    def _ends_before_the_training(cls, value: int, info: Any) -> int:  # noqa: ANN401 - pydantic's
        epochs = info.data.get("epochs", value + 1)
        if value >= epochs:
            raise ValueError(
                f"the noise would begin after the last of {epochs} epochs; give less, or set both switches "
                "to false"
            )
        return value

    @field_validator("noise_layers")
    @classmethod
    def _are_levels(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not value or len(set(value)) < len(value) or not set(value) <= set(range(LEVELS)):
            raise ValueError(
                f"give some of the levels 0 to {LEVELS - 1}, each once, or set both switches to false"
            )
        return tuple(sorted(value))

    @field_validator("noise_std_range")
    @classmethod
    def _is_a_range(cls, value: tuple[float, float]) -> tuple[float, float]:
        if value[0] >= value[1]:
            raise ValueError("give the lower end first, and a higher one, e.g. [0.01, 0.3]")
        return value

    @property
    def is_noisy(self) -> bool:
        """Whether any noise is added: both switches are on."""
        return self.enable_noise and self.noise_enabled


_NOISY = ("noise_warmup_epochs", "noise_source", "noise_std_range", "noise_kind", "n_neighbors",
          "coreset_sampling_ratio", "max_patches")  # fmt: skip
NEEDS: dict[str, tuple[str, tuple[object, ...] | str]] = {
    **NEEDS_OF_RD,
    **{key: ("enable_noise", (True,)) for key in _NOISY},
    "noise_layers": ("noise_source", ("features",)),
}
