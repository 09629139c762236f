import numpy as np
import pytest
from scipy.stats import binom

from mechlab.errors import MechlabError
from mechlab.result import Evidence
from probes import coreset_coverage as probe

MAPS = ("item", "row", "column")


@pytest.fixture
def measured(record, make_items, trained):
    def measure(maps, *, split="train", defective=0, seed=0, name="run", scores=None, masks=None, **parts):
        count = len(maps)
        where = {
            "item": np.arange(count),
            "stage": np.zeros(count, np.int32),
            "adapter": np.zeros(count, np.int32),
        }
        quantities = [("activation/bank.0.distance", maps, MAPS, where)]
        if scores is not None:
            quantities += [
                ("score/image", scores, ("item",), where),
                ("score/patch", maps, MAPS, where),
                ("score/mask", masks, ("item", "height", "width"), where),
            ]
        train = trained(seed=seed, **parts) | {"system": "patchcore"}
        items = make_items(count, defective=defective, split=split)
        return probe.measure(record(quantities, items=items, train=train, name=name))

    return measure


def evidence(greedy, random, *, ratio=0.01, metric=None):
    """Radii of one class a seed; with `metric` also an image AUROC of every bank."""
    rows = [
        (seed, ratio, coreset, "gear", "radius", float(value))
        for coreset, values in (("greedy", greedy), ("random", random))
        for seed, value in enumerate(values)
    ]
    if metric is not None:
        rows += [(*row[:4], "image_auroc", metric(row[5])) for row in rows]
    columns = {name: tuple(row[at] for row in rows) for at, name in enumerate(probe.COLUMNS)}
    return Evidence(probe="coreset_coverage", replication="seed", columns=columns)


def cell(found, kind):
    return [
        value
        for name, value in zip(found.columns["quantity"], found.columns["value"], strict=True)
        if name == kind
    ]


def test_the_covering_radius_is_the_largest_distance_of_a_training_patch(measured):
    maps = np.full((5, 3, 4), 0.5)
    maps[3, 1, 2] = 7.25
    found = measured(maps, ratio=0.1, coreset="random", seed=4)
    assert cell(found, "radius") == [7.25] and len(found) == 1
    assert (found.columns["seed"], found.columns["ratio"], found.columns["coreset"]) == (
        (4,),
        (0.1,),
        ("random",),
    )


def test_keys_that_a_run_leaves_at_their_default_are_read_as_that(measured):
    found = measured(np.ones((2, 2, 2)))
    assert (found.columns["ratio"], found.columns["coreset"]) == ((0.01,), ("greedy",))


def test_of_a_test_split_normal_images_give_the_radius_and_all_give_the_metrics(measured):
    maps = np.zeros((4, 8, 8))
    maps[1, 0, 0] = 9.5
    maps[2:, 4, 4] = 20.0  # defective: no part of the radius
    masks = np.zeros((4, 32, 32), bool)
    masks[2:, 12:24, 12:24] = True
    found = measured(maps, split="test", defective=2, scores=maps.max(axis=(1, 2)), masks=masks)
    assert cell(found, "test_radius") == [9.5] and cell(found, "radius") == []
    assert cell(found, "image_auroc") == [1.0]
    assert 0.9 < cell(found, "pixel_auroc")[0] < 1.0


def test_the_quotient_is_a_mean_over_classes_and_scale_does_not_matter():
    greedy, random = {"a": 1.0, "b": 3.0}, {"a": 2.0, "b": 4.0}
    assert probe.covering_quotient(greedy, random) == pytest.approx((0.5 + 0.75) / 2)
    larger = ({name: 10 * value for name, value in side.items()} for side in (greedy, random))
    assert probe.covering_quotient(*larger) == pytest.approx(0.625)


@pytest.mark.parametrize(
    ("greedy", "random", "sentence"),
    [
        ({"a": 1.0}, {"b": 1.0}, "radii of a and of b"),
        ({}, {}, "radii of nothing"),
        ({"a": 1.0}, {"a": 0.0}, "radius of 0"),
    ],
)
def test_radii_that_have_no_quotient_are_refused(greedy, random, sentence):
    with pytest.raises(ValueError, match=sentence):
        probe.covering_quotient(greedy, random)


def test_a_bank_that_covers_by_a_third_better_is_found(rng):
    random = 6.0 + 0.2 * rng.standard_normal(6)
    result = probe.judge(evidence(0.65 * random + 0.05 * rng.standard_normal(6), random))
    assert (result.verdict, result.n) == ("supported", 6)
    assert result.effect == pytest.approx(0.65, abs=0.03)
    assert result.null.value == 1.0 and result.null.interval[0] < 1 < result.null.interval[1]
    assert result.interval[1] < result.null.interval[0]


def test_two_random_subsets_are_refuted(rng):
    one, other = (6.0 + 0.2 * rng.standard_normal(6) for _ in range(2))
    result = probe.judge(evidence(one, other))
    assert result.verdict == "refuted"
    assert result.null.interval[0] < result.effect < result.null.interval[1]


def test_five_seeds_decide_nothing_however_far_apart_the_banks_are(rng):
    random = 6.0 + 0.01 * rng.standard_normal(5)
    result = probe.judge(evidence(0.3 * random, random))
    assert (result.verdict, result.n, result.n_to_decide) == ("undecided", 5, 6)


def test_the_null_spans_the_pairs_of_random_banks(rng):
    random = np.array([1.0, 2.0, 4.0, 1.0, 1.0, 1.0])
    null = probe.judge(evidence(random, random)).null
    pairs = [a / b for i, a in enumerate(random) for j, b in enumerate(random) if i != j]
    assert null.interval == pytest.approx(tuple(np.quantile(pairs, (0.025, 0.975))))


def test_a_quotient_at_the_threshold_is_decided_no_more_often_than_one_time_in_twenty():
    rng, repeats = np.random.default_rng(5), 100
    draws = 0.8 + 0.05 * rng.standard_normal((repeats, 6))
    decided = sum(probe.judge(evidence(values, np.ones(6))).verdict != "undecided" for values in draws)
    assert decided <= binom.ppf(0.999, repeats, 0.05)


def test_pairs_are_matched_by_seed_and_share_whatever_their_order(rng):
    found = evidence(rng.uniform(1, 2, 6), rng.uniform(2, 3, 6))
    order = rng.permutation(12)
    columns = {name: tuple(column[i] for i in order) for name, column in found.columns.items()}
    shuffled = Evidence(probe=found.probe, replication="seed", columns=columns)
    assert probe.judge(found).tables == probe.judge(shuffled).tables
    assert len(probe.judge(found).tables["pairs"]) == 6
    other = probe.judge(found, ratio=0.1)
    assert (other.verdict, other.n) == ("undecided", 0)
    assert other.reason == "no seed has a greedy and a random bank of 0.1"


def test_the_relation_is_the_rank_correlation_of_radius_and_metric(rng):
    radii = ((0.1, [1.0, 1.1], [2.0, 2.2]), (0.01, [3.0, 3.1], [5.0, 5.5]))
    parts = [evidence(greedy, random, ratio=ratio, metric=lambda radius: float(np.exp(-radius)))
             for ratio, greedy, random in radii]  # fmt: skip
    result = probe.judge(Evidence.joined(parts))
    image, pixel = result.tables["relation"]
    assert (image["metric"], image["mean"], image["n"]) == ("image_auroc", pytest.approx(-1.0), 2)
    assert (pixel["n"], pixel["mean"]) == (0, None)
    row = next(row for row in result.tables["sizes"]
               if (row["ratio"], row["coreset"], row["quantity"]) == (0.1, "random", "radius"))  # fmt: skip
    assert (row["mean"], row["n"]) == (pytest.approx(2.1), 2)


def test_a_metric_that_never_moves_has_no_correlation(rng):
    parts = [evidence([1.0], [2.0], ratio=ratio, metric=lambda _: 1.0) for ratio in (0.1, 0.01)]
    assert probe.judge(Evidence.joined(parts)).tables["relation"][0]["n"] == 0


def test_the_planned_arms_are_pairs_that_differ_in_the_choice_alone():
    plan = probe.plan()
    for one, other in zip(plan.arms[::2], plan.arms[1::2], strict=True):
        differing = {key for key in one.settings if one.settings[key] != other.settings[key]}
        assert differing == {"coreset"} and one.preset == other.preset
    assert probe.THRESHOLDS["ratio"] in probe.RATIOS
    assert probe.judge(evidence(np.ones(6), np.ones(6))).decision_rule == plan.decision_rule


@pytest.mark.parametrize("change", [{"system": "moleflow"}, {"parts": {"neighbours": 9}}])
def test_other_runs_are_refused(record, make_items, trained, change):
    where = {"item": np.arange(2)}
    train = trained() | {"system": "patchcore"} | change
    found = record(
        [("activation/bank.0.distance", np.ones((2, 2, 2)), MAPS, where)], items=make_items(2), train=train
    )
    with pytest.raises(MechlabError, match="give runs of patchcore with neighbours=1"):
        probe.measure(found)


def test_a_recording_without_distances_is_refused(record, make_items, trained):
    train = trained() | {"system": "patchcore"}
    found = record(
        [("score/image", np.ones(2), ("item",), {"item": np.arange(2)})], items=make_items(2), train=train
    )
    with pytest.raises(MechlabError, match=r"nothing under 'activation/bank.\*.distance'; record bank"):
        probe.measure(found)
