r"""Places that can be recorded: patterns over the modules and parameters of any `nn.Module`.

A pattern is a shell pattern over dotted paths (`flow.*.latent`, `layer1.0`), a regular expression
(`regex:layer[12]\.\d+`), or `type:Linear` for every module of a type or of a type derived from it. A system
may name sites of its own; those are looked up first.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn

from mechlab.errors import MechlabError, unknown_pattern
from mechlab.instrument.graph_nodes import node_names

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
Layer = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d
_SHOWN = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A named place: (part of) the output of one module.

    `module` is a dotted path, "" for the model itself, None for a tensor that the loop hands over with
    `Recorder.watch`. `output` selects from an output of several parts: a position, or a key or attribute.
    `axes` names the axes of that part; without it they are guessed from the shape and the kind of module.
    """

    name: str
    module: str | None
    quantity: str = "activation"
    output: int | str | None = None
    axes: tuple[str, ...] = ()


def selects(pattern: str, name: str) -> bool:
    """Say whether a pattern selects a name: a shell pattern, or a regular expression after "regex:".

    A regular expression must match the whole name; one that is none is a MechlabError.
    """
    expression = pattern.removeprefix("regex:")
    if expression == pattern:
        return fnmatchcase(name, pattern)
    try:
        return re.fullmatch(expression, name) is not None
    except re.error as fault:
        raise MechlabError(
            f"'{expression}' is no regular expression ({fault}); correct it, or write a shell pattern "
            "without 'regex:'."
        ) from fault


def find_sites(
    model: nn.Module, pattern: str, *, quantities: Sequence[str], named: Iterable[Site] = ()
) -> tuple[Site, ...]:
    """Return the sites that a pattern selects; a pattern that selects none is a MechlabError.

    Named sites come first, and only those of one of `quantities` are taken; then the model's modules, of
    which the nodes of a FrEIA graph have the name of their node.
    """
    sites = tuple(named)
    chosen = tuple(site for site in sites if selects(pattern, site.name))
    fitting = tuple(site for site in chosen if site.quantity in quantities)
    if chosen and not fitting:
        raise MechlabError(
            f"site '{pattern}' gives {chosen[0].quantity}, not {quantities[0]}; ask for quantity "
            f"'{chosen[0].quantity}' or another site."
        )
    modules = dict(model.named_modules())
    for site in fitting:
        if site.module is not None and site.module not in modules:
            raise MechlabError(
                f"site '{site.name}' is at module '{site.module}', which this model does not have."
            )
    if fitting:
        return fitting
    names = {path: path for path in modules} | node_names(model)
    chosen_paths = set(_matching(modules, pattern))
    chosen_paths |= {path for path, name in names.items() if name and selects(pattern, name)}
    found = [path for path in names if path in chosen_paths]
    if not found:
        raise unknown_pattern("site", pattern, [site.name for site in sites] + list(names.values()))
    return tuple(Site(name=names[path], module=path, quantity=quantities[0]) for path in found)


def find_layers(model: nn.Module, pattern: str) -> dict[str, Layer]:
    """Return path -> layer: Linears and convolutions at or below the modules that a pattern selects."""
    modules = dict(model.named_modules())
    layers: dict[str, Layer] = {path: one for path, one in modules.items() if isinstance(one, LAYERS)}
    found = _matching(modules, pattern)
    if not found:
        raise unknown_pattern("site", pattern, layers or modules)
    below = tuple(path + "." if path else "" for path in found)
    chosen = {path: layer for path, layer in layers.items() if path in found or path.startswith(below)}
    if not chosen:
        first = ", ".join(list(layers)[:_SHOWN]) or "none in this model"
        raise MechlabError(
            f"no Linear or convolution layer is at or below site '{pattern}'; choose one of: {first}."
        )
    return chosen


def find_parameters(model: nn.Module, pattern: str) -> dict[str, nn.Parameter]:
    """Return name -> parameter for those whose name, or whose module, a pattern selects."""
    parameters = dict(model.named_parameters())
    owners = _matching(dict(model.named_modules()), pattern)
    found = {
        name: parameter
        for name, parameter in parameters.items()
        if selects(pattern, name) or name.rpartition(".")[0] in owners
    }
    if not found:
        raise unknown_pattern("parameter", pattern, parameters)
    return found


def find_stored(model: nn.Module, pattern: str) -> dict[str, Tensor]:
    """Return name -> parameter as `find_parameters`, or where there is none, buffers that a pattern names.

    Buffers are those of a checkpoint that hold real numbers, e.g. running means or a memory of features.
    """
    stored = model.state_dict(keep_vars=True)
    buffers = {name: stored[name] for name, _ in model.named_buffers() if name in stored}
    found = {
        name: buffer
        for name, buffer in buffers.items()
        if buffer.is_floating_point() and buffer.numel() and selects(pattern, name)
    }
    try:
        return dict(find_parameters(model, pattern))
    except MechlabError:
        if not found:
            raise
        return found


def trained_parameters(model: nn.Module, pattern: str) -> dict[str, nn.Parameter]:
    """Return name -> parameter of the trainable ones that a pattern selects; none is a MechlabError."""
    found = find_parameters(model, pattern)
    trained = {name: parameter for name, parameter in found.items() if parameter.requires_grad}
    if not trained:
        raise MechlabError(
            f"none of the {len(found)} parameters at '{pattern}' is trained, so none has a gradient; choose "
            "others or record 'weight'."
        )
    return trained


def element(value: Any, output: int | str | None) -> Tensor:  # noqa: ANN401 - a module may return anything
    """Return the tensor that a site selects from a module's output.

    Without a selector a lone tensor, or the first part of a tuple, is taken. ValueError if there is none.
    """
    part = value
    if is_dataclass(value) and not isinstance(value, type):
        part = {entry.name: getattr(value, entry.name) for entry in fields(value)}
    if isinstance(part, Mapping):
        names = list(part)
        part = part[output if isinstance(output, str) else names[output or 0]]
    elif isinstance(output, str):
        part = getattr(part, output)
    elif isinstance(part, tuple | list):
        part = part[output or 0]
    if isinstance(part, tuple | list) and len(part) == 1:
        part = part[0]  # FrEIA wraps the output of a block
    if not isinstance(part, Tensor):
        raise ValueError(
            f"output {output!r} of a {type(value).__name__} is a {type(part).__name__}, not a tensor"
        )
    return part


def hook_outputs(
    model: nn.Module, sites: Iterable[Site], seen: Callable[[Site, Tensor], None]
) -> list[Callable[[], None]]:
    """Call `seen` with the tensor of each site after its module's forward; return what removes the hooks."""
    removals: list[Callable[[], None]] = []
    for site in sites:
        if site.module is None:
            continue

        def hook(_module: nn.Module, _inputs: Any, output: Any, site: Site = site) -> None:  # noqa: ANN401
            seen(site, _dense(site, element(output, site.output)))

        removals.append(model.get_submodule(site.module).register_forward_hook(hook).remove)
    return removals


def _dense(site: Site, values: Tensor) -> Tensor:
    """Return a tensor that has one shape; a nested or sparse one is a MechlabError."""
    if not values.is_nested and values.layout is torch.strided:
        return values
    kind = "nested" if values.is_nested else "sparse"
    raise MechlabError(
        f"'{site.name or 'the model'}' gives a {kind} tensor, and a recording holds dense ones; choose "
        "another site, or build a TransformerEncoder with enable_nested_tensor=False."
    )


def _matching(modules: Mapping[str, nn.Module], pattern: str) -> list[str]:
    kind = pattern.removeprefix("type:")
    if kind == pattern:
        return [path for path, module in modules.items() if selects(pattern, path) and (path or not pattern)]
    types = {path: _types(module) for path, module in modules.items()}
    found = [path for path, names in types.items() if any(fnmatchcase(name, kind) for name in names)]
    if not found:
        raise unknown_pattern("site", pattern, [f"type:{name}" for names in types.values() for name in names])
    return found


def _types(module: nn.Module) -> list[str]:
    own = type(module).__mro__
    return [kind.__name__ for kind in own[: own.index(nn.Module)]]
