"""What a fusion is rewarded for: a right call, two models that agree, and a weight that leans to neither.

A right call earns 3, 1 times how far the models agree, 0.5 times the GAT's confidence and 0.3 times the
larger of the two scores' distance from one half (doubled); a wrong one costs 3, the disagreement, and 1.5
times how sure it was. 0.3 (1 - 2 |alpha - 1/2|) is added to both. Source: the public code of
arXiv:2508.04845, whose words for the two confidences leave room; these are ours.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

RIGHT, AGREEMENT, CONFIDENCE, LARGEST, SURE, BALANCE = 3.0, 1.0, 0.5, 0.3, 1.5, 0.3
HALF = 0.5


def fused(
    anomaly: Float[Tensor, "*window"], probability: Float[Tensor, "*window"], alpha: Float[Tensor, "*window"]
) -> Float[Tensor, "*window"]:
    """Return (1 - alpha) times the VGAE's score plus alpha times the GAT's; an attack above one half."""
    return (1 - alpha) * anomaly + alpha * probability


def rewards(
    anomaly: Float[Tensor, " window"],
    probability: Float[Tensor, " window"],
    confidence: Float[Tensor, " window"],
    alpha: Float[Tensor, " window"],
    labels: Int[Tensor, " window"],
    *,
    judges_alpha: bool,
) -> Float[Tensor, " window"]:
    """Return the reward of a weight for each window.

    `judges_alpha` takes alpha > 1/2 for the call, as the public code does in training: then the label can be
    guessed through the weight, whatever the models say.
    """
    score = fused(anomaly, probability, alpha)
    called = (alpha if judges_alpha else score) > HALF
    agreement = 1 - (anomaly - probability).abs()
    largest = 2 * torch.maximum((anomaly - HALF).abs(), (probability - HALF).abs())
    right = RIGHT + AGREEMENT * agreement + CONFIDENCE * confidence + LARGEST * largest
    sure = torch.where(called, score, 1 - score)
    wrong = -RIGHT - (1 - agreement) - SURE * sure
    balance = BALANCE * (1 - 2 * (alpha - HALF).abs())
    return torch.where(called == (labels == 1), right, wrong) + balance
