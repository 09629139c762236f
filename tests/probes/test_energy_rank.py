import numpy as np
import pytest
from scipy.stats import binom, ortho_group

from mechlab.errors import MechlabError
from mechlab.result import Evidence
from probes import energy_rank as probe

SHAPE = (24, 16)


def low_rank(rng, *, rank, noise=0.0):
    product = rng.standard_normal((SHAPE[0], rank)) @ rng.standard_normal((rank, SHAPE[1]))
    return product + noise * rng.standard_normal(SHAPE)


@pytest.fixture
def measured(record, trained):
    def measure(*deltas, stage=1, seed=0, name="run", weights=()):
        axes, coordinates = ("stage", "fan_out", "fan_in"), {"stage": np.array([stage], np.int32)}
        quantities = [
            (f"weight_delta/flow.{at}.subnet.s1.base", delta[None], axes, coordinates)
            for at, delta in enumerate(deltas)
        ]
        quantities += [
            (f"weight_delta/flow.{at}.subnet.s1.base.bias", delta[None, :, 0], axes[:2], coordinates)
            for at, delta in enumerate(deltas)
        ]
        quantities += [
            (f"weight/flow.{at}.subnet.s1.base", weight[None], axes, coordinates)
            for at, weight in enumerate(weights)
        ]
        tasks = (("gear",), ("weave",))
        return probe.measure(record(quantities, train=trained(tasks, seed=seed), name=name))

    return measure


def evidence(ratios, *, seeds=None):
    n = len(ratios)
    return Evidence(
        probe="energy_rank",
        replication="seed",
        columns={
            "seed": tuple(seeds or range(n)),
            "ratio": tuple(float(ratio) for ratio in ratios),
            "null_low": (0.98,) * n,
            "null_high": (1.02,) * n,
        },
        details={"layers": (), "spectrum": ()},
    )


def test_a_change_in_two_equal_directions_has_the_ratio_two_over_chance():
    delta = np.zeros(SHAPE)
    delta[0, 0] = delta[1, 1] = 3.0
    chance = np.mean(probe.random_ranks(SHAPE, 0.95))
    assert probe.rank_ratio(delta, energy=0.95) == pytest.approx(2 / chance)


def test_a_random_change_has_a_ratio_of_about_one(rng):
    ratios = [probe.rank_ratio(rng.standard_normal(SHAPE), energy=0.95) for _ in range(20)]
    assert np.mean(ratios) == pytest.approx(1.0, abs=0.03)


def test_neither_scale_nor_rotation_matters(rng):
    delta = low_rank(rng, rank=3, noise=0.1)
    turned = (
        1e-4 * ortho_group.rvs(SHAPE[0], random_state=1) @ delta @ ortho_group.rvs(SHAPE[1], random_state=2)
    )
    assert probe.rank_ratio(delta, energy=0.95) == probe.rank_ratio(turned, energy=0.95)


def test_layers_are_averaged_to_one_row_a_training(measured, rng):
    deltas = [low_rank(rng, rank=1), rng.standard_normal(SHAPE), np.zeros(SHAPE)]
    found = measured(*deltas, seed=4)
    expected = [probe.rank_ratio(delta, energy=0.95) for delta in deltas[:2]]
    assert found.columns["seed"] == (4,)
    assert found.column("ratio")[0] == pytest.approx(np.mean(expected))
    assert [row["layer"] for row in found.details["layers"]] == [
        "flow.0.subnet.s1.base",
        "flow.1.subnet.s1.base",
    ]
    assert found.columns["null_low"][0] < 1 < found.columns["null_high"][0]


def test_the_change_is_set_against_the_weight_before_it(measured, rng):
    before, delta = rng.standard_normal(SHAPE), rng.standard_normal(SHAPE)
    delta *= 0.1 * np.linalg.norm(before) / np.linalg.norm(delta)
    found = measured(delta, weights=[before + delta])
    assert found.details["layers"][0]["relative_change"] == pytest.approx(0.1)


def test_a_change_in_half_precision_is_measured_without_its_scale(record, trained, rng):
    before, delta = rng.standard_normal(SHAPE), 1e-9 * rng.standard_normal(SHAPE)
    axes, after = ("stage", "fan_out", "fan_in"), {"stage": np.array([1], np.int32)}
    power = 2.0**40
    half = (delta * power).astype(np.float16)
    quantities = [
        ("weight_delta/flow.0.base", half[None], axes, after | {"scale": np.array([power])}),
        ("weight/flow.0.base", (before + delta)[None], axes, after),
    ]
    found = probe.measure(record(quantities, train=trained((("gear",), ("weave",)), seed=0), name="run"))
    expected = np.linalg.norm(delta) / np.linalg.norm(before)
    assert found.details["layers"][0]["relative_change"] == pytest.approx(expected, rel=1e-3)


def test_a_planted_low_rank_change_is_found(measured, rng):
    parts = [
        measured(low_rank(rng, rank=2, noise=0.02), low_rank(rng, rank=3), seed=seed, name=f"run-{seed}")
        for seed in range(6)
    ]
    result = probe.judge(Evidence.joined(parts))
    assert result.verdict == "supported"
    assert result.interval[1] < 0.5 < result.null.interval[0]
    assert [row["p_holm"] < 0.05 for row in result.tables["layers"]] == [True, True]
    assert result.tables["layers"][1]["rank"] <= 3


def test_a_change_without_structure_is_refuted(measured, rng, tmp_path):
    parts = [measured(rng.standard_normal(SHAPE), seed=seed, name=f"run-{seed}") for seed in range(6)]
    result = probe.judge(Evidence.joined(parts))
    assert result.verdict == "refuted"
    assert result.null.interval[0] <= result.effect <= result.null.interval[1]
    assert result.tables["layers"][0]["p_holm"] > 0.9
    result.save(tmp_path / "result.json")


def test_a_ratio_at_the_threshold_is_decided_no_more_often_than_one_time_in_twenty():
    rng, repeats = np.random.default_rng(4), 100
    draws = 0.5 + 0.1 * rng.standard_normal((repeats, 6))
    decided = sum(probe.judge(evidence(values)).verdict != "undecided" for values in draws)
    assert decided <= binom.ppf(0.999, repeats, 0.05)


def test_layers_of_one_run_are_no_replicates(measured, rng):
    result = probe.judge(measured(*(low_rank(rng, rank=1) for _ in range(8))))
    assert (result.verdict, result.n, result.n_to_decide) == ("undecided", 1, 6)
    assert result.tables["layers"][0]["p_holm"] == 1.0


def test_the_same_seed_twice_is_one_replicate():
    assert probe.judge(evidence([0.1, 0.3] * 3, seeds=[0, 1, 2] * 2)).n == 3


def test_the_planned_rule_is_the_rule_that_is_used():
    plan = probe.plan()
    result = probe.judge(evidence(np.linspace(0.1, 0.2, 6)))
    assert (result.decision_rule, result.thresholds) == (plan.decision_rule, plan.thresholds)
    assert plan.seeds == plan.n == 6


def test_a_recording_of_the_first_task_is_refused(measured, rng):
    with pytest.raises(MechlabError, match="recorded after the first task, before any fine-tuning"):
        measured(rng.standard_normal(SHAPE), stage=0)


def test_a_frozen_base_is_refused(measured):
    with pytest.raises(
        MechlabError, match=r"no weight under .* moved in 'run'; record a run whose base is trained"
    ):
        measured(np.zeros(SHAPE))


def test_a_recording_without_weight_changes_is_refused(measured):
    with pytest.raises(MechlabError, match="'run' has no matrices under"):
        measured(weights=[np.ones(SHAPE)])
