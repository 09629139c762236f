"""mechlab: why does a trained anomaly detector work, and would that answer survive a reviewer?

`mechlab.record(model, plan, path)` is loaded lazily, so that importing the package needs no torch.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"
__all__ = ["__version__", "record"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - PEP 562 hook
    """Load `record` from the instrument package on first use (PEP 562)."""
    if name == "record":
        return import_module("mechlab.instrument").record
    raise AttributeError(f"module 'mechlab' has no attribute {name!r}")
