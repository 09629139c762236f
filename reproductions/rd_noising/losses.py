"""Losses under which gradients of an RD-Noising can be recorded: those of reverse distillation."""

from reproductions.reverse_distillation.losses import loss_by_name

__all__ = ["loss_by_name"]
