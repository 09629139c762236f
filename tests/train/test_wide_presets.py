"""Presets written for a WideResNet-50-2 train and score with one: random weights, 64 pixels, few epochs."""

import math
import shutil
from dataclasses import replace

import pytest

from mechlab import systems
from mechlab.runs.parameters import run_counts

WIDE = "wide_resnet50_2"
PUPIL = 58_885_120 + 24_917_504  # bottleneck and student, see test_model.py of reverse distillation
CHANNELS = 256 + 512 + 1024
ASKING = [
    (name, preset.name)
    for name in ("rd", "rd-noising")
    for preset in systems.catalog(name).PRESETS
    if preset.asks.get("backbone") == WIDE
]
BANKS = [preset.name for preset in systems.catalog("patchcore").PRESETS]


@pytest.fixture(scope="module")
def wide_request(small_request, tmp_path_factory):
    place = tmp_path_factory.mktemp("wide")
    return replace(
        small_request, backbone=WIDE, weights="random-0", tasks="bolt", dim=None, epochs=1, batch_size=6,
        settings={}, out=place / "runs", cache=place / "cache",
    )  # fmt: skip


def test_the_published_presets_ask_for_it():
    assert ASKING == [
        ("rd", "rd"), ("rd", "rd-pixel"), ("rd", "rd-multiclass"), ("rd", "rd-finetune"),
        ("rd-noising", "256-100e"), ("rd-noising", "256-300e"), ("rd-noising", "rd-noising-ocbe"),
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("system", "preset"), ASKING, ids=lambda name: name)
def test_an_asking_preset_moves_all_that_it_trains_and_scores(
    system, preset, wide_request, make_trained, make_opened
):
    words = {"tasks": {"rd-multiclass": "bolt+nut", "rd-finetune": "bolt,nut"}.get(preset, "bolt")}
    if preset.startswith("256"):  # 64 pixels have too few places for nine neighbours of one in a hundred
        words |= {"settings": {"coreset_sampling_ratio": 0.1}}
    if preset == "256-300e":  # the noise begins after a warm-up, which is shorter than the training
        words |= {"epochs": 2, "settings": words["settings"] | {"noise_warmup_epochs": 1}}
    if preset == "rd-noising-ocbe":  # a tenth of twelve images is one
        words |= {"settings": {"coreset_sampling_ratio": 0.5}}
    summary = make_trained(replace(wide_request, system=system, preset=preset, **words))
    run = make_opened(summary)
    extra = {"rd": 0, "rd-noising": CHANNELS + 3}[system] if preset != "rd-noising-ocbe" else 2
    assert run_counts(run)["trained"][0] == PUPIL + extra  # a parameter that never moved would be an error
    assert all(math.isfinite(row["loss"]) for row in run.log())
    assert all(0 <= metrics["pixel_auroc"] <= 1 for metrics in summary["metrics"].values())
    assert summary["scores_identical"] is (False if preset == "rd-finetune" else None)
    shutil.rmtree(run.path)  # a third of a gigabyte each


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("preset", BANKS)
def test_every_preset_of_patchcore_keeps_and_scores_patches_of_it(preset, wide_request, make_trained):
    request = replace(wide_request, system="patchcore", preset=preset, epochs=None, batch_size=None)
    found = make_trained(request)["metrics"]["bolt"]
    assert found["pixel_auroc"] > 0.8 and math.isfinite(found["threshold"])
