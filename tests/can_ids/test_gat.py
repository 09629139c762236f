"""The graph attention network: sizes, jumping knowledge, what it must and must not depend on."""

import numpy as np
import pytest
import torch
from torch.nn import functional

import mechlab
from mechlab import recording
from reproductions.can_ids.batching import to_batch
from reproductions.can_ids.gat import GAT

LARGE = {"hidden": 48, "layers": 3, "heads": 8, "embedding": 16, "dropout": 0.1, "linear": 1}
SMALL = {"hidden": 24, "layers": 2, "heads": 4, "embedding": 8, "dropout": 0.1, "linear": 2}
TINY = {"hidden": 4, "layers": 2, "heads": 2, "embedding": 3, "dropout": 0.0, "linear": 2}


def tiny(windows, **words):
    torch.manual_seed(0)
    return GAT(ids=windows.vocabulary.size, **(TINY | words))


@pytest.fixture(scope="module")
def windows(bus, graphs):
    return graphs(bus(seconds=2.0, attack="dos"))


@pytest.mark.parametrize(("sizes", "count"), [(LARGE, 311_458), (SMALL, 49_362)], ids=["teacher", "student"])
def test_sizes_are_those_of_the_public_code_at_50_ids(sizes, count):
    assert sum(parameter.numel() for parameter in GAT(ids=50, **sizes).parameters()) == count


@pytest.mark.parametrize("jumping", ["cat", "lstm"])
@pytest.mark.parametrize("conv", ["gat", "gatv2", "transformer"])
def test_gradients_reach_every_parameter(windows, jumping, conv):
    batch, model = to_batch(windows), tiny(windows, jumping=jumping, conv=conv)
    functional.cross_entropy(model(batch).logits, batch.y).backward()
    assert [name for name, value in model.named_parameters() if value.grad is None] == []


@pytest.mark.parametrize("jumping", ["cat", "lstm"])
def test_what_is_read_is_as_wide_as_all_layers_or_as_one(windows, jumping):
    pooled = tiny(windows, jumping=jumping, layers=3)(to_batch(windows)).pooled
    assert pooled.shape == (len(windows), 8 * (3 if jumping == "cat" else 1))


def test_a_window_is_judged_as_it_would_be_alone(windows):
    model = tiny(windows).eval()
    together = model(to_batch(windows)).logits
    for number in range(len(windows)):
        alone = model(to_batch(windows.span(number, number + 1))).logits
        torch.testing.assert_close(alone[0], together[number])


def test_any_layer_is_recorded_with_nodes_as_rows(windows, tmp_path):
    model, batch = tiny(windows).eval(), to_batch(windows)
    plan = [{"site": "layers.0", "quantity": "activation"}, {"site": "read.*", "quantity": "activation"}]
    with mechlab.record(model, plan, tmp_path / "recording"):
        logits = model(batch).logits
    with recording.open(tmp_path / "recording") as found:
        assert found["activation/layers.0"].shape == (len(batch.x), 8)
        assert np.array_equal(found["activation/read.3"].read(), logits.detach().numpy())


@pytest.mark.parametrize("conv", ["gat", "gatv2", "transformer"])
def test_edge_features_matter_to_the_layers_that_read_them_alone(windows, conv):
    model, batch, other = tiny(windows, conv=conv).eval(), to_batch(windows), to_batch(windows)
    other.edge_attr = other.edge_attr + 1.0
    assert torch.equal(model(batch).logits, model(other).logits) == (conv == "gat")


def test_a_planted_attack_is_learned_and_shuffled_labels_are_not(bus, graphs):
    seen, tested = (graphs(bus(seconds=6.0, seed=seed, attack="dos")) for seed in (0, 1))
    draw = torch.Generator().manual_seed(4)
    right = {}
    for name in ("planted", "shuffled"):
        model, batch = tiny(seen), to_batch(seen)
        labels = batch.y if name == "planted" else batch.y[torch.randperm(len(batch.y), generator=draw)]
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        for _ in range(60):
            optimizer.zero_grad()
            functional.cross_entropy(model(batch).logits, labels).backward()
            optimizer.step()
        model.eval()
        others = to_batch(tested)
        decided = model(others).logits.argmax(dim=1) == 1
        hits, misses = decided[others.y == 1].float().mean(), decided[others.y == 0].float().mean()
        right[name] = float(hits - misses)
    assert right["planted"] > 0.9
    assert right["shuffled"] < 0.5
