"""Reverse distillation in the four words in which RD-Noising says it differs. Torch-free.

`mechlab diff` prints the aspects in which two runs differ. Source: notes 000, "Differences from Original RD".
"""

from collections.abc import Mapping
from typing import Any


def aspects(_parts: Mapping[str, Any]) -> dict[str, str]:
    """Return what each aspect is, whatever the parts."""
    return {
        "memory bank": "no",
        "noise injection": "no",
        "training": "single phase",
        "feature augmentation": "none",
    }
