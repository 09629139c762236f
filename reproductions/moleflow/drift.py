"""Presets of shared parameters that train on, of what protects earlier tasks, and of score matching.

Torch-free. The notes' second series gives no depth, rank or rate: 8 blocks, rank 32 and 2e-4 as in the first.
Source: notes 004 L1179 (projection), L1492 (V3), L1690 and L1876 (V4, V4.1), L4096 (score matching), L6318.
"""

from mechlab.systems import Preset
from reproductions.moleflow.sizes import MAIN
from reproductions.moleflow.sizes import notes_preset as _preset

# V4.1: what tasks share trains with the first one alone
SEPARATED = {
    "position": "sine",
    "adapter": "whitening",
    "mixer": "depthwise",
    "blocks": 8,
    "subnet": "context",
    "context_kernel": 3,
    "lora_rank": 32,
    "dia_blocks": 2,
    "tail_weight": 0.0,
    "log_det_weight": 0.0,
    "learning_rate": 2e-4,
}
SHARED_CONTEXT = SEPARATED | {"context_trains": "every-task"}  # V4
SHARED_MIXER = SHARED_CONTEXT | {"mixer_trains": "every-task"}  # V3, without its projection
MATCHED = MAIN | {"dia_blocks": 0, "dsm": "sliced"}


DRIFT: tuple[Preset, ...] = (
    _preset("v4.1-separated", "M17", "V4.1: mixer and contexts train with the first task alone",
            "L1876", SEPARATED),
    _preset("v4-shared-context", "M17", "V4: v4.1-separated with contexts trained in every task",
            "L1690, L1876", SHARED_CONTEXT),
    _preset("v3-shared-mixer", "M16", "V3: v4-shared-context with a mixer trained in every task",
            "L1492", SHARED_MIXER),
    _preset("v3-projected", "M14", "v3-shared-mixer as it ran: gradients projected, a basis at a time",
            "L1179, L1492", SHARED_MIXER | {"projection": "sequential"}),
    _preset("v3-projected-joint", "M14", "v3-shared-mixer with steps projected off the union of bases",
            "L1179, corrected", SHARED_MIXER | {"projection": "joint"}),
    _preset("v3-projected-hook", "M49", "v3-shared-mixer with gradients projected as they arrive",
            "L1451, chosen here", SHARED_MIXER | {"projection": "hook"}),
    _preset("v3-ewc", "M32", "v3-shared-mixer with elastic weight consolidation, not tuned",
            "L1451", SHARED_MIXER | {"ewc_weight": 1e4}),
    _preset("v3-distilled", "M32", "v3-shared-mixer with earlier experts held to their outputs",
            "L1451", SHARED_MIXER | {"distillation_weight": 1.0}),
    _preset("v3-replay", "M32", "v3-shared-mixer with 64 earlier images seen again",
            "L1451", SHARED_MIXER | {"replay_images": 64}),
    _preset("main-slow-stage", "M39", "main, then the last 2 shared blocks at a fifth of the rate",
            "L6318, facts 2", MAIN | {"slow_blocks": 2}),
    _preset("main-dsm", "M31", "main without DIA, half NLL and half sliced score matching", "L4096", MATCHED),
    _preset("main-dsm-full", "M31", "main-dsm with the whole score by autograd",
            "L4096", MATCHED | {"dsm": "full"}),
    _preset("main-dsm-only", "M31", "main-dsm without the NLL", "L4096", MATCHED | {"dsm_alpha": 0.0}),
    _preset("main-dsm-annealed", "M31", "main-dsm with the NLL's weight going from 0.8 to 0.5",
            "L4072", MATCHED | {"dsm_alpha": 0.8, "dsm_alpha_last": 0.5}),
)  # fmt: skip
