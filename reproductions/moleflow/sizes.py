"""The published sizes, corrected: the list of parts that other presets change.

Source: notes 004 L6162, MoLE-Flow facts 1.2 and 2.
"""

from mechlab.systems import Preset

MAIN = {
    "position": "sine",
    "adapter": "whitening",
    "mixer": "depthwise",
    "blocks": 6,
    "subnet": "context",
    "context_kernel": 5,
    "lora_rank": 64,
    "lora_alpha": 1.0,
    "dia_blocks": 2,
    "tail_weight": 0.7,
    "tail_ratio": 0.02,
    "log_det_weight": 1e-4,
    "epochs": 60,
    "batch_size": 16,
    "learning_rate": 3e-4,
    "clip_norm": 0.5,
}


def published_inputs() -> dict[str, object]:
    """Return what the published sizes see: 768 channels."""
    return {"dim": 768}


def notes_preset(
    name: str, row: str, summary: str, source: str, parts: dict[str, object], *, allow: tuple[str, ...] = ()
) -> Preset:
    """Return a preset of the notes at the published input sizes; `row` is that of the inventory."""
    return Preset(
        name=name,
        id=row,
        summary=summary,
        source=f"notes 004 {source}",
        parts=parts,
        inputs=published_inputs(),
        allow=allow,
    )
