"""The value of an aggregation by the name of its mode: `top_k=5`, `cluster_weight=0.3`.

A key of another mode than the chosen one does nothing. The notes' logs hold such runs (004 L5895: `top_k`
given with mode `top_k_percent`), so it is refused, or let pass by name with --allow and marked in the result.
"""

from collections.abc import Collection, Mapping
from typing import Any

from pydantic import JsonValue

from mechlab.errors import MechlabError

MODE_OF = {
    "percentile": "percentile",
    "top_k": "top_k",
    "top_k_percent": "top_k_percent",
    "cluster_weight": "spatial_cluster",
    "attention_strength": "attention",
}


def merged(
    defaults: Mapping[str, JsonValue], given: Mapping[str, JsonValue], *, allow: Collection[str] = ()
) -> dict[str, Any]:
    """Return evaluation settings: what is given over the defaults, the value of the aggregation resolved.

    An aggregation that is given without a value has its mode's default, not the value of another mode.
    `allowed` lists the keys of another mode that `allow` let pass.

    Raises:
        MechlabError: a key of another mode, or the value given twice.
    """
    values = {key: value for key, value in given.items() if key not in MODE_OF}
    if "aggregation" in values and "aggregation_value" not in values:
        values["aggregation_value"] = None
    settings = dict(defaults) | values
    mode, passed = settings["aggregation"], []
    for key in (key for key in given if key in MODE_OF):
        if MODE_OF[key] == mode:
            if given.get("aggregation_value") is not None:
                raise MechlabError(
                    f"the value of aggregation '{mode}' is given twice, by '{key}' and by "
                    "'aggregation_value'; give it once."
                )
            settings["aggregation_value"] = given[key]
        elif key in allow:
            passed.append(key)
        else:
            raise MechlabError(
                f"'{key}' was given, but nothing reads it while aggregation = {mode}; set aggregation to "
                f"{MODE_OF[key]}, leave '{key}' out, or let it pass with --allow {key}."
            )
    return settings | {"allowed": sorted(passed)}
