"""Every preset from the command line, tiny: two tasks train, are scored, and scored again from disk."""

import pytest

from reproductions.moleflow.config import MoLEFlowConfig
from reproductions.moleflow.presets import PRESETS
from reproductions.moleflow.sharing import shared_parts

TINY = {"blocks": 2, "batch_size": 8}


@pytest.mark.slow
@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.name)
def test_preset_trains_scores_and_loads(preset, mechlab):
    rank = {"lora_rank": 4} if preset.parts["lora_rank"] else {}
    keys = [word for key, value in (TINY | rank).items() for word in ("--set", f"{key}={value}")]
    words = ["--preset", preset.name, "--data", "embedded", "--backbone", "embedded", "--tasks", "gear,weave"]
    size = ["--dim", "16", "--image-size", "64", "--epochs", "1", "--threads", "1"]
    trained = mechlab("train", "moleflow", *words, *size, *keys)
    assert trained["scores_identical"] == (not shared_parts(MoLEFlowConfig(**preset.parts)))
    again = mechlab("evaluate", trained["run"], "--router", "oracle")
    assert again["mean"]["given_image_auroc"] == trained["mean"]["given_image_auroc"]
