import numpy as np
import pytest
from scipy.stats import binom

from mechlab.errors import MechlabError
from mechlab.result import Evidence
from mechlab.stats.tail import TailLoss, tail_of
from probes import tail_training as probe

GRID = (6, 6)  # 36 patches, 3 in the tail
TAIL = "tail:0.7:0.1"


def contributions(name, steepness, scores):
    """Row contributions of patches with a steepness of their own, none of which acts on another."""
    loss = TailLoss.named(name)
    tails = np.stack([tail_of(score, ratio=0.1) for score in scores])
    return steepness * ((1 - loss.weight) / 36 + loss.weight * tails / 3)


@pytest.fixture
def measured(record, make_items, trained):
    def measure(steepness, scores, *, weight, seed=0, losses=("mean", TAIL), name="run", ratio=0.1):
        images = {"item": np.arange(len(scores)), "stage": np.zeros(len(scores), np.int32)}
        axes = ("item", "row", "column")
        quantities = [("score/patch", scores, axes, images)]
        for loss in losses:
            values = contributions(loss, steepness, scores)
            quantities.append(
                ("row_contribution/total", values, axes, images | {"loss": np.array([loss] * len(scores))})
            )
        train = trained(seed=seed, tail_weight=weight, tail_ratio=ratio)
        return probe.measure(record(quantities, items=make_items(len(scores)), train=train, name=name))

    return measure


def evidence(without, with_tail):
    n = len(without)
    values = tuple(float(value) for value in (*without, *with_tail))
    return Evidence(
        probe="tail_training",
        replication="seed",
        columns={
            "seed": tuple(range(n)) * 2,
            "weight": (0.0,) * n + (0.7,) * n,
            "own_loss": values,
            "mean_loss": values,
            "images": (20,) * (2 * n),
        },
    )


def test_a_tail_patch_three_times_as_steep_has_a_log_steepness_of_log_three(rng):
    scores = rng.standard_normal((1, *GRID))
    tail = tail_of(scores[0], ratio=0.1)
    for name in ("mean", TAIL, "tail:0.3:0.1"):
        values = contributions(name, 1.0 + 2.0 * tail, scores)[0]
        found = probe.log_steepness(values, tail, weight=TailLoss.named(name).weight)
        assert found == pytest.approx(np.log(3))


def test_scale_does_not_matter(rng):
    values = rng.uniform(0.5, 2, GRID)
    tail = tail_of(values, ratio=0.1)
    one, other = (probe.log_steepness(scale * values, tail, weight=0.7) for scale in (1.0, 1e-6))
    assert one == pytest.approx(other)


@pytest.mark.parametrize("weight", [1.0, -0.1])
def test_a_weight_that_leaves_other_patches_nothing_is_refused(weight):
    with pytest.raises(ValueError, match="weight of the tail must lie from 0 up to, not at, 1"):
        probe.log_steepness(np.ones(GRID), np.eye(6, dtype=bool), weight=weight)


def test_a_tail_with_all_of_the_gradient_has_no_odds():
    tail = np.eye(6, dtype=bool)
    with pytest.raises(ValueError, match="the tail holds 1 of the gradient"):
        probe.log_steepness(tail * 1.0, tail, weight=0.5)


def test_each_training_is_measured_under_its_own_loss(measured, rng):
    scores = rng.standard_normal((4, *GRID))
    tails = np.stack([tail_of(score, ratio=0.1) for score in scores])
    without = measured(1.0 + tails, scores, weight=0.0, name="a")
    with_tail = measured(1.0 + 3.0 * tails, scores, weight=0.7, seed=1, name="b")
    assert without.columns["weight"] == (0.0,) and with_tail.columns["weight"] == (0.7,)
    assert without.column("own_loss")[0] == pytest.approx(np.log(2))
    assert with_tail.column("own_loss")[0] == pytest.approx(np.log(4))
    assert with_tail.column("mean_loss")[0] == pytest.approx(np.log(4))
    assert (with_tail.columns["seed"], with_tail.columns["images"]) == ((1,), (4,))


def test_a_difference_between_trainings_is_found(rng):
    base = 0.5 + 0.1 * rng.standard_normal(6)
    result = probe.judge(evidence(base, base + 0.6 + 0.05 * rng.standard_normal(6)))
    assert result.verdict == "supported"
    assert result.effect == pytest.approx(0.6, abs=0.1)
    assert [row["seed"] for row in result.tables["pairs"]] == list(range(6))


def test_trainings_that_do_not_differ_are_refuted(rng):
    base = 0.5 + 0.3 * rng.standard_normal(6)  # seeds differ, pairs do not
    result = probe.judge(evidence(base, base + 0.02 * rng.standard_normal(6)))
    assert result.verdict == "refuted"
    assert result.interval[0] < result.null.value < result.interval[1]


def test_pairs_are_matched_by_seed_whatever_their_order(rng):
    without, with_tail = rng.standard_normal(6), rng.standard_normal(6)
    found = evidence(without, with_tail)
    order = rng.permutation(12)
    shuffled = Evidence(
        probe=found.probe,
        replication="seed",
        columns={name: tuple(column[i] for i in order) for name, column in found.columns.items()},
    )
    assert probe.judge(found).tables == probe.judge(shuffled).tables


def test_a_difference_at_the_threshold_is_decided_no_more_often_than_one_time_in_twenty():
    rng, repeats = np.random.default_rng(3), 100
    draws = np.log(1.2) + rng.standard_normal((repeats, 6))
    decided = sum(probe.judge(evidence(np.zeros(6), values)).verdict != "undecided" for values in draws)
    assert decided <= binom.ppf(0.999, repeats, 0.05)


def test_trainings_of_one_arm_alone_decide_nothing():
    result = probe.judge(evidence([], []))
    assert (result.verdict, result.n, result.n_to_decide) == ("undecided", 0, 6)
    one_arm = Evidence(
        probe="tail_training",
        replication="seed",
        columns={"seed": (0, 1), "weight": (0.7, 0.7), "own_loss": (1.0, 1.0), "mean_loss": (1.0, 1.0)},
    )
    result = probe.judge(one_arm)
    assert (result.verdict, result.n, result.n_to_decide) == ("undecided", 0, 6)
    assert result.reason == "no seed has a training with and one without the tail loss"


def test_the_planned_arms_differ_in_one_key():
    plan = probe.plan()
    first, second = (arm.settings for arm in plan.arms)
    assert first.keys() == second.keys() == {"tail_weight"}
    assert plan.arms[0].preset == plan.arms[1].preset
    assert probe.judge(evidence(np.zeros(6), np.arange(6.0))).decision_rule == plan.decision_rule


def test_several_tail_weights_do_not_mix():
    mixed = Evidence(
        probe="tail_training",
        replication="seed",
        columns={
            "seed": (0, 0, 0),
            "weight": (0.0, 0.3, 0.7),
            "own_loss": (1.0,) * 3,
            "mean_loss": (1.0,) * 3,
        },
    )
    with pytest.raises(MechlabError, match=r"tail weights 0\.3, 0\.7; compare one of them with weight 0"):
        probe.judge(mixed)


@pytest.mark.parametrize(("losses", "ratio"), [(("mean",), 0.1), ((TAIL,), 0.1), (("mean", TAIL), 0.2)])
def test_a_recording_without_the_training_s_loss_is_refused(measured, rng, losses, ratio):
    with pytest.raises(
        MechlabError, match=r"trained with a tail of weight 0.7; record 'mean' and the training's own"
    ):
        measured(np.ones((3, *GRID)), rng.standard_normal((3, *GRID)), weight=0.7, losses=losses, ratio=ratio)


def test_a_dead_gradient_is_refused(measured, rng):
    with pytest.raises(MechlabError, match=r"'embedded:gear/0' in 'run' under '.*': a share needs"):
        measured(np.zeros((3, *GRID)), rng.standard_normal((3, *GRID)), weight=0.0)
