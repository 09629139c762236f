import numpy as np
import pytest
from scipy.stats import binom

from mechlab.errors import MechlabError
from mechlab.metrics.ranking import auroc
from mechlab.result import Evidence
from mechlab.stats.auroc_interval import auroc_interval, auroc_values
from mechlab.stats.power import n_to_decide
from probes import shortcut as probe


def statistics(rng, *, images, defective, shift=0.0):
    values = {name: rng.standard_normal(images) + 100.0 for name in probe.STATISTICS}
    values["mean"][images - defective :] += shift
    return values


def evidence(classes, *, recording="run"):
    """`classes`: name -> statistics of 40 images, the last 20 of them defective."""
    columns = {name: [] for name in ("recording", "item", "class_name", "label", *probe.STATISTICS)}
    for name, values in classes.items():
        n = len(values["mean"])
        columns["recording"] += [recording] * n
        columns["item"] += [f"{name}-{index}" for index in range(n)]
        columns["class_name"] += [name] * n
        columns["label"] += [int(index >= n // 2) for index in range(n)]
        for statistic in probe.STATISTICS:
            columns[statistic] += values[statistic].tolist()
    return Evidence(
        probe="shortcut",
        replication="image",
        columns={name: tuple(column) for name, column in columns.items()},
        inputs=(recording,),
    )


@pytest.fixture
def measured(record, make_items, trained):
    def measure(values, *, defective, scores=None, name="run"):
        images = len(values["mean"])
        coordinates = {"item": np.arange(images)}
        quantities = [(f"image/{key}", column, ("item",), coordinates) for key, column in values.items()]
        if scores is not None:
            quantities.append(
                ("score/image", scores, ("item",), coordinates | {"stage": np.zeros(images, np.int32)})
            )
        items = make_items(images, defective=defective)
        return probe.measure(record(quantities, items=items, train=trained(), name=name))

    return measure


def test_a_statistic_that_separates_has_an_auroc_of_one_in_either_direction(measured, rng):
    for shift in (50.0, -50.0):
        found = measured(
            statistics(rng, images=40, defective=20, shift=shift), defective=20, name=f"run{shift:g}"
        )
        result = probe.judge(found)
        assert result.verdict == "supported"
        assert result.effect == 1.0
        assert result.interval[0] > 0.75
        row = result.tables["statistics"][0]
        assert (row["statistic"], row["auroc"]) == ("mean", float(shift > 0))
        assert result.tables["classes"][0]["p_holm"] < 0.01


def test_scale_and_direction_of_a_statistic_do_not_matter(rng):
    values = statistics(rng, images=40, defective=20, shift=0.8)
    turned = {name: np.exp(-column / 50) for name, column in values.items()}
    one, other = (probe.judge(evidence({"gear": one})) for one in (values, turned))
    assert one.effect == pytest.approx(other.effect)
    assert one.interval == pytest.approx(other.interval)


def test_the_smallest_and_the_largest_value_are_judged_over_classes(rng):
    plain = statistics(rng, images=40, defective=20)
    solved = statistics(rng, images=40, defective=20, shift=30.0)
    result = probe.judge(evidence({"gear": plain, "weave": solved}))
    assert result.verdict == "supported"
    assert result.reason == "the mean on weave is the largest"
    assert result.n == 80
    holm = {row["class_name"]: row["p_holm"] for row in result.tables["classes"]}
    assert holm["weave"] < 0.01 < holm["gear"]


def test_the_lower_end_is_corrected_for_classes_statistics_and_directions(rng):
    solved = statistics(rng, images=40, defective=20, shift=30.0)
    for classes in (1, 3):
        result = probe.judge(evidence({f"class-{at}": solved for at in range(classes)}))
        low, high = auroc_interval(1.0, positives=20, negatives=20, level=1 - 0.05 / (6 * classes))
        assert result.interval == pytest.approx((low, high))


def test_a_benchmark_without_a_shortcut_is_refuted(rng):
    classes = {name: statistics(rng, images=400, defective=200) for name in ("gear", "weave")}
    result = probe.judge(evidence(classes))
    assert result.verdict == "refuted"
    assert result.null.interval[0] < result.effect < result.null.interval[1]


def test_the_null_of_the_largest_lies_above_one_half(rng):
    classes = {name: statistics(rng, images=40, defective=20) for name in ("gear", "weave", "board")}
    result = probe.judge(evidence(classes))
    assert 0.58 < result.null.value < 0.72
    assert result.null.interval[0] < result.null.value < result.null.interval[1]


def test_label_permutation_holds_its_level(rng):
    repeats, rejected = 40, 0
    for _ in range(repeats):
        found = probe.judge(evidence({"gear": statistics(rng, images=30, defective=15)}))
        rejected += found.tables["classes"][0]["p_holm"] <= 0.05
    assert rejected <= binom.ppf(0.999, repeats, 0.05)


def test_a_statistic_at_the_bar_is_decided_no_more_often_than_one_time_in_twenty(rng):
    repeats, decided, shift = 50, 0, 0.9539  # the mean of defective images gives an AUROC of 0.75
    for _ in range(repeats):
        values = statistics(rng, images=60, defective=30, shift=shift)
        decided += probe.judge(evidence({"gear": values})).verdict != "undecided"
    assert decided <= binom.ppf(0.999, repeats, 0.05)


def test_an_undecided_statistic_names_the_images_that_would_decide(rng):
    values = statistics(rng, images=24, defective=12, shift=0.9)
    turned = {name: -column for name, column in values.items()}
    for one in (values, turned):
        result = probe.judge(evidence({"gear": one}))
        assert result.verdict == "undecided"
        jackknife = auroc_values(values["mean"], np.arange(24) >= 12)
        level = 1 - 0.05 / 6 if result.effect > 0.75 else 0.95
        assert result.n_to_decide == n_to_decide(jackknife, threshold=0.75, level=level) > 24


def test_a_class_with_few_images_of_a_label_is_left_out_and_named(rng):
    few = {name: column[:8] for name, column in statistics(rng, images=40, defective=20, shift=30.0).items()}
    result = probe.judge(evidence({"gear": statistics(rng, images=40, defective=20), "screw": few}))
    assert "left out, too few images: screw" in result.reason
    assert {row["class_name"] for row in result.tables["statistics"]} == {"gear"}


def test_too_few_images_decide_nothing(rng, tmp_path):
    result = probe.judge(evidence({"gear": statistics(rng, images=8, defective=4, shift=30.0)}))
    assert (result.verdict, result.effect, result.n) == ("undecided", None, 0)
    assert result.n_to_decide == 20
    result.save(tmp_path / "result.json")


def test_an_image_that_two_trainings_saw_counts_once(rng):
    values = {"gear": statistics(rng, images=40, defective=20)}
    twice = Evidence.joined([evidence(values), evidence(values, recording="other")])
    assert probe.judge(twice).n == 40
    assert probe.judge(twice).interval == probe.judge(evidence(values)).interval


def test_a_score_that_is_the_statistic_keeps_nothing_without_it(rng):
    statistic, labels = rng.standard_normal(200), np.arange(200) >= 100
    statistic[labels] += 1.0
    for within in (True, False):
        left = probe.partialled_auroc(np.exp(statistic), statistic[:, None], labels, within=within)
        assert left == 0.5


def test_a_score_that_owes_the_statistic_nothing_keeps_its_auroc(rng):
    statistic, labels = rng.standard_normal(400), np.arange(400) >= 200
    score = rng.standard_normal(400) + 1.5 * labels
    for within in (True, False):
        left = probe.partialled_auroc(score, statistic[:, None], labels, within=within)
        assert left == pytest.approx(auroc(score, labels), abs=0.02)


def test_what_score_and_statistic_both_owe_to_the_label_is_kept_within_labels_only(rng):
    labels = np.arange(400) >= 200
    score, statistic = rng.standard_normal((2, 400)) + 3.0 * labels
    within = probe.partialled_auroc(score, statistic[:, None], labels, within=True)
    over_all = probe.partialled_auroc(score, statistic[:, None], labels, within=False)
    assert within > 0.95 > over_all + 0.1


def test_partialling_out_sees_ranks_only(rng):
    score, statistic, labels = rng.standard_normal(50), rng.standard_normal(50), np.arange(50) >= 25
    one = probe.partialled_auroc(score, statistic[:, None], labels, within=True)
    other = probe.partialled_auroc(np.exp(score), statistic[:, None] ** 3, labels, within=True)
    assert one == other


def test_the_model_s_own_auroc_stands_beside_what_is_left_of_it(measured, rng, tmp_path):
    values = statistics(rng, images=40, defective=20, shift=2.0)
    found = measured(values, defective=20, scores=values["mean"] * 2.0)
    result = probe.judge(found)
    rows = {row["statistic"]: row for row in result.tables["scores"]}
    assert set(rows) == {*probe.STATISTICS, "all"}
    assert rows["mean"]["model_auroc"] == pytest.approx(result.effect)
    assert rows["mean"]["within_labels"] == rows["mean"]["over_all_images"] == 0.5
    assert rows["std"]["within_labels"] > 0.8
    result.save(tmp_path / "result.json")


def test_trainings_are_told_apart_in_the_table_of_scores(measured, rng):
    values = statistics(rng, images=40, defective=20)
    scores = rng.standard_normal((2, 40))
    parts = [measured(values, defective=20, scores=one, name=f"run-{at}") for at, one in enumerate(scores)]
    result = probe.judge(Evidence.joined(parts))
    assert result.n == 40
    assert {row["recording"] for row in result.tables["scores"]} == {"run-0", "run-1"}


def test_without_scores_the_benchmark_is_still_judged(measured, rng):
    found = measured(statistics(rng, images=40, defective=20), defective=20)
    result = probe.judge(found)
    assert result.tables["scores"] == ()
    assert found.facts["scored"] is False


def test_the_planned_rule_is_the_rule_that_is_used(rng):
    plan, result = probe.plan(), probe.judge(evidence({"gear": statistics(rng, images=40, defective=20)}))
    assert (result.decision_rule, result.thresholds) == (plan.decision_rule, plan.thresholds)


def test_a_statistic_that_is_no_number_is_refused(measured, rng):
    values = statistics(rng, images=12, defective=6)
    values["std"][3] = np.nan
    with pytest.raises(MechlabError, match="'image/std' of 'run' is no finite number an image"):
        measured(values, defective=6)


def test_a_recording_without_image_statistics_is_refused(measured, rng):
    values = statistics(rng, images=12, defective=6)
    del values["distance"]
    with pytest.raises(MechlabError, match="nothing is recorded under 'image/distance'"):
        measured(values, defective=6)
