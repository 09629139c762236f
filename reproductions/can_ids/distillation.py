"""What a student is told by a teacher, as losses that are added to its own.

GAT: soft labels (Hinton, Vinyals & Dean 2015, arXiv:1503.02531). VGAE: the teacher's latent, through a
projection where the sizes differ, and what it reconstructs, half and half (notes 003). The notes match draws
of two latents; two draws differ even where student and teacher are equal, so the means are matched here.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from mechlab.errors import MechlabError
from mechlab.train.stage import Loss
from reproductions.can_ids.gat import GATOutput
from reproductions.can_ids.vgae import VGAEOutput


@dataclass(frozen=True, slots=True, kw_only=True)
class Signals:
    """Weights of what a VGAE student is told; 0 leaves a signal out."""

    latent: float = 0.5
    reconstruction: float = 0.5

    def __post_init__(self) -> None:
        """Refuse a distillation that says nothing.

        Raises:
            MechlabError: both weights are 0.
        """
        if self.latent == 0 and self.reconstruction == 0:
            raise MechlabError(
                "distillation has latent_weight 0 and reconstruction_weight 0, so the teacher would say "
                "nothing; give one of them a weight above 0, or leave --distill out."
            )


def soft_labels(
    student: Float[Tensor, "window label"], teacher: Float[Tensor, "window label"], *, temperature: float
) -> Float[Tensor, ""]:
    """Return T^2 times the divergence of the student's softened labels from the teacher's, nats a window."""
    told = functional.log_softmax(student / temperature, dim=-1)
    wanted = functional.softmax(teacher / temperature, dim=-1)
    return functional.kl_div(told, wanted, reduction="batchmean") * temperature**2


def gat_distillation(student: GATOutput, teacher: GATOutput, *, temperature: float) -> Loss:
    """Return the loss of the soft labels."""
    total = soft_labels(student.logits, teacher.logits, temperature=temperature)
    return Loss(total=total, terms={"kd_loss": total})


def vgae_distillation(
    student: VGAEOutput, teacher: VGAEOutput, projection: nn.Module, signals: Signals
) -> Loss:
    """Return the weighted squared errors of latent and reconstruction; weight 0 leaves one out."""
    terms: dict[str, Tensor] = {}
    if signals.latent:
        terms["kd_latent_loss"] = functional.mse_loss(projection(student.mean), teacher.mean)
    if signals.reconstruction:
        terms["kd_recon_loss"] = functional.mse_loss(student.cont, teacher.cont)
    weights = {"kd_latent_loss": signals.latent, "kd_recon_loss": signals.reconstruction}
    total = torch.stack([weights[name] * term for name, term in terms.items()]).sum()
    return Loss(total=total, terms={"kd_loss": total, **terms})


def combined(task: Loss, told: Loss | None, *, alpha: float) -> Loss:
    """Return alpha times what is told plus 1 - alpha times the task's loss; without a teacher, that alone.

    The terms are the parts of both, `task_loss` and `train_loss`.
    """
    if told is None:
        return Loss(total=task.total, terms={**task.terms, "train_loss": task.total})
    total = alpha * told.total + (1 - alpha) * task.total
    terms = {**task.terms, **told.terms, "task_loss": task.total, "train_loss": total}
    return Loss(total=total, terms=terms)
