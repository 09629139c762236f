"""Every setting of a detector's training, one commented line a key; how it is evaluated is not here."""

from typing import Literal

from pydantic import Field

from mechlab.specs import Spec
from reproductions.can_ids.folder import EXCLUDED

METRICS = ("f1_macro", "auroc", "ap")  # by which runs are compared, means over the groups of tests


class TrainingConfig(Spec):
    """What the VGAE and the GAT have in common: size, optimiser, the switch of distillation."""

    size: Literal["teacher", "student"] = "student"  # its place in the scheme of the notes; widths are below
    conv: Literal["gat", "gatv2", "transformer"] = "gat"  # of every graph layer; gat reads no edge features
    dropout: float = Field(0.1, ge=0, lt=1)  # after every layer
    distill: str | None = None  # run of the teacher, or auto: the one at its place; None: no teacher
    alpha: float = Field(0.7, gt=0, le=1)  # weight of what the teacher says; 1 - alpha is that of the task
    weight_decay: float = Field(1e-4, ge=0)  # decoupled, of every parameter
    clip_norm: float | None = Field(1.0, gt=0)  # largest gradient norm; None does not clip
    amp: bool = False  # forward in bfloat16 (float16 needs a scaler of gradients), losses in float32
    checkpointing: bool = False  # layers are computed again in the backward pass, to save memory
    window: int = Field(100, ge=2, le=1024)  # messages of a graph
    stride: int = Field(100, ge=1)  # messages from one window's first to the next one's
    split: Literal["published", "time"] = "published"  # of the logs, see splits.py
    exclude: tuple[str, ...] = EXCLUDED  # logs whose part or name has one of these words are left out
    false_positives: float = Field(0.01, gt=0, lt=1)  # of a VGAE's threshold, among validation normals


class VGAEConfig(TrainingConfig):
    """The autoencoder, trained on windows without an attack."""

    mode: str = "autoencoder"  # see modes.py
    hidden: tuple[int, ...] = (80, 40, 16)  # channels of the encoder's layers and, last, of the latent
    heads: int = Field(1, ge=1)  # of the encoder's first layer
    decoder_heads: int = Field(4, ge=1)  # of the decoder's first layer (public code: always 4)
    embedding: int = Field(4, ge=1)  # channels of an id
    sampling: Literal["training", "always"] = "training"  # when the latent is drawn; always: scores are noisy
    identity_weight: float = Field(0.1, ge=0)  # of the id's cross-entropy
    neighbour_weight: float = Field(0.05, ge=0)  # of the followers' cross-entropy
    divergence_weight: float = Field(0.01, ge=0)  # of the latent's divergence from its prior
    latent_weight: float = Field(0.5, ge=0)  # of the teacher's latent, inside alpha; 0: not said
    reconstruction_weight: float = Field(0.5, ge=0)  # of the teacher's reconstruction, inside alpha
    learning_rate: float = Field(2e-3, gt=0)
    epochs: int = Field(50, ge=1)
    batch_size: int = Field(64, ge=1)  # windows


class GATConfig(TrainingConfig):
    """The classifier, trained on windows with and without attacks."""

    mode: str = "curriculum"  # or normal; see modes.py
    hidden: int = Field(24, ge=1)  # channels of a head
    layers: int = Field(2, ge=1)
    heads: int = Field(4, ge=1)
    embedding: int = Field(8, ge=1)  # channels of an id
    linear: int = Field(2, ge=1)  # layers after the pooling, the last of which gives the logits
    jumping: Literal["cat", "lstm"] = "cat"  # how the layers' outputs are joined
    difficulty: str = "auto"  # VGAE run whose score orders normals in curriculum mode, or auto: at its place
    temperature: float = Field(4.0, gt=0)  # of the soft labels
    learning_rate: float = Field(1e-3, gt=0)
    epochs: int = Field(50, ge=1)
    batch_size: int = Field(64, ge=1)  # windows


# Keys that are read only beside others; the values are those that the other one needs.
VGAE_NEEDS: dict[str, tuple[str, tuple[object, ...] | str]] = {}
GAT_NEEDS: dict[str, tuple[str, tuple[object, ...] | str]] = {
    "difficulty": ("mode", ("curriculum",)),
}
WITH_TEACHER = (
    "alpha",
    "temperature",
    "latent_weight",
    "reconstruction_weight",
)  # read beside `distill` alone
