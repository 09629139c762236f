"""A detector under the loop: one optimiser for student and projection, and a teacher that never moves."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from mechlab.train import scopes
from reproductions.can_ids.batching import to_batch
from reproductions.can_ids.config import GATConfig, VGAEConfig
from reproductions.can_ids.models import build
from reproductions.can_ids.system import Detector

VGAE_WORDS = {
    "hidden": (8, 8, 3),
    "heads": 2,
    "embedding": 3,
    "decoder_heads": 2,
    "epochs": 2,
    "batch_size": 4,
}
GAT_WORDS = {
    "hidden": 4,
    "layers": 2,
    "heads": 2,
    "embedding": 3,
    "epochs": 2,
    "batch_size": 4,
    "mode": "normal",
}


@pytest.fixture(scope="module")
def windows(bus, graphs):
    return graphs(bus(seconds=3.0, attack="dos"))


def configured(system, **words):
    return VGAEConfig(**(VGAE_WORDS | words)) if system == "vgae" else GATConfig(**(GAT_WORDS | words))


def bigger(system, windows):
    """A teacher of another size, whose batch normalisation has seen some batches."""
    words = {"hidden": (8, 8, 5)} if system == "vgae" else {"hidden": 6}
    model = build(configured(system, **words), ids=windows.vocabulary.size, seed=7)
    with torch.no_grad():
        model.train()(to_batch(windows))
    return model


def steps(detector, count=3):
    """Take some steps as the loop does; return the losses."""
    stage = detector.stage(0)
    scopes.apply(detector, stage)
    optimizer, losses = scopes.optimizer(detector, stage), []
    torch.manual_seed(11)
    for number in range(count):
        detector.train()
        optimizer.zero_grad(set_to_none=True)
        items = np.arange(4 * number, 4 * number + 4, dtype=np.float64).reshape(-1, 1, 1, 1)
        loss = detector.loss(torch.from_numpy(items), task=0)
        loss.total.backward()
        optimizer.step()
        losses.append(loss)
    return losses


def state(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def moved(module, before):
    return {name for name, value in module.state_dict().items() if not torch.equal(value, before[name])}


@pytest.mark.parametrize("system", ["vgae", "gat"])
def test_a_teacher_keeps_every_bit_also_its_running_statistics(windows, system):
    teacher = bigger(system, windows)
    detector = Detector(configured(system, distill="x"), windows, seed=0, teacher=teacher)
    before = state(detector.teacher)
    assert any("running_mean" in name for name in before) == (system == "vgae")
    steps(detector)
    assert moved(detector.teacher, before) == set()
    assert not detector.teacher.model.training and detector.model.training


def test_the_projection_moves_in_the_optimiser_of_the_student(windows):
    detector = Detector(configured("vgae", distill="x"), windows, seed=0, teacher=bigger("vgae", windows))
    before = state(detector.projection)
    steps(detector)
    assert moved(detector.projection, before) == {"weight", "bias"}
    assert {"projection.weight", "projection.bias"} <= set(detector.stage(0).groups[0].parameters)


@pytest.mark.parametrize("system", ["vgae", "gat"])
def test_without_a_teacher_it_is_plain_training_bit_for_bit(windows, system):
    config = configured(system)
    detector = Detector(config, windows, seed=0)
    steps(detector)
    torch.manual_seed(5)  # what was drawn before must not matter
    model = build(config, ids=windows.vocabulary.size, seed=0).train()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    torch.manual_seed(11)
    for number in range(3):
        optimizer.zero_grad()
        batch = to_batch(windows.span(4 * number, 4 * number + 4))
        plain_loss(model(batch), batch, config).backward()
        optimizer.step()
    own = model.state_dict()
    assert all(torch.equal(value, own[name]) for name, value in detector.model.state_dict().items())


def plain_loss(output, batch, config):
    if isinstance(config, GATConfig):
        return functional.cross_entropy(output.logits, batch.y)
    wanted = torch.zeros_like(output.neighbour_logits)
    wanted[batch.edge_index[0], batch.ids[batch.edge_index[1]]] = 1
    numbers = (output.cont - batch.x[:, 1:]).square().mean(dim=1).mean()
    identity = functional.cross_entropy(output.id_logits, batch.ids, reduction="none").mean()
    follow = functional.binary_cross_entropy_with_logits(output.neighbour_logits, wanted, reduction="none")
    return numbers + 0.1 * identity + 0.05 * follow.mean(dim=1).mean() + 0.01 * output.kl


@pytest.mark.parametrize("system", ["vgae", "gat"])
def test_a_distilled_student_begins_as_one_that_is_not(windows, system):
    alone = Detector(configured(system), windows, seed=3)
    taught = Detector(configured(system, distill="x"), windows, seed=3, teacher=bigger(system, windows))
    own = alone.model.state_dict()
    assert all(torch.equal(value, own[name]) for name, value in taught.model.state_dict().items())
    (with_teacher,), (without,) = steps(taught, count=1), steps(alone, count=1)
    assert torch.equal(with_teacher.terms["task_loss"], without.total)  # the same dropout too


@pytest.mark.parametrize(
    ("system", "words", "terms"),
    [
        ("gat", {}, {"kd_loss", "task_loss", "train_loss"}),
        ("vgae", {}, {"kd_loss", "kd_latent_loss", "kd_recon_loss", "task_loss", "train_loss"}),
        ("vgae", {"latent_weight": 0.0}, {"kd_loss", "kd_recon_loss", "task_loss", "train_loss"}),
        ("vgae", {"reconstruction_weight": 0.0}, {"kd_loss", "kd_latent_loss", "task_loss", "train_loss"}),
    ],
    ids=["gat", "both", "no latent", "no reconstruction"],
)
def test_the_log_names_what_the_notes_name(windows, system, words, terms):
    detector = Detector(
        configured(system, distill="x", **words), windows, seed=0, teacher=bigger(system, windows)
    )
    (loss,) = steps(detector, count=1)
    assert {name for name in loss.terms if name.endswith("loss")} == terms
    assert hasattr(detector, "projection") == (system == "vgae" and words.get("latent_weight") != 0.0)
    alpha = detector.config.alpha
    expected = alpha * loss.terms["kd_loss"] + (1 - alpha) * loss.terms["task_loss"]
    torch.testing.assert_close(loss.total, expected)


def test_a_student_comes_closer_to_what_its_teacher_says(windows):
    teacher = bigger("gat", windows)
    distances = {}
    for alpha in (0.01, 1.0):
        config = configured("gat", distill="x", alpha=alpha, learning_rate=1e-2, dropout=0.0)
        detector = Detector(config, windows, seed=0, teacher=teacher)
        for _ in range(8):
            steps(detector)
        batch = to_batch(windows)
        with torch.no_grad():
            said, told = detector.eval().model(batch).logits, teacher(batch).logits
        distances[alpha] = float((said.softmax(1) - told.softmax(1)).abs().mean())
    assert distances[1.0] < 0.5 * distances[0.01]


def test_half_precision_changes_little_and_losses_stay_whole(windows):
    found = [
        steps(Detector(configured("vgae", amp=amp, dropout=0.0), windows, seed=0), count=1)[0].total
        for amp in (False, True)
    ]
    assert found[1].dtype == torch.float32
    found = [one.detach() for one in found]
    assert not torch.equal(*found)
    assert float(found[1]) == pytest.approx(float(found[0]), rel=0.02)
