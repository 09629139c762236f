"""Each combination of the notes is refused by its name, passes by it, and not where one key is mended."""

import json

import pytest
import torch

from mechlab.errors import MechlabError
from mechlab.runs.combinations import Setup, judge
from mechlab.runs.settings import EvaluationSettings
from reproductions.moleflow.combinations import COMBINATIONS
from reproductions.moleflow.config import MoLEFlowConfig
from reproductions.moleflow.depthwise import depthwise
from reproductions.moleflow.presets import PRESETS
from reproductions.moleflow.run_name import contradictions
from reproductions.moleflow.system import MoLEFlow

# name -> (what holds it, what mends it, what the sentence says)
ROWS = {
    "even-kernel": ({"context_kernel": 8}, {"context_kernel": 7}, "context_kernel=8 is even"),
    "projection-of-nothing": (
        {"projection": "joint"},
        {"mixer_trains": "every-task"},
        "nothing that they share moves",
    ),
    "protection-of-nothing": (
        {"ewc_weight": 1.0, "replay_images": 8},
        {"slow_blocks": 1},
        "ewc_weight=1.0, replay_images=8 protects what tasks share",
    ),
    "score-matching-with-dia": ({"dsm": "full"}, {"dia_blocks": 0}, "without a DIA; set dia_blocks=0"),
    "whitening-with-multi-scale": (
        {"mixer": "multi-scale"},
        {"adapter": "film"},
        r"diverge together in the notes \(L996\), which then drop the mixer; set mixer=none",
    ),
    "rotation-with-fixed-place": ({"rotation": 90.0}, {"position_turns": True}, "while their places stay"),
    "scorer-behind-the-loss": ({"scorer": "dual"}, {"margin_weight": 1.0}, "stand behind the loss"),
    "tail-switch": (
        {"reduction": "published", "tail_weight": 0.0},
        {"reduction": "mean"},
        r"\(784 on a 28x28 grid\)",
    ),
    "focal-above-20": ({"focal": "published"}, {"focal": "relative"}, "a patch begins at 118"),
    "deep-flow": ({"blocks": 16}, {"blocks": 10}, "blocks=16: from 16 coupling blocks on"),
}
MAIN = next(preset for preset in PRESETS if preset.name == "main").parts


def complete(**changed):
    return MoLEFlowConfig(**(dict(MAIN) | changed)).model_dump(mode="json")


def setup(changes, **words):
    given = {"evaluation": EvaluationSettings(), "dim": 128, "preset": complete()} | words
    return Setup(parts=complete(**changes), **given)


@pytest.mark.parametrize("name", ROWS)
def test_a_combination_is_refused_passes_by_name_and_is_gone_when_mended(name):
    changes, mend, sentence = ROWS[name]
    with pytest.raises(MechlabError, match=sentence + f".*--allow {name}[.]$"):
        judge(setup(changes), COMBINATIONS, allow=())
    assert judge(setup(changes), COMBINATIONS, allow=(name,)).allowed == (name,)
    assert judge(setup(changes | mend), COMBINATIONS, allow=()).allowed == ()


def test_every_row_has_its_source_and_its_case():
    assert {one.name for one in COMBINATIONS} == {*ROWS, "rather-deep-flow", "name-says-otherwise"}
    assert all(one.source and one.summary for one in COMBINATIONS)


def test_a_rather_deep_flow_is_told():
    assert "0.942" in judge(setup({"blocks": 12}), COMBINATIONS, allow=()).warnings[0]
    assert judge(setup({"blocks": 11}), COMBINATIONS, allow=()).warnings == ()


def test_switching_the_tail_and_the_log_det_weight_together_is_refused():
    both = {"reduction": "published", "tail_weight": 0.0, "log_det_weight": 0.0}
    with pytest.raises(MechlabError, match="--allow tail-switch"):
        judge(setup(both), COMBINATIONS, allow=())
    plain = complete(log_det_weight=0.0)
    assert judge(setup(both, preset=plain), COMBINATIONS, allow=()).allowed == ()


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("TopK3", [("top_k", "3", 6.0)]),
        ("MVTec-WRN50-TailW0.7-TopK6-LoRA64-DIA2-MAIN", []),
        ("TailW0.5-DIA2", [("tail_weight", "0.5", 0.7)]),
        ("MoLE8-DIA4-woTailLoss", [("blocks", "8", 6), ("dia_blocks", "4", 2), ("tail_weight", "0", 0.7)]),
        ("lr3e-4-100ep-C6", [("epochs", "100", 60)]),
        ("context_kernel=7", [("context_kernel", "7", 5)]),
        ("TailTopK3-wood-grid", []),
    ],
)
def test_a_name_is_held_to_its_numbers(name, found):
    assert contradictions(name, complete() | {"top_k": 6.0}) == found


def test_a_name_that_says_another_top_k_is_refused():
    scored = EvaluationSettings(aggregation="top_k", aggregation_value=6.0)
    with pytest.raises(MechlabError, match=r"the name 'TopK3' says top_k 3, and top_k is 6\.0; correct"):
        judge(setup({}, evaluation=scored, name="TopK3"), COMBINATIONS, allow=())
    judge(setup({}, evaluation=scored, name="TopK6"), COMBINATIONS, allow=())


def test_an_even_kernel_keeps_the_grid_and_reaches_further_up_and_left():
    convolution = depthwise(1, 4)
    with torch.no_grad():
        convolution.weight.fill_(1.0)
        convolution.bias.zero_()
    image = torch.zeros(1, 1, 7, 7)
    image[0, 0, 3, 3] = 1.0
    seen = convolution(image)[0, 0]
    assert seen.shape == (7, 7)
    assert torch.nonzero(seen).min(0).values.tolist() == [2, 2]
    assert torch.nonzero(seen).max(0).values.tolist() == [5, 5]


@pytest.mark.parametrize("subnet", ["context", "cpcf"])
def test_a_flow_with_an_even_kernel_can_be_built(subnet):
    parts = {"subnet": subnet, "context_kernel": 4, "blocks": 1, "lora_rank": 2, "dia_blocks": 0}
    system = MoLEFlow.create(parts, dim=8, grid=(5, 6), seed=0)
    system.add_task(0)
    assert system(torch.zeros(2, 5, 6, 8), task=0).log_det.shape == (2, 5, 6)


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.name)
def test_a_preset_is_not_refused_and_stands_for_no_more_than_it_holds(preset):
    parts = MoLEFlowConfig(**preset.parts).model_dump(mode="json")
    judged = judge(
        Setup(parts=parts, preset=parts, evaluation=EvaluationSettings(), dim=preset.inputs["dim"]),
        COMBINATIONS,
        allow=preset.allow,
    )
    assert judged.allowed == preset.allow


def test_a_catalog_with_combinations_is_json():
    from mechlab.inventory import entries

    rows = entries("combinations")
    assert json.loads(json.dumps(rows)) == rows
    assert {one.name for one in COMBINATIONS} < {row["name"] for row in rows}
    assert {"top_k", "tail_ratio"} < {row["name"] for row in rows}
