"""The training of one task: scopes, optimiser groups, phases, and the rule of its steps.

Source: notes 004 L3233 (a rate of its own for strengths of the position), L6318 and facts 2 (slow stage).
"""

from collections.abc import Collection, Iterable

from torch import nn

from mechlab.train.stage import ParameterGroup, Phase, Scope, Stage, UpdateRule
from mechlab.train.view import Drawing
from reproductions.moleflow.config import MoLEFlowConfig
from reproductions.moleflow.scopes import is_slow, scope_of, still_parameters


def stage_of(
    system: nn.Module,
    config: MoLEFlowConfig,
    *,
    task: int,
    rule: UpdateRule | None,
    held: Collection[str] = (),
    drawn_by: int | None = None,
) -> Stage:
    """Return a task's training; in a slow stage after it the last shared blocks move alone.

    The first task has no slow stage, since it trains those blocks anyway. `held` names parameters that the
    rule leaves no way to move, `drawn_by` what its draws depend on where that is not its number.
    """
    still = {*still_parameters(system), *held}
    scopes: dict[str, Scope] = {
        name: "frozen" if name in still else scope_of(name, task=task, config=config)
        for name, _ in system.named_parameters()
    }
    moving = [name for name, scope in scopes.items() if scope != "frozen"]
    slow = [name for name in moving if task > 0 and scopes[name] == "shared" and is_slow(name, config)]
    phases = (Phase(epochs=config.epochs), Phase(epochs=config.slow_epochs, held_out=config.slow_held_out))
    return Stage(
        scopes=scopes,
        groups=_groups(moving, slow, config),
        epochs=config.epochs + (config.slow_epochs if slow else 0),
        batch_size=config.batch_size,
        clip_norm=config.clip_norm,
        warmup_epochs=warm_epochs(config, task=task),
        final_learning_rate=config.final_learning_rate,
        optimizer=config.optimizer,
        is_by_epoch=config.schedule == "epoch",
        drops_last=config.last_batch == "drop",
        drawing=Drawing(
            rotation=config.rotation,
            damage=config.pseudo_anomaly if config.margin_weight else "none",
            jitter=config.jitter,
        ),
        phases=phases if slow else (),
        rule=rule,
        drawn_by=drawn_by,
        precision=config.precision,
    )


def warm_epochs(config: MoLEFlowConfig, *, task: int) -> int:
    """Return the epochs of linear warm-up; tasks after the first may have their own."""
    later = config.later_warmup_epochs
    return config.warmup_epochs if task == 0 or later is None else later


def _groups(moving: Iterable[str], slow: Iterable[str], config: MoLEFlowConfig) -> tuple[ParameterGroup, ...]:
    strengths = [name for name in moving if "place_level" in name]
    apart = {*strengths, *slow}
    rate, decay = config.learning_rate, config.weight_decay
    fast = tuple(name for name in moving if name not in apart)
    groups = [ParameterGroup(parameters=fast, learning_rate=rate, weight_decay=decay)]
    if strengths:  # without decay, which would pull them to one half
        groups.append(ParameterGroup(parameters=tuple(strengths), learning_rate=config.tape_rate * rate))
    if slow:
        groups.append(
            ParameterGroup(
                parameters=tuple(slow),
                learning_rate=config.slow_rate * rate,
                weight_decay=decay,
                phase=1,
            )
        )
    return tuple(groups)


def plain(config: MoLEFlowConfig) -> MoLEFlowConfig:
    """Return the configuration of the slow stage's loss: the mean NLL alone (facts 2)."""
    terms = {"tail_weight": 0.0, "log_det_weight": 0.0, "center_weight": 0.0, "focal": "none", "dsm": "none"}
    return config.model_copy(update=terms)
