"""The nodes of a FrEIA graph: which module each has, and the name it was given.

FrEIA is not imported: a graph is told by what it holds. Source: FrEIA 0.2, `FrEIA.framework.GraphINN`.
"""

from typing import Any

from torch import nn


def node_names(model: nn.Module) -> dict[str, str]:
    """Return module path -> name of the nodes of every graph in a model; without a name, the path itself."""
    modules = dict(model.named_modules())
    graphs = {
        path: module
        for path, module in modules.items()
        if hasattr(module, "node_list") and hasattr(module, "module_list")
    }
    paths = {id(module): path for path, module in modules.items()} if graphs else {}
    found: dict[str, str] = {}
    for graph_path, graph in graphs.items():
        nodes = [node for node in graph.node_list if getattr(node, "module", None) is not None]
        names = [_given_name(node) for node in nodes]
        for node, name in zip(nodes, names, strict=True):
            path = paths[id(node.module)]
            is_own = name is not None and names.count(name) == 1
            found[path] = f"{graph_path}.{name}".removeprefix(".") if is_own else path
    return found


def _given_name(node: Any) -> str | None:  # noqa: ANN401 - a node of a graph is no module
    """Return the name that a node was given; None for one that FrEIA made of its address."""
    name = str(node.name)
    return None if name == hex(id(node))[-6:] or "/" in name else name
