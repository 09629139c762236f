"""The settings that the notes recommend, as they print them (M41). Torch-free.

What a printed command leaves out is the public code's default (facts 6): 8 blocks, LoRA 64, DIA 2, kernel 3,
no tail, log-det weight 1e-5, learning rate 2e-4, the 99th percentile. A tail without a ratio has the code's,
0.05. Backbone and tasks are words of the command line: `asks` holds them, and another backbone is told.
"""

from collections.abc import Mapping

from pydantic import JsonValue

from mechlab.systems import Preset
from reproductions.moleflow.sizes import MAIN, published_inputs

Values = Mapping[str, JsonValue]
CODE: dict[str, JsonValue] = {key: value for key, value in MAIN.items() if key != "tail_ratio"} | {
    "blocks": 8,
    "context_kernel": 3,
    "tail_weight": 0.0,
    "log_det_weight": 1e-5,
    "learning_rate": 2e-4,
}
PERCENTILE: Values = {"aggregation": "percentile", "aggregation_value": 0.99}
VIT_224, VIT_384 = "vit_base_patch16_224.augreg2_in21k_ft_in1k", "vit_base_patch16_384.augreg_in21k_ft_in1k"
WIDE = "wide_resnet50_2"
VISA: Values = {"data": "visa", "tasks": "all"}


def _tail(weight: float, ratio: float = 0.05) -> Values:
    return {"tail_weight": weight, "tail_ratio": ratio}


def _top(count: int) -> Values:
    return {"aggregation": "top_k", "aggregation_value": float(count)}


def _preset(
    name: str, summary: str, source: str, parts: Values, *, backbone: str, asks: Values | None = None,
    evaluation: Values = PERCENTILE, image_size: int = 224,
) -> Preset:  # fmt: skip
    return Preset(
        name=name,
        id="M41",
        summary=summary,
        source=f"notes 004 {source}",
        parts=CODE | dict(parts),
        inputs=published_inputs() | {"image_size": image_size},
        evaluation=evaluation,
        asks={"backbone": backbone, **(asks or {})},
    )


RECOMMENDED: tuple[Preset, ...] = (
    _preset("vit-224", "the notes' standard for ViT-B/16 at 224 px: 12 blocks", "L4389",
            {"epochs": 60, "blocks": 12, "lora_rank": 64, "learning_rate": 2e-4}, backbone=VIT_224,
            asks={"data": "mvtec", "tasks": "all"}),
    _preset("vit-384", "the notes' high resolution for ViT-B/16 at 384 px: 12 blocks, 80 epochs", "L4389",
            {"epochs": 80, "blocks": 12, "lora_rank": 64, "learning_rate": 2e-4, "batch_size": 8},
            backbone=VIT_384, asks={"data": "mvtec", "tasks": "all"}, image_size=384),
    _preset("cnn-5", "the notes' WRN50 on five classes: 8 blocks", "L4389",
            {"epochs": 60, "blocks": 8, "lora_rank": 64, "learning_rate": 2e-4}, backbone=WIDE,
            asks={"data": "mvtec", "tasks": "bottle,cable,capsule,screw,toothbrush"}),
    _preset("balanced", "the notes' balance of image and pixel metrics: tail 0.55, top 5", "L4913",
            {**_tail(0.55), "log_det_weight": 1e-4, "context_kernel": 5, "learning_rate": 3e-4, "epochs": 60},
            backbone=WIDE, evaluation=_top(5)),
    _preset("max-image", "the notes' best image AUROC: LoRA 128, 10 blocks, DIA 5, 80 epochs", "L4913",
            {**_tail(0.55), "log_det_weight": 1e-4, "learning_rate": 3e-4, "lora_rank": 128, "blocks": 10,
             "dia_blocks": 5, "epochs": 80}, backbone=WIDE, evaluation=_top(5)),
    _preset("visa-image", "VisA for image AUROC: ViT-B/16, 10 blocks, DIA 6, 100 epochs", "L5506",
            {"epochs": 100, "learning_rate": 1e-4, "lora_rank": 64, "blocks": 10, "dia_blocks": 6,
             **_tail(0.7, 0.02), "log_det_weight": 1e-4, "context_kernel": 5},
            backbone=VIT_224, asks=VISA, evaluation=_top(3)),
    _preset("visa-pixel", "VisA for pixel AP: WRN50, DIA 4, tail 0.5 / 0.03, kernel 7, 100 epochs", "L5506",
            {"epochs": 100, "learning_rate": 2e-4, "lora_rank": 64, "blocks": 8, "dia_blocks": 4,
             **_tail(0.5, 0.03), "log_det_weight": 2e-4, "context_kernel": 7},
            backbone=WIDE, asks=VISA, evaluation=_top(5)),
    _preset("visa-448", "VisA at 448 px: ViT-B/16, DIA 6, tail 0.6, 80 epochs in batches of 8", "L5506",
            {"epochs": 80, "learning_rate": 5e-5, "lora_rank": 64, "blocks": 8, "dia_blocks": 6,
             **_tail(0.6, 0.02), "log_det_weight": 1e-4, "context_kernel": 5, "batch_size": 8},
            backbone=VIT_224, asks=VISA, evaluation=_top(3), image_size=448),
    _preset("visa-optimal", "the notes' earlier VisA setting for pixel AP: WRN50, LoRA 128, DIA 6", "L5735",
            {"lora_rank": 128, "dia_blocks": 6, "learning_rate": 2e-4, "epochs": 80, **_tail(0.5),
             "log_det_weight": 1e-4, "context_kernel": 5}, backbone=WIDE, asks=VISA, evaluation=_top(5)),
    _preset("visa-image-focus", "the notes' earlier VisA setting for image AUROC: ViT-B/16, DIA 4", "L5735",
            {"lora_rank": 64, "dia_blocks": 4, "learning_rate": 1e-4, "epochs": 60}, backbone=VIT_224,
            asks=VISA),
)  # fmt: skip
