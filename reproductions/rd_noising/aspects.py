"""RD-Noising in the four words of its document's table "Differences from Original RD". Torch-free.

`mechlab diff` prints those in which two runs differ. Source: notes 000.
"""

from collections.abc import Mapping
from typing import Any

from reproductions.reverse_distillation.aspects import aspects as of_rd


def aspects(parts: Mapping[str, Any]) -> dict[str, str]:
    """Return what each aspect is with some parts; those of reverse distillation where the noise is off."""
    if not parts.get("enable_noise"):
        return of_rd(parts)
    low, high = parts["noise_std_range"]
    kind, share = parts["noise_kind"], f"{parts['coreset_sampling_ratio']:.3g}"
    is_first = parts["noise_source"] == "features"
    where = f"levels {', '.join(map(str, parts['noise_layers']))}" if is_first else "the embedding"
    bank = f"a bank a level, {share} of its places" if is_first else f"one bank, {share} of the images"
    after = parts["noise_warmup_epochs"]
    return {
        "memory bank": f"{bank}, by greedy k-center",
        "noise injection": f"{kind}, std {low:g} to {high:g}, on {where}",
        "training": "two phases: banks, then noise" + (f" from epoch {after} on" if after else ""),
        "feature augmentation": "influence-based noise" if kind == "adaptive" else f"{kind} noise, a control",
    }
