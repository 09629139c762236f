"""Scopes kept: which parameters an optimiser may hold, and the fingerprint of what it did to them."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

import torch
from torch import nn

from mechlab.errors import MechlabError, unknown_pattern
from mechlab.files import sha256_bytes
from mechlab.fingerprint import Declared, StageFingerprint
from mechlab.train.adamp import AdamP
from mechlab.train.stage import Stage


def apply(module: nn.Module, stage: Stage) -> None:
    """Let exactly the parameters of the stage's groups require gradients; refuse an incomplete stage."""
    names = dict(module.named_parameters())
    grouped = [name for group in stage.groups for name in group.parameters]
    undeclared = sorted(set(names) - set(stage.scopes)) or sorted(set(stage.scopes) - set(names))
    if undeclared:
        raise MechlabError(
            f"the stage and the model disagree on parameter '{undeclared[0]}'; declare its scope once."
        )
    if len(set(grouped)) != len(grouped):
        raise MechlabError("a parameter stands in two optimiser groups; give each to one.")
    wrong = [name for name in grouped if stage.scopes[name] == "frozen"]
    wrong += [name for name, scope in stage.scopes.items() if scope != "frozen" and name not in set(grouped)]
    if wrong:
        raise MechlabError(
            f"parameter '{wrong[0]}' has scope '{stage.scopes[wrong[0]]}', which its group contradicts."
        )
    for name, parameter in names.items():
        parameter.requires_grad_(name in set(grouped))


def frozen(stage: Stage, patterns: Sequence[str]) -> Stage:
    """Return the stage with the parameters that patterns select frozen: no group holds them.

    A pattern is a shell pattern over names, or the path of a module: `flow.*`, `flow.0`.
    """
    if not patterns:
        return stage
    still = {name for name in stage.scopes if any(_selects(pattern, name) for pattern in patterns)}
    groups = [
        replace(group, parameters=tuple(name for name in group.parameters if name not in still))
        for group in stage.groups
    ]
    return replace(
        stage,
        scopes={name: "frozen" if name in still else scope for name, scope in stage.scopes.items()},
        groups=tuple(group for group in groups if group.parameters),
    )


def refuse_idle_freeze(stages: Sequence[Stage], patterns: Sequence[str]) -> None:
    """Refuse a freeze that would do nothing, or leave a task nothing to train, before anything is trained.

    Raises:
        MechlabError: a pattern without parameters, or with none that trains, or a stage without any left.
    """
    known = list(dict.fromkeys(name for stage in stages for name in stage.scopes))
    training = {name for stage in stages for name, scope in stage.scopes.items() if scope != "frozen"}
    for pattern in patterns:
        chosen = [name for name in known if _selects(pattern, name)]
        if not chosen:
            raise unknown_pattern("parameter to freeze", pattern, [*_paths(known), *known])
        if not training & set(chosen):
            raise MechlabError(
                f"'{pattern}' selects only parameters that no task trains, e.g. '{chosen[0]}'; freezing them "
                "would do nothing: leave it out."
            )
    for task, stage in enumerate(stages):
        if stage.groups and not frozen(stage, patterns).groups:
            raise MechlabError(
                f"freezing {', '.join(patterns)} leaves task {task} nothing to train; freeze less."
            )


def _paths(names: Iterable[str]) -> list[str]:
    """Return the patterns that select what is at or below each module of some parameters, shortest first."""
    parts = [name.split(".") for name in names]
    found = {".".join(part[:depth]) for part in parts for depth in range(1, len(part))}
    return [f"{path}.*" for path in sorted(found, key=lambda path: (path.count("."), path))]


def _selects(pattern: str, name: str) -> bool:
    return fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*")


def optimizer(module: nn.Module, stage: Stage) -> torch.optim.Optimizer:
    """Return the stage's optimiser over its groups, bound to its rule.

    AdamW is that of Loshchilov & Hutter 2019, AdamP that of `mechlab.train.adamp`.
    """
    names = dict(module.named_parameters())
    groups = [
        {
            "params": [names[name] for name in group.parameters],
            "lr": group.learning_rate,
            "weight_decay": group.weight_decay,
        }
        for group in stage.groups
    ]
    is_adamp = stage.optimizer == "adamp"
    held = AdamP(groups) if is_adamp else torch.optim.AdamW(groups, betas=stage.betas, foreach=True)
    if stage.rule is not None:
        stage.rule.attach(held, names)
    return held


def parameter_hashes(module: nn.Module) -> dict[str, str]:
    """Return the SHA-256 of each parameter's bytes."""
    return {
        name: sha256_bytes(parameter.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
        for name, parameter in module.named_parameters()
    }


def fingerprint(
    module: nn.Module, stage: Stage, *, task: int, before: dict[str, str], losses: tuple[float, ...]
) -> StageFingerprint:
    """Return the fingerprint of a stage that has just ended; `before` is `parameter_hashes` at its start."""
    after = parameter_hashes(module)
    held = {name: group for group in stage.groups for name in group.parameters}
    declared = tuple(
        Declared(
            name=name,
            shape=tuple(parameter.shape),
            dtype=str(parameter.dtype).removeprefix("torch."),
            scope=stage.scopes[name],
            learning_rate=held[name].learning_rate if name in held else None,
            weight_decay=held[name].weight_decay if name in held else None,
        )
        for name, parameter in module.named_parameters()
    )
    trace = hashlib.sha256()
    for loss in losses:
        trace.update(loss.hex().encode())
    return StageFingerprint(
        task=task,
        declared=declared,
        moved={name: before[name] != after[name] for name in after},
        losses=trace.hexdigest(),
        parameters=sha256_bytes("".join(after[name] for name in sorted(after)).encode()),
    )
