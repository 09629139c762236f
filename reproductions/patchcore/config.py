"""Every setting of a PatchCore memory, one commented line a key; evaluation settings are not here."""

from typing import Literal

from pydantic import Field, field_validator

from mechlab.specs import Spec


class PatchCoreConfig(Spec):
    """What is kept of the training normals, and how a patch is compared with it."""

    ratio: float = Field(0.01, gt=0, le=1)  # of the patches, which the bank keeps (Roth et al.: 0.01 to 0.25)
    coreset: Literal["greedy", "random"] = "greedy"  # which of them: by k-center, or a subset drawn at random
    max_patches: int | None = Field(None, ge=1)  # a seeded sample of so many is thinned; None: all patches
    projection: Literal["none", "gaussian", "sparse"] = "none"  # of the features, for the coreset alone
    projection_dim: int = Field(128, ge=1)  # channels of the projection (Roth et al.'s code: 128)
    precision: Literal["float32", "float64"] = "float32"  # of the distances by which the coreset is chosen
    neighbours: int = Field(
        1, ge=1
    )  # whose mean distance is a patch's score (document 002: 9; its config: 1)
    reweight: int = Field(0, ge=0)  # neighbours that an image's weight looks at; 0: none (Roth et al., eq. 7)
    search: Literal["gemm", "faiss"] = "gemm"  # who finds the neighbours; their distances are ours
    epochs: int = 0  # a memory is stored, not trained
    batch_size: int = 0  # likewise

    @field_validator("epochs", "batch_size")
    @classmethod
    def _is_not_trained(cls, value: int) -> int:
        if value != 0:
            raise ValueError("PatchCore stores patches and trains nothing; leave it out")
        return value


NEEDS: dict[str, tuple[str, tuple[object, ...] | str]] = {
    "projection": ("coreset", ("greedy",)),
    "precision": ("coreset", ("greedy",)),
    "projection_dim": ("projection", ("gaussian", "sparse")),
}
