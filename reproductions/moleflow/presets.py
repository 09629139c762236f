"""The presets: short lists of parts. Torch-free; every key is one of `config.MoLEFlowConfig`."""

from mechlab.systems import Preset
from reproductions.moleflow.drift import DRIFT
from reproductions.moleflow.recommended import RECOMMENDED
from reproductions.moleflow.sizes import MAIN
from reproductions.moleflow.versions import VERSIONS

# Small, and a density of the features: position is a condition, the adapter a fixed affine map.
MINI = {
    "position": "condition",
    "adapter": "covariance",
    "adapter_by_place": True,
    "blocks": 4,
    "context_kernel": 3,
    "lora_rank": 16,
    "lora_alpha": 16.0,
    "tail_weight": 0.7,
    "epochs": 10,
    "learning_rate": 2e-3,
    "clip_norm": None,
}
REDUCED = MINI | {"blocks": 2, "lora_rank": 8, "lora_alpha": 8.0}
FULL_FINE_TUNING = {"base": "shared", "lora_rank": 0}

PRESETS: tuple[Preset, ...] = (
    Preset(
        name="mini",
        summary="two cores: D 128, 4 blocks, LoRA 16, DIA 2, whitened by the task's own normals",
        source="this repository",
        parts=MINI,
        inputs={"dim": 128},
    ),
    Preset(
        name="reduced",
        summary="for studies over seeds: mini with D 64, 2 blocks, LoRA 8",
        source="this repository",
        parts=REDUCED,
        inputs={"dim": 64},
    ),
    Preset(
        name="demo",
        summary="what 'mechlab demo' trains: reduced, 3 epochs in batches of 8",
        source="this repository",
        parts=REDUCED | {"epochs": 3, "batch_size": 8},
        inputs={"dim": 64},
    ),
    Preset(
        name="reduced-finetune",
        summary="reduced with its flow trained in every task and no LoRA",
        source="notes 004 L7364",
        parts=REDUCED | FULL_FINE_TUNING,
        inputs={"dim": 64},
    ),
    Preset(
        name="finetune",
        summary="mini with its flow trained in every task and no LoRA: earlier tasks drift",
        source="notes 004 L7364",
        parts=MINI | FULL_FINE_TUNING,
        inputs={"dim": 128},
    ),
    Preset(
        name="main",
        id="M36",
        summary="the published sizes, corrected: exact log-det, true inverse, one reduction; WRN50, D 768",
        source="notes 004 L6162, MoLE-Flow facts 1.2 and 2",
        parts=MAIN,
        inputs={"dim": 768},
    ),
    *VERSIONS,
    *RECOMMENDED,
    *DRIFT,
)
