"""The instrument: hooks on any `nn.Module` that write what happens inside it to a recording.

`record` and `Recorder` load torch when they are first used, so that plans can be read without it.
"""

from importlib import import_module
from typing import Any

__all__ = ["Recorder", "record"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - PEP 562 hook
    """Load `record` and `Recorder` on first use (PEP 562)."""
    if name in __all__:
        room = "calls" if name == "record" else "recorder"
        return getattr(import_module(f"mechlab.instrument.{room}"), name)
    raise AttributeError(f"module 'mechlab.instrument' has no attribute {name!r}")
