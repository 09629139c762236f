"""The recommended settings are the lists that the notes print; what one leaves out is the code's default."""

import pytest

from mechlab.runs.aggregation_keys import merged
from mechlab.runs.settings import EvaluationSettings
from reproductions.moleflow.config import MoLEFlowConfig
from reproductions.moleflow.presets import PRESETS
from reproductions.moleflow.recommended import RECOMMENDED

BY_NAME = {preset.name: preset for preset in RECOMMENDED}
# As printed, by line of notes 004; the flags' names are those of the public code.
VIT, WRN = "vit_base_patch16_224.augreg2_in21k_ft_in1k", "wide_resnet50_2"
PRINTED = {
    "vit-224": "--num_epochs 60 --num_coupling_layers 12 --lora_rank 64 --lr 2e-4 "
    f"--backbone_name {VIT} --img_size 224",
    "vit-384": "--num_epochs 80 --num_coupling_layers 12 --lora_rank 64 --lr 2e-4 "
    "--backbone_name vit_base_patch16_384.augreg_in21k_ft_in1k --img_size 384 --batch_size 8",
    "cnn-5": "--num_epochs 60 --num_coupling_layers 8 --lora_rank 64 --lr 2e-4 "
    f"--backbone_name {WRN} --img_size 224",
    "balanced": "--tail_weight 0.55 --topk 5 --logdet_reg 1e-4 --scale_context_k 5 --learning_rate 3e-4 "
    "--num_epochs 60",
    "max-image": "--tail_weight 0.55 --topk 5 --logdet_reg 1e-4 --learning_rate 3e-4 --lora_rank 128 "
    "--num_coupling_layers 10 --dia 5 --num_epochs 80",
    "visa-image": f"--backbone_name {VIT} --num_epochs 100 --lr 1e-4 --lora_rank 64 "
    "--num_coupling_layers 10 --dia_n_blocks 6 --tail_weight 0.7 --tail_top_k_ratio 0.02 "
    "--score_aggregation_top_k 3 --lambda_logdet 1e-4 --scale_context_kernel 5",
    "visa-pixel": f"--backbone_name {WRN} --num_epochs 100 --lr 2e-4 --lora_rank 64 "
    "--num_coupling_layers 8 --dia_n_blocks 4 --tail_weight 0.5 --tail_top_k_ratio 0.03 "
    "--score_aggregation_top_k 5 --lambda_logdet 2e-4 --scale_context_kernel 7",
    "visa-448": f"--backbone_name {VIT} --img_size 448 --num_epochs 80 --lr 5e-5 --lora_rank 64 "
    "--num_coupling_layers 8 --dia_n_blocks 6 --tail_weight 0.6 --tail_top_k_ratio 0.02 "
    "--score_aggregation_top_k 3 --lambda_logdet 1e-4 --scale_context_kernel 5 --batch_size 8",
    "visa-optimal": f"--backbone_name {WRN} --lora_rank 128 --dia_n_blocks 6 --lr 2e-4 --num_epochs 80 "
    "--tail_weight 0.5 --score_aggregation_top_k 5 --lambda_logdet 1e-4 --scale_context_kernel 5",
    "visa-image-focus": f"--backbone_name {VIT} --lora_rank 64 --dia_n_blocks 4 --lr 1e-4 --num_epochs 60",
}
KEYS = {
    "num_epochs": "epochs",
    "num_coupling_layers": "blocks",
    "lora_rank": "lora_rank",
    "lr": "learning_rate",
    "learning_rate": "learning_rate",
    "batch_size": "batch_size",
    "img_size": "image_size",
    "backbone_name": "backbone",
    "tail_weight": "tail_weight",
    "tail_top_k_ratio": "tail_ratio",
    "topk": "top_k",
    "score_aggregation_top_k": "top_k",
    "logdet_reg": "log_det_weight",
    "lambda_logdet": "log_det_weight",
    "scale_context_k": "context_kernel",
    "scale_context_kernel": "context_kernel",
    "dia": "dia_blocks",
    "dia_n_blocks": "dia_blocks",
}
# Facts 6: what the public code takes for a flag that is not given; the sizes of its model, facts 1.2
CODE = {"epochs": 60, "learning_rate": 2e-4, "batch_size": 16, "blocks": 8, "lora_rank": 64,
        "image_size": 224, "backbone": WRN, "dia_blocks": 2, "context_kernel": 3, "log_det_weight": 1e-5,
        "tail_weight": 0.0, "adapter": "whitening", "mixer": "depthwise", "subnet": "context",
        "position": "sine"}  # fmt: skip


def printed(name):
    words = PRINTED[name].split()
    pairs = zip(words[::2], words[1::2], strict=True)
    found = {KEYS[flag.removeprefix("--")]: value for flag, value in pairs}
    return {key: value if key == "backbone" else float(value) for key, value in found.items()}


def ours(preset):
    scored = merged(EvaluationSettings().model_dump(), preset.evaluation)
    found = MoLEFlowConfig(**preset.parts).model_dump() | dict(preset.inputs) | dict(preset.asks)
    return found | {scored["aggregation"]: scored["aggregation_value"]}


@pytest.mark.parametrize("name", BY_NAME)
def test_a_recommended_setting_is_the_printed_list_over_the_code_s_defaults(name):
    found, said = ours(BY_NAME[name]), printed(name)
    expected = CODE | said
    assert {key: found[key] for key in expected} == expected
    assert ("percentile" in found) == ("top_k" not in said)
    assert found.get("percentile", 0.99) == 0.99
    if "tail_weight" in said:
        assert found["tail_ratio"] == said.get("tail_ratio", 0.05)


def test_all_are_listed_as_the_row_of_the_inventory():
    assert set(BY_NAME) == set(PRINTED)
    assert {preset.name for preset in PRESETS if preset.id == "M41"} == set(BY_NAME)
    assert all(preset.inputs["dim"] == 768 for preset in RECOMMENDED)
