"""Presets of the notes: their keys are the printed tables', and a version differs from its parent as told."""

import pytest

from reproductions.moleflow.config import MoLEFlowConfig
from reproductions.moleflow.presets import PRESETS

BY_NAME = {preset.name: preset for preset in PRESETS}
# notes 004 L6162, the official default configuration; L5013 for the reference run
TABLE = {"tail_weight": 0.7, "tail_ratio": 0.02, "context_kernel": 5, "learning_rate": 3e-4, "lora_rank": 64,
         "log_det_weight": 1e-4}  # fmt: skip


def resolved(name: str) -> dict:
    return MoLEFlowConfig(**BY_NAME[name].parts).model_dump()


def difference(name: str, parent: str) -> dict:
    ours, theirs = resolved(name), resolved(parent)
    return {key: ours[key] for key in ours if ours[key] != theirs[key]}


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("main", {"blocks": 6, "dia_blocks": 2, "epochs": 60}),
        ("published", {"blocks": 6, "dia_blocks": 2, "epochs": 60}),
        ("main-8", {"blocks": 8, "dia_blocks": 4, "epochs": 60}),
        ("notes-default", {"blocks": 10, "dia_blocks": 4, "epochs": 80}),
    ],
)
def test_each_model_called_main_has_the_printed_keys(name, sizes):
    parts = resolved(name)
    assert {key: parts[key] for key in TABLE | sizes} == TABLE | sizes
    assert BY_NAME[name].id == "M36"
    assert BY_NAME[name].inputs["dim"] == 768


@pytest.mark.parametrize(
    ("name", "parent", "change"),
    [
        (
            "published",
            "main",
            {
                "coupling": "freia",
                "reduction": "published",
                "optimizer": "adamp",
                "schedule": "epoch",
                "later_warmup_epochs": 2,
                "last_batch": "drop",
            },
        ),
        ("main-8", "main", {"blocks": 8, "dia_blocks": 4}),
        ("notes-default", "main", {"blocks": 10, "dia_blocks": 4, "epochs": 80}),
        ("main-no-lora", "main", {"branch": "linear", "lora_rank": 0}),
        ("main-separated", "main", {"base": "per-task"}),
        ("main-spectral", "main", {"spectral_norm": True}),
        ("v2", "v1", {"lora_alpha": 1.0, "lora_first_task": True}),
        ("v3", "v2", {"adapter": "film", "adapter_first_task": True}),
        ("v4", "v3", {"subnet": "cpcf", "neighbourhood": "conv", "context_kernel": 3, "branch": "sc-lora"}),
        ("v4-sketch", "v4", {"subnet": "cpcf-sketch"}),
        ("v4.1", "v4", {"neighbourhood": "mean"}),
        ("v5", "v3", {"center_weight": 0.05}),
        ("v4-shared-context", "v4.1-separated", {"context_trains": "every-task"}),
        ("v3-shared-mixer", "v4-shared-context", {"mixer_trains": "every-task"}),
        ("v3-projected", "v3-shared-mixer", {"projection": "sequential"}),
        ("v3-projected-joint", "v3-shared-mixer", {"projection": "joint"}),
        ("v3-projected-hook", "v3-shared-mixer", {"projection": "hook"}),
        ("v3-ewc", "v3-shared-mixer", {"ewc_weight": 1e4}),
        ("v3-distilled", "v3-shared-mixer", {"distillation_weight": 1.0}),
        ("v3-replay", "v3-shared-mixer", {"replay_images": 64}),
        ("main-slow-stage", "main", {"slow_blocks": 2}),
        ("main-dsm", "main", {"dia_blocks": 0, "dsm": "sliced"}),
        ("main-dsm-full", "main-dsm", {"dsm": "full"}),
        ("main-dsm-only", "main-dsm", {"dsm_alpha": 0.0}),
        ("main-dsm-annealed", "main-dsm", {"dsm_alpha": 0.8, "dsm_alpha_last": 0.5}),
        ("v6", "v3", {"mixer": "attention"}),
        ("v7", "v3", {"focal": "published"}),
    ],
)
def test_a_version_differs_from_its_parent_as_the_notes_say(name, parent, change):
    assert difference(name, parent) == change


def test_the_eighth_baseline_has_none_of_what_came_later():
    parts, inputs = resolved("baseline-v8.1"), BY_NAME["baseline-v8.1"].inputs
    assert inputs["image_size"] == 518
    expected = {"lora_rank": 64, "adapter": "none", "mixer": "none", "dia_blocks": 0, "subnet": "plain"}
    assert {key: parts[key] for key in expected} == expected
