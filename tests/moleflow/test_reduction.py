"""Reductions: known factors between the versions, and one unit in `main`."""

import pytest
import torch

from reproductions.moleflow.config import MoLEFlowConfig
from reproductions.moleflow.objective import training_loss
from reproductions.moleflow.presets import PRESETS
from reproductions.moleflow.reduction import reduction_factor

LATENT = torch.randn(3, 4, 5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
LOG_DET = torch.randn(3, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def total(**parts: object) -> float:
    config = MoLEFlowConfig(**({"log_det_weight": 0.0} | parts))
    return float(training_loss(config, latent=LATENT, log_det=LOG_DET).total)


@pytest.mark.parametrize("tail", [0.0, 0.7])
def test_a_sum_is_the_mean_times_the_patches_of_an_image(tail):
    mean = total(tail_weight=tail)
    assert total(tail_weight=tail, reduction="sum") == pytest.approx(20 * mean, rel=1e-12)


def test_published_reduction_changes_with_the_tail_as_the_code_does():
    assert total(tail_weight=0.0, reduction="published") == total(tail_weight=0.0, reduction="sum")
    assert total(tail_weight=0.7, reduction="published") == total(tail_weight=0.7)
    assert reduction_factor("published", patches=28 * 28, has_tail=False) == 784


def test_regularisers_are_not_summed_up_with_the_nll():
    parts = {"tail_weight": 0.0, "log_det_weight": 0.1, "reduction": "sum"}
    added = total(**parts) - total(**parts | {"log_det_weight": 0.0})
    assert added == pytest.approx(0.1 * float(LOG_DET.square().mean()), rel=1e-9)


def test_weights_of_zero_leave_the_nll_alone():
    config = MoLEFlowConfig(tail_weight=0.0, log_det_weight=0.0, center_weight=0.0)
    loss = training_loss(config, latent=LATENT, log_det=LOG_DET)
    assert set(loss.terms) == {"nll"}
    assert loss.total is loss.terms["nll"]


def test_main_has_one_reduction():
    main = next(preset.parts for preset in PRESETS if preset.name == "main")
    assert MoLEFlowConfig(**main).reduction == "mean"


def test_an_unknown_reduction_is_refused():
    with pytest.raises(ValueError, match="no reduction is named 'median'; use one of mean, sum, published"):
        reduction_factor("median", patches=4, has_tail=False)
