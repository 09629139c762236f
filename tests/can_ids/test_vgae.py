"""The graph autoencoder: sizes, repeatable scores, what it must and must not depend on."""

import itertools

import numpy as np
import pytest
import torch

from mechlab.errors import MechlabError
from reproductions.can_ids.batching import to_batch
from reproductions.can_ids.vgae import VGAE, divergence
from reproductions.can_ids.vgae_objective import VGAEWeights, followers, node_errors, vgae_loss, window_scores

LARGE = {"hidden": (480, 240, 48), "heads": 4, "embedding": 32, "dropout": 0.15}
SMALL = {"hidden": (80, 40, 16), "heads": 1, "embedding": 4, "dropout": 0.1}
TINY = {"hidden": (8, 8, 3), "heads": 2, "embedding": 3, "dropout": 0.0, "decoder_heads": 2}
CONVS = ("gat", "gatv2", "transformer")


def tiny(windows, **words):
    torch.manual_seed(0)
    return VGAE(ids=windows.vocabulary.size, **(TINY | words))


@pytest.fixture(scope="module")
def windows(bus, graphs):
    return graphs(bus(seconds=2.0, attack="dos"))


@pytest.mark.parametrize(("sizes", "count"), [(LARGE, 188_450), (SMALL, 9_946)], ids=["teacher", "student"])
def test_sizes_are_those_of_the_public_code_at_50_ids(sizes, count):
    assert sum(parameter.numel() for parameter in VGAE(ids=50, **sizes).parameters()) == count


def test_scores_repeat_in_evaluation_and_the_published_sampling_does_not(windows):
    batch = to_batch(windows)
    model, drawn = tiny(windows).eval(), tiny(windows, sampling="always").eval()
    once = model(batch)
    assert torch.equal(window_scores(once, batch), window_scores(model(batch), batch))
    assert torch.equal(once.z, once.mean)
    assert not torch.equal(window_scores(drawn(batch), batch), window_scores(drawn(batch), batch))
    model.train()
    assert not torch.equal(model(batch).z, model(batch).z)


def test_the_divergence_is_that_of_normal_distributions():
    draw = torch.Generator().manual_seed(1)
    mean, log_variance = (torch.randn(5, 3, generator=draw, dtype=torch.float64) for _ in range(2))
    ours = torch.distributions.Normal(mean, torch.exp(0.5 * log_variance))
    prior = torch.distributions.Normal(torch.zeros_like(mean), torch.ones_like(mean))
    expected = torch.distributions.kl_divergence(ours, prior).mean()
    torch.testing.assert_close(divergence(mean, log_variance), expected)
    assert divergence(torch.zeros(2, 2), torch.zeros(2, 2)) == 0


@pytest.mark.parametrize("conv", CONVS)
def test_gradients_reach_every_parameter(windows, conv):
    batch, model = to_batch(windows), tiny(windows, conv=conv)
    vgae_loss(model(batch), batch, VGAEWeights()).total.backward()
    assert [name for name, value in model.named_parameters() if value.grad is None] == []


@pytest.mark.parametrize("conv", CONVS)
def test_edge_features_matter_to_the_layers_that_read_them_alone(windows, conv):
    model, batch, other = tiny(windows, conv=conv).eval(), to_batch(windows), to_batch(windows)
    other.edge_attr = other.edge_attr + 1.0
    is_equal = torch.equal(model(batch).cont, model(other).cont)
    assert is_equal == (conv == "gat")


def test_a_window_is_scored_as_it_would_be_alone(windows):
    model, batch = tiny(windows).eval(), to_batch(windows)
    together = window_scores(model(batch), batch)
    for number in range(len(windows)):
        alone = to_batch(windows.span(number, number + 1))
        torch.testing.assert_close(window_scores(model(alone), alone)[0], together[number])


def test_followers_are_the_ids_that_edges_point_to(windows):
    one = windows.span(0, 1)
    found = followers(to_batch(one), ids=one.vocabulary.size).numpy()
    expected = np.zeros_like(found)
    for source, target in one.edge_index.T:
        expected[source, one.ids[target]] = 1
    assert np.array_equal(found, expected) and found.any()


def test_the_loss_is_the_weighted_sum_of_its_parts(windows):
    batch = to_batch(windows)
    output = tiny(windows).eval()(batch)
    loss = vgae_loss(output, batch, VGAEWeights(identity=0.3, neighbours=0.2, divergence=0.1))
    parts = loss.terms
    expected = (
        parts["numbers"] + 0.3 * parts["identity"] + 0.2 * parts["neighbours"] + 0.1 * parts["divergence"]
    )
    torch.testing.assert_close(loss.total, expected)
    torch.testing.assert_close(parts["numbers"], (output.cont - batch.x[:, 1:]).square().mean())
    assert node_errors(output, batch).shape == (len(batch.x), 3)


def test_layers_that_are_computed_again_give_the_same_gradients(windows):
    batch, found = to_batch(windows), []
    for checkpointing in (False, True):
        model = tiny(windows, checkpointing=checkpointing)
        torch.manual_seed(3)
        vgae_loss(model(batch), batch, VGAEWeights()).total.backward()
        found.append([parameter.grad.clone() for parameter in model.parameters()])
    assert all(torch.equal(one, two) for one, two in zip(*found, strict=True))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ({"hidden": (8,)}, r"hidden \[8\] names no layer"),
        ({"hidden": (9, 8, 3)}, "2 heads do not divide 9 channels"),
    ],
    ids=["no layer", "heads"],
)
def test_what_cannot_be_built_is_one_sentence(windows, words, told):
    with pytest.raises(MechlabError, match=told):
        tiny(windows, **words)


def test_attacks_that_were_not_learned_score_higher(bus, graphs):
    normal = graphs(bus(seconds=8.0), attack="none")
    strange = graphs(bus(seconds=8.0, seed=9, attack="dos"), vocabulary=normal.vocabulary)
    model, batch = tiny(normal, hidden=(16, 16, 4)), to_batch(normal)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in itertools.repeat(None, 40):
        optimizer.zero_grad()
        vgae_loss(model(batch), batch, VGAEWeights()).total.backward()
        optimizer.step()
    model.eval()
    tested = to_batch(strange)
    scores = window_scores(model(tested), tested).detach().numpy()
    assert scores[strange.y == 1].mean() > scores[strange.y == 0].mean()
