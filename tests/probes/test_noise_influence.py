import numpy as np
import pytest
from scipy.stats import binom

from mechlab.errors import MechlabError
from mechlab.result import Evidence
from probes import noise_influence as probe

IMAGES, PLACES, DIM = 14, 24, 10
ENDS = (0.01, 0.3)
LEVELS = ("noise.0.layer1", "noise.0.layer2")


def signals(rng):
    """Influence and distance of places, as a bank might give them."""
    distance = rng.gamma(3.0, 1.0, (IMAGES, PLACES, 1))
    return distance * rng.gamma(2.0, 1.0, (IMAGES, PLACES, DIM)), distance


def adaptive(influence, distance, *, channel=1.0, far=1.0):
    """The std of the first generation, written down once more."""
    weighted = influence * channel
    own = (weighted - weighted.mean(-1, keepdims=True)) / (weighted.std(-1, ddof=1, keepdims=True) + 1e-8)
    away = (distance - distance.mean()) / distance.std()
    return ENDS[0] + (ENDS[1] - ENDS[0]) / (1 + np.exp(-(own + far * away)))


@pytest.fixture
def measured(record, make_items, trained, rng):
    def measure(std=adaptive, *, seed=0, name="run", trace=None, without=(), more=(), **parts):
        n = np.zeros(IMAGES, np.int32)
        where = {"item": np.arange(IMAGES), "stage": n, "adapter": n}
        axes, quantities = ("item", "draw", "dim"), []
        for level in LEVELS:
            influence, distance = signals(rng)
            values = {"influence": influence, "distance": distance, "std": std(influence, distance),
                      "start": adaptive(influence, distance)}  # fmt: skip
            quantities += [(f"activation_subsample/{level}.{role}", value, axes, where)
                           for role, value in values.items() if role not in without]  # fmt: skip
        after = {"stage": np.zeros(1, np.int32)}
        rows = np.array([[2, 0.3, 2.0, 2.0], [2, 0.2, 1.0, 3.0], [0, 0, 0, 0]]) if trace is None else trace
        quantities.append((f"weight/{LEVELS[0]}.trace", rows[None], ("stage", "fan_out", "fan_in"), after))
        train = trained(seed=seed, **parts) | {"system": "rd-noising"}
        items = make_items(IMAGES, split="train")
        return probe.measure(record([*quantities, *more], items=items, train=train, name=name))

    return measure


def evidence(values, *, seeds=None, kind="adaptive"):
    n = len(values)
    columns = {name: tuple(float(value) for value in values)
               for name in ("smaller", "far", "own", "start", "last")}  # fmt: skip
    level = {"level": "noise.0.layer1", "far": 0.5, "own": 0.5, "null_far": 0.0, "null_own": 0.0,
             "start": 0.1, "last": 0.1, "start_share": 0.5, "last_share": 0.4}  # fmt: skip
    return Evidence(
        probe="noise_influence",
        replication="seed",
        columns={"seed": tuple(seeds or range(n)), "null": (0.0,) * n} | columns,
        facts={"kind": kind, "source": "features"},
        details={"levels": ({"seed": 0} | level,), "tenths": (), "epochs": (), "drift": ()},
    )


def test_an_std_that_is_the_distance_times_the_influence_has_correlations_of_one(measured):
    found = measured(lambda influence, distance: distance + 1e-6 * influence / influence.max())
    assert found.column("far")[0] == pytest.approx(1.0)
    assert found.column("own")[0] == pytest.approx(1.0)
    assert found.column("smaller")[0] == pytest.approx(1.0)
    for level in found.details["levels"]:
        assert abs(level["null_far"]) < 0.25 and abs(level["null_own"]) < 0.1


def test_the_smaller_of_both_correlations_counts(measured):
    found = measured(lambda influence, distance: distance - 1e-6 * influence / influence.max())
    assert (found.column("far")[0], found.column("own")[0]) == pytest.approx((1.0, -1.0))
    assert found.column("smaller")[0] == pytest.approx(-1.0)


def test_range_and_scale_of_the_std_do_not_matter(record, make_items, trained):
    def of(scale):
        rng = np.random.default_rng(5)
        n = np.zeros(IMAGES, np.int32)
        influence, distance = signals(rng)
        std = scale(adaptive(influence, distance))
        parts = {"influence": influence, "distance": distance, "std": std, "start": std}
        where = {"item": np.arange(IMAGES), "stage": n, "adapter": n}
        quantities = [(f"activation_subsample/noise.0.layer1.{role}", value, ("item", "draw", "dim"), where)
                      for role, value in parts.items()]  # fmt: skip
        train = trained() | {"system": "rd-noising"}
        name = f"run-{scale(1.0)}"
        return probe.measure(record(quantities, items=make_items(IMAGES), train=train, name=name))

    one, other = of(lambda std: std), of(lambda std: 40 * std + 3)
    assert one.column("smaller")[0] == pytest.approx(other.column("smaller")[0])


def test_the_share_of_the_range_and_the_course_are_told(measured):
    found = measured(lambda influence, distance: np.full_like(influence, ENDS[0]))
    level = found.details["levels"][0]
    assert level["last_share"] == pytest.approx(0.0, abs=1e-9) and 0.3 < level["start_share"] < 0.7
    epochs = found.details["epochs"]
    assert [(row["epoch"], row["std"]) for row in epochs] == [(0, 0.15), (1, 0.1)]
    assert epochs[1]["distance_weight"] == 1.5
    result = probe.judge(Evidence.joined([found, measured(seed=1, name="other")]))
    assert "of its range" in result.reason and result.tables["epochs"][0]["mean"] == pytest.approx(0.15)


def test_tenths_rise_where_noise_follows_and_stay_at_one_where_it_does_not(measured):
    follows = measured().details["tenths"]
    flat = measured(lambda influence, distance: np.full_like(influence, 0.1), name="flat").details["tenths"]
    for over in ("distance", "influence"):
        ratios = [row["ratio"] for row in follows if row["over"] == over and row["level"] == LEVELS[0]]
        assert len(ratios) == 10 and ratios[-1] > 1.2 > 0.9 > ratios[0]
        assert [row["ratio"] for row in flat if row["over"] == over] == pytest.approx([1.0] * 20)


def test_noise_that_follows_is_found(measured):
    parts = [measured(seed=seed, name=f"run-{seed}") for seed in range(6)]
    result = probe.judge(Evidence.joined(parts))
    assert result.verdict == "supported"
    assert result.interval[0] > 0.3 > result.null.interval[1]
    assert {row["level"] for row in result.tables["levels"]} == set(LEVELS)


@pytest.mark.parametrize("kind", ["isotropic", "shuffled", "turned round"])
def test_noise_that_does_not_follow_is_refuted(measured, rng, tmp_path, kind):
    def std(influence, distance):
        values = adaptive(influence, distance, far=-1.0 if kind == "turned round" else 1.0)
        if kind == "isotropic":
            return np.full_like(values, values.mean())
        if kind == "shuffled":
            values = values[:, rng.permutation(PLACES)][:, :, rng.permutation(DIM)]
        return values

    result = probe.judge(Evidence.joined([measured(std, seed=seed, name=f"run-{seed}") for seed in range(6)]))
    assert result.verdict == "refuted"
    assert result.interval[1] < 0.3
    result.save(tmp_path / "result.json")


def test_a_correlation_at_the_threshold_is_decided_no_more_often_than_one_time_in_twenty():
    rng, repeats = np.random.default_rng(4), 100
    draws = 0.3 + 0.1 * rng.standard_normal((repeats, 6))
    decided = sum(probe.judge(evidence(values)).verdict != "undecided" for values in draws)
    assert decided <= binom.ppf(0.999, repeats, 0.05)


def test_images_and_levels_of_one_training_are_no_replicates(measured):
    result = probe.judge(measured())
    assert (result.verdict, result.n, result.n_to_decide) == ("undecided", 1, 6)
    assert probe.judge(evidence([0.4, 0.5] * 3, seeds=[0, 1, 2] * 2)).n == 3


def test_a_bank_that_turned_away_has_drifted_and_one_that_was_turned_has_not(measured, rng):
    after, axes = {"stage": np.zeros(1, np.int32)}, ("stage", "fan_out", "fan_in")
    bank = rng.standard_normal((20, 6))
    turned = bank @ np.linalg.qr(rng.standard_normal((6, 6))).Q
    for last, low, high in ((turned, 0.99, 1.01), (rng.standard_normal((20, 6)), -0.5, 0.5)):
        pair = [("weight/noise.0.embedding.bank", bank[None], axes, after),
                ("weight/drift.0.last", last[None], axes, after)]  # fmt: skip
        (row,) = measured(more=pair, name=f"run-{high}").details["drift"]
        assert low < row["cka"] < high and abs(row["null"]) < 0.5 and row["images"] == 20
    pair = [(key, values[:, :3], axes, after) for key, values, _, _ in pair]
    (row,) = measured(more=pair, name="few").details["drift"]
    assert row["cka"] is None and row["images"] == 3
    with pytest.raises(MechlabError, match="without the bank of task 0; record both"):
        measured(more=pair[1:], name="alone")


def test_the_planned_rule_is_the_rule_that_is_used():
    plan = probe.plan()
    result = probe.judge(evidence(np.linspace(0.1, 0.2, 6)))
    assert (result.decision_rule, result.thresholds) == (plan.decision_rule, plan.thresholds)
    assert plan.seeds == plan.n == 6


def test_a_recording_without_noise_or_without_a_role_is_refused(measured):
    with pytest.raises(MechlabError, match=r"holds no std of a noise .*record a run of rd-noising whose"):
        measured(without=("std",))
    with pytest.raises(
        MechlabError, match=r"holds the std of 'noise.0.layer1' without its distance; record it"
    ):
        measured(without=("distance",), name="other")


def test_too_few_places_are_refused(record, make_items, trained, rng):
    where = {"item": np.arange(4), "adapter": np.zeros(4, np.int32)}
    quantities = [(f"activation_subsample/noise.0.embedding.{role}", rng.random((4, 4, 3)),
                   ("item", "draw", "dim"), where) for role in probe.MAPS]  # fmt: skip
    found = record(quantities, items=make_items(4), train=trained() | {"system": "rd-noising"})
    with pytest.raises(MechlabError, match=r"'noise.0.embedding' of 'run': 4 values make no tenths.*larger"):
        probe.measure(found)


def test_several_kinds_of_noise_at_once_are_refused(measured):
    parts = [measured(), measured(seed=1, name="other", noise_kind="shuffled")]
    with pytest.raises(MechlabError, match=r"whose kind differs \(adaptive, shuffled\); probe those of one"):
        probe.judge(Evidence.joined(parts))
