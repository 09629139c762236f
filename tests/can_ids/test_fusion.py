"""The fusion: its state, its reward in closed form, what bandit and DQN learn."""

import math

import numpy as np
import pytest
import torch

from mechlab.train import scopes
from reproductions.can_ids.batching import to_batch
from reproductions.can_ids.config import GATConfig, VGAEConfig
from reproductions.can_ids.fusion_config import FusionConfig
from reproductions.can_ids.fusion_reward import fused, rewards
from reproductions.can_ids.fusion_state import SIZE, anomaly, probability, states
from reproductions.can_ids.fusion_system import Fusion
from reproductions.can_ids.models import build

WORDS = {"epochs": 1, "batch_size": 32, "width": 16, "dropout": 0.0, "learning_rate": 1e-2}


def told(values):
    return torch.tensor(values, dtype=torch.float32)


def windows_of(count=256, *, who="gat", seed=0):
    """States of which one of the two models knows the label; the other says the opposite half of the time."""
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(2, (count,), generator=draw)
    noise = torch.rand(count, generator=draw)
    state = torch.zeros(count, SIZE)
    right = 0.9 * labels + 0.05
    seen, said = (noise, right) if who == "gat" else (right, noise)
    state[:, 0], state[:, 8], state[:, 9] = seen / 0.4, 1 - said, said
    state[:, 14] = 0.5
    return state, labels


def learned(config, state, labels, *, steps=150):
    fusion = Fusion(config, state, labels, seed=0)
    fusion.prepare(0, np.zeros((1, 1, 1, 1)))
    stage = fusion.stage(0)
    scopes.apply(fusion, stage)
    optimizer = scopes.optimizer(fusion, stage)
    torch.manual_seed(1)
    draw = np.random.default_rng(0)
    for _ in range(steps):
        fusion.train()
        optimizer.zero_grad()
        items = torch.from_numpy(draw.integers(0, len(labels), 64).astype(np.float64)).reshape(-1, 1, 1, 1)
        loss = fusion.loss(items, task=0)
        loss.total.backward()
        optimizer.step()
    return fusion


def test_a_state_is_made_of_both_models_and_repeats(bus, graphs):
    windows = graphs(bus(seconds=2.0, attack="dos"))
    sizes = {"hidden": (8, 8, 3), "heads": 2, "decoder_heads": 2, "embedding": 3}
    vgae = build(VGAEConfig(**sizes), ids=windows.vocabulary.size, seed=0)
    gat = build(GATConfig(hidden=4, heads=2, embedding=3), ids=windows.vocabulary.size, seed=0)
    found = states(vgae, gat, windows)
    assert found.shape == (len(windows), SIZE) and torch.equal(found, states(vgae, gat, windows))
    torch.testing.assert_close(found[:, 8] + found[:, 9], torch.ones(len(windows)))
    mean = vgae(to_batch(windows.span(2, 3))).mean
    expected = torch.stack([mean.mean(), mean.std(unbiased=False), mean.max(), mean.min()])
    torch.testing.assert_close(found[2, 3:7], expected, rtol=1e-4, atol=1e-5)
    entropy = -sum(float(value) * math.log(float(value)) for value in found[2, 8:10])
    assert float(found[2, 14]) == pytest.approx(1 - entropy / math.log(2), abs=1e-5)


def test_the_reward_is_that_of_its_formula():
    seen, said, sure, alpha = 0.2, 0.9, 0.4, 0.75
    score = 0.25 * seen + 0.75 * said
    agreement, largest, balance = 0.3, 0.8, 0.3 * (1 - 2 * 0.25)
    right = 3 + agreement + 0.5 * sure + 0.3 * largest + balance
    wrong = -3 - (1 - agreement) - 1.5 * score + balance
    for label, expected in ((1, right), (0, wrong)):
        found = rewards(
            told([seen]), told([said]), told([sure]), told([alpha]), torch.tensor([label]), judges_alpha=False
        )
        assert float(found) == pytest.approx(expected, rel=1e-5)
    assert float(fused(told([seen]), told([said]), told([alpha]))) == pytest.approx(score)


def test_the_public_reward_can_be_earned_without_looking_at_the_models():
    labels = torch.tensor([1, 0])
    nonsense, alpha = told([0.5, 0.5]), told([0.55, 0.45])
    guessed = rewards(nonsense, nonsense, nonsense, alpha, labels, judges_alpha=True)
    honest = rewards(nonsense, nonsense, nonsense, alpha, labels, judges_alpha=False)
    assert (guessed > 0).all()
    assert honest[0] < 0  # a score of one half is no attack, whatever the weight


@pytest.mark.parametrize("who", ["gat", "vgae"])
def test_the_bandit_leans_to_the_model_that_knows(who):
    state, labels = windows_of(who=who)
    fusion = learned(FusionConfig(**WORDS), state, labels)
    tested, truth = windows_of(who=who, seed=1)
    scores = fusion.scores(tested)
    right = {name: float(((score > 0.5) == (truth == 1)).float().mean()) for name, score in scores.items()}
    assert min(right["agent"], right["mlp"], right["weighted"]) > 0.9
    assert (float(fusion.single) > 0.5) == (who == "gat")


def test_values_of_a_window_that_is_its_own_next_state_grow():
    state, labels = windows_of()
    sizes = {}
    for gamma in (0.0, 0.9):
        words = WORDS | {"gamma": gamma, "target_every": 5}
        fusion = learned(FusionConfig(**words), state, labels, steps=250).eval()
        sizes[gamma] = float(fusion.values(state).detach().abs().mean())
    assert sizes[0.9] > 2 * sizes[0.0]


def test_the_target_network_stands_still_between_its_steps():
    state, labels = windows_of()
    fusion = Fusion(FusionConfig(**(WORDS | {"gamma": 0.9, "target_every": 2})), state, labels, seed=0)
    items = torch.zeros(4, 1, 1, 1, dtype=torch.float64)
    held = []
    for _ in range(3):
        fusion.train()
        fusion.loss(items, task=0)
        held.append(fusion.target_0_weight.clone())
        with torch.no_grad():
            fusion.values[0].weight += 1
    assert torch.equal(held[0], held[1]) and not torch.equal(held[1], held[2])


def test_a_second_softmax_flattens_the_probability():
    state, _ = windows_of()
    once, twice = (probability(state, is_twice=value) for value in (False, True))
    assert float(twice.max()) < 1 / (1 + math.exp(-1)) + 1e-6 < float(once.max())
    assert float(anomaly(state).max()) <= 1
