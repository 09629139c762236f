"""The versions of the notes and their variants, as short lists of parts. Torch-free.

The notes give no depth for the first versions; 8 blocks are the default of the public code (facts 2). What a
version does not name is as in `config.py`.
"""

from mechlab.systems import Preset
from reproductions.moleflow.sizes import MAIN, published_inputs
from reproductions.moleflow.sizes import notes_preset as _preset

# A flow over features with a sine position and the mean NLL: what all versions before the third series share.
_EARLY = {
    "position": "sine",
    "mixer": "none",
    "blocks": 8,
    "subnet": "plain",
    "lora_rank": 32,
    "dia_blocks": 0,
    "tail_weight": 0.0,
    "log_det_weight": 0.0,
    "learning_rate": 2e-4,
}
VERSION_2 = _EARLY | {"adapter": "instance-mlp", "adapter_first_task": False}
VERSION_3 = _EARLY | {"adapter": "film"}
VERSION_4 = VERSION_3 | {
    "subnet": "cpcf",
    "neighbourhood": "conv",
    "context_kernel": 3,
    "branch": "sc-lora",
    "lora_nodes": 4,
}
VERSION_1 = VERSION_2 | {"lora_alpha": 0.5, "lora_first_task": False}  # alpha / (2 r) with alpha 1

# Three models are called MAIN in the notes; the third is the "official default" of L6162.
MAIN_8 = MAIN | {"blocks": 8, "dia_blocks": 4}
NOTES_DEFAULT = MAIN | {"blocks": 10, "dia_blocks": 4, "epochs": 80}
PUBLISHED = MAIN | {
    "coupling": "freia",
    "reduction": "published",
    "optimizer": "adamp",
    "schedule": "epoch",
    "later_warmup_epochs": 2,
    "last_batch": "drop",
}
BASELINE_8_1 = _EARLY | {"adapter": "none", "lora_rank": 64}  # none of what the fifth series added


VERSIONS: tuple[Preset, ...] = (
    _preset("v1", "M1", "no LoRA on task 0, scaling alpha / (2 r) = 1/64, instance-mlp from task 1 on",
            "L7", VERSION_1),
    _preset("v2", "M2", "v1 with scaling alpha / r = 1/32 and LoRA on every task", "L30", VERSION_2),
    _preset("v3", "M3", "v2 with the FiLM adapter on every task; task 0 gives 0.9 x + 0.1 f(x)",
            "L72", VERSION_3),
    _preset("v4", "M4", "v3 with SC-LoRA and cross-patch coupling, its context learned on task 0",
            "L152, L178", VERSION_4),
    _preset("v4-sketch", "M5", "v4 as sketched: not a density, its context holds what it transforms",
            "L178", VERSION_4 | {"subnet": "cpcf-sketch"}),
    _preset("v4.1", "M5", "v4 with a fixed mean for context, gate 0.3",
            "L259", VERSION_4 | {"neighbourhood": "mean"}),
    _preset("v5", "M6", "v3 with the center loss, weight 0.05", "L306", VERSION_3 | {"center_weight": 0.05}),
    _preset("v6", "M7", "v3 with patch self-attention", "L373", VERSION_3 | {"mixer": "attention"}),
    _preset("v7", "M8", "v3 with the focal NLL as sketched, gamma 2",
            "L487", VERSION_3 | {"focal": "published"}, allow=("focal-above-20",)),
    _preset("main-8", "M36", "main with 8 blocks and DIA 4", "L5013", MAIN_8),
    _preset("notes-default", "M36", "main with 10 blocks, DIA 4 and 80 epochs", "L6162", NOTES_DEFAULT),
    _preset("published", "M36", "main as the code trains it: FrEIA, AdamP, its schedule, its reduction",
            "L6162, facts 1.2, 1.3 and 2", PUBLISHED),
    Preset(name="baseline-v8.1", id="M40", summary="518 px, LoRA 64; no adapter, mixer, DIA or scale context",
           source="notes 004 L3561", parts=BASELINE_8_1, inputs=published_inputs() | {"image_size": 518}),
    _preset("main-no-lora", "M30", "main with a plain Linear a task in place of base and LoRA",
            "L3779", MAIN | {"branch": "linear", "lora_rank": 0}),
    _preset("main-separated", "M30", "main with a whole flow a task", "L3780", MAIN | {"base": "per-task"}),
    _preset("main-no-lora-separated", "M30", "main with a whole flow a task, without LoRA",
            "L3781", MAIN | {"base": "per-task", "branch": "linear", "lora_rank": 0}),
    _preset("main-spectral", "M30", "main with every base of spectral norm 1",
            "L3782", MAIN | {"spectral_norm": True}),
    _preset("main-all-shared", "M30", "main with nothing of a task's own, trained in every task",
            "L6378", MAIN | {"base": "shared", "lora_rank": 0, "dia_blocks": 0, "adapter": "none"}),
)  # fmt: skip
