"""Earlier experts held to what they said: distillation from the shared parameters of the task before.

The outputs of an earlier task's expert, with what tasks share as the last task left it, are the teacher's; as
it is now, the student's. Source: Li & Hoiem 2018 (learning without forgetting); notes 004 L1451, which name a
DistillationLoss and say no more: outputs here are the latents and the log-dets.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from reproductions.moleflow.gradients import resting
from reproductions.moleflow.memory import Memory


def remember_teacher(memory: Memory, system: nn.Module, *, names: Sequence[str]) -> None:
    """Keep what tasks share as `teacher.<name>`, in place of what an earlier task left."""
    parameters = dict(system.named_parameters())
    for name in names:
        memory.keep(f"teacher.{name}", parameters[name])


def distillation_loss(
    memory: Memory, system: nn.Module, batch: Float[Tensor, "batch row column dim"], *, task: int
) -> Float[Tensor, ""]:
    """Return the mean over patches of the squared change of an earlier expert's latent and log-det.

    0 for a student that equals its teacher; neither uses dropout.
    """
    teacher = {name: memory[f"teacher.{name}"] for name in memory.names("teacher")}
    with resting(system):
        with torch.no_grad():
            taught = functional_call(system, teacher, (batch,), {"task": task})
        learnt = system(batch, task=task)
    away = (learnt.latent - taught.latent).square().sum(dim=-1)
    return (away + (learnt.log_det - taught.log_det).square()).mean()
