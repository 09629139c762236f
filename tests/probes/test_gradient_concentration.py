import numpy as np
import pytest
from scipy.stats import binom

from mechlab.errors import MechlabError
from mechlab.result import Evidence
from mechlab.stats.tail import TailLoss, tail_of, weight_share
from probes import gradient_concentration as probe

LOSSES = ("mean", "tail:0.7:0.1", "tail:1:0.1")
MAIN = LOSSES[1]
GRID = (6, 6)  # 36 patches, 3 in the tail
AXES = ("item", "row", "column")


def loss_weights(name, tail):
    loss = TailLoss.named(name)
    return (1 - loss.weight) / tail.size + loss.weight * tail / tail.sum()


def quantities(steepness, scores, *, losses=LOSSES, leak=0.0):
    """Row contributions and input gradients of a model whose patches have a steepness of their own."""
    images = len(scores)
    found = [("score/patch", scores, AXES, {"item": np.arange(images), "stage": np.zeros(images, np.int32)})]
    tails = np.stack([tail_of(score, ratio=0.1) for score in scores])
    for name in losses:
        weights = np.stack([loss_weights(name, tail) for tail in tails])
        values = (1 - leak) * steepness * weights + leak * (steepness * weights).mean(
            axis=(1, 2), keepdims=True
        )
        coordinates = {
            "item": np.arange(images),
            "stage": np.zeros(images, np.int32),
            "adapter": np.zeros(images, np.int32),
            "loss": np.array([name] * images),
        }
        found.append(("row_contribution/total", values, AXES, coordinates))
        found.append(("input_gradient/adapted", values, AXES, coordinates))
    return found


def evidence(log_ratios, *, items=None):
    n = len(log_ratios)
    items = items or [f"{index:03x}" for index in range(n)]
    share = {"mean": 0.1, MAIN: 0.7, LOSSES[2]: 1.0}
    columns = {
        "item": tuple(items),
        "class_name": ("gear",) * n,
        "patches": (36,) * n,
        "tail": (3,) * n,
        "log_ratio": tuple(float(value) for value in log_ratios),
        "log_own": (0.0,) * n,
        "random_mean": (0.0,) * n,
        "random_variance": (0.01,) * n,
    }
    columns |= {f"share {name}": (share[name],) * n for name in LOSSES}
    rows = tuple(
        {"item": item, "loss": name} | dict.fromkeys(probe.DISTANCES, 1.0)
        for item in items
        for name in LOSSES
    )
    return Evidence(
        probe="gradient_concentration",
        replication="image",
        columns=columns,
        facts={"loss": MAIN, "losses": {"mean": 0.0, MAIN: 0.7, LOSSES[2]: 1.0}},
        details={"distance": rows},
    )


def table(result, name, **wanted):
    rows = [row for row in result.tables[name] if all(row[key] == value for key, value in wanted.items())]
    assert len(rows) == 1
    return rows[0]


@pytest.fixture
def measured(record, make_items, trained):
    def measure(steepness, scores, *, name="run", **settings):
        found = quantities(steepness, scores, **settings)
        recording = record(found, items=make_items(len(scores)), train=trained(), name=name)
        return probe.measure(recording)

    return measure


def test_equally_steep_patches_have_exactly_the_share_of_the_weights(measured, rng):
    found = measured(np.ones((4, *GRID)), rng.standard_normal((4, *GRID)))
    np.testing.assert_allclose(found.column("log_ratio"), 0.0, atol=1e-12)
    np.testing.assert_allclose(found.column(f"share {MAIN}"), weight_share(0.7, patches=36, tail=3))


def test_a_tail_that_is_twice_as_steep_is_read_off_in_closed_form(measured, rng):
    scores = rng.standard_normal((3, *GRID))
    tails = np.stack([tail_of(score, ratio=0.1) for score in scores])
    found = measured(1.0 + tails, scores)
    odds = (0.7 / 3 + 0.3 / 36) * 3 * 2 / (0.3 / 36 * 33)
    analytic = weight_share(0.7, patches=36, tail=3)
    np.testing.assert_allclose(found.column("log_ratio"), np.log(odds / (1 + odds) / analytic))
    np.testing.assert_allclose(found.column("log_own"), found.column("log_ratio"))


def test_neither_the_scale_nor_the_place_of_patches_matters(measured, record, make_items, trained, rng):
    steepness, scores = rng.uniform(0.5, 2, (4, *GRID)), rng.standard_normal((4, *GRID))
    order = rng.permutation(36)
    moved = [values.reshape(4, 36)[:, order].reshape(4, *GRID) for values in (steepness, scores)]
    other = record(quantities(7 * moved[0], moved[1]), items=make_items(4), train=trained(), name="moved")
    one, two = measured(steepness, scores), probe.measure(other)
    np.testing.assert_allclose(one.column("log_ratio"), two.column("log_ratio"))


def test_steeper_hard_patches_are_found(measured, rng):
    scores = rng.standard_normal((20, *GRID))
    result = probe.judge(measured(np.exp(1.5 * scores), scores))
    assert result.verdict == "supported"
    assert result.interval[0] > np.log(1.2)
    assert table(result, "weights", quantity="random tail (null)")["high"] < result.effect


def test_patches_whose_steepness_is_unrelated_to_their_score_are_refuted(measured, rng):
    found = measured(rng.exponential(size=(20, *GRID)), rng.standard_normal((20, *GRID)))
    result = probe.judge(found)
    assert result.verdict == "refuted"
    null = table(result, "weights", quantity="random tail (null)")
    assert null["low"] < result.effect < null["high"]


def test_patches_that_act_on_others_show_beyond_their_own_steepness(measured, rng):
    for leak in (0.0, 0.3):
        found = measured(
            rng.uniform(0.5, 2, (5, *GRID)), rng.standard_normal((5, *GRID)), leak=leak, name=f"leak-{leak}"
        )
        left = table(
            probe.judge(found), "weights", quantity="beyond own steepness: patches that act on others"
        )
        assert left["mean"] == pytest.approx(0.0, abs=1e-12) if leak == 0 else left["high"] < -0.05


def test_distance_shows_how_far_the_loss_reaches(measured):
    scores = np.zeros((6, *GRID))
    scores[:, 0, :3] = 1.0  # the tail, in a corner
    result = probe.judge(measured(np.ones((6, *GRID)), scores))
    tail = table(result, "distance", loss=MAIN, distance="0")
    assert tail["mean"] == pytest.approx(tail["weights_alone"]) == pytest.approx(0.7 * 12 + 0.3)
    for distance in ("1", "2", "3-4"):
        assert table(result, "distance", loss=MAIN, distance=distance)["mean"] == pytest.approx(0.3)
    assert table(result, "distance", loss=MAIN, distance="9+")["n"] == 0


def test_the_published_ratio_of_leaking_equal_patches_stands_beside_its_null(measured, rng):
    result = probe.judge(measured(np.ones((12, *GRID)), rng.standard_normal((12, *GRID)), leak=0.1))
    row = result.tables["published"][0]
    assert row["null"] == pytest.approx(12)
    tail, other = 0.9 * 12 + 0.1, 0.1  # contributions at weight 1, over the image's mean
    assert row["mean"] == pytest.approx(tail / other)
    assert row["published"] == 42.3
    ratios = {row["quantity"]: row for row in result.tables["input_ratios"]}
    assert len(ratios) == 4
    for weight, ratio, null, published in ((0, 1.0, 1.0, 1.18), (1, tail / other, None, 49.99)):
        found = ratios[f"input gradient, tail over all other patches, weight {weight}"]
        assert found["mean"] == pytest.approx(ratio)
        assert (found["null"], found["published"]) == (null, published)


def test_the_published_ratio_is_infinite_where_no_patch_acts_on_another(measured, rng):
    result = probe.judge(measured(np.ones((12, *GRID)), rng.standard_normal((12, *GRID))))
    assert [row["mean"] for row in result.tables["published"]] == [None, None]


def test_without_input_gradients_there_is_no_published_ratio(record, make_items, trained, rng):
    found = [
        one
        for one in quantities(np.ones((12, *GRID)), rng.standard_normal((12, *GRID)))
        if "input" not in one[0]
    ]
    recording = record(found, items=make_items(12), train=trained())
    assert probe.judge(Evidence.joined([probe.measure(recording)])).tables["published"] == ()


def test_an_image_that_two_trainings_saw_is_averaged(measured, rng):
    scores = rng.standard_normal((12, *GRID))
    parts = [measured(np.exp(slope * scores), scores, name=f"run-{slope}") for slope in (0.1, 0.9)]
    result = probe.judge(Evidence.joined(parts))
    assert result.n == 12
    assert result.effect == pytest.approx(np.mean([probe.judge(part).effect for part in parts]))


def test_a_result_can_be_written(measured, rng, tmp_path):
    found = measured(np.ones((12, *GRID)), rng.standard_normal((12, *GRID)))
    found.save(tmp_path / "evidence.json")
    result = probe.judge(Evidence.load(tmp_path / "evidence.json"))
    result.save(tmp_path / "result.json")
    assert probe.judge(found).document() == result.document()


def test_an_image_that_two_trainings_saw_is_one_replicate():
    values = [0.1, 0.3] * 12
    found = probe.judge(evidence(values, items=[f"{index // 2:03x}" for index in range(24)]))
    assert found.n == 12
    assert found.effect == pytest.approx(0.2)


def test_an_effect_at_the_threshold_is_decided_no_more_often_than_one_time_in_twenty():
    rng, repeats = np.random.default_rng(2), 60
    draws = np.log(1.2) + 0.2 * rng.standard_normal((repeats, 15))
    decided = sum(probe.judge(evidence(values)).verdict != "undecided" for values in draws)
    assert decided <= binom.ppf(0.999, repeats, 0.05)


def test_too_few_images_decide_nothing():
    result = probe.judge(evidence(np.full(5, 3.0) + np.arange(5) / 10))
    assert result.verdict == "undecided"
    assert result.n_to_decide == 12


def test_the_planned_rule_is_the_rule_that_is_used():
    plan, result = probe.plan(), probe.judge(evidence(np.arange(15) / 10))
    assert result.decision_rule == plan.decision_rule
    assert result.thresholds == plan.thresholds
    assert "1.5" in probe.judge(evidence(np.arange(15) / 10), least_ratio=1.5).decision_rule


@pytest.mark.parametrize("losses", [("mean",), ("mean", "tail:1:0.1"), ("tail:0.7:0.1", "tail:1:0.1")])
def test_a_recording_without_the_losses_is_refused(measured, rng, losses):
    with pytest.raises(
        MechlabError, match="needs 'mean' and a tail loss of weight between 0 and 1: record with --loss"
    ):
        measured(np.ones((3, *GRID)), rng.standard_normal((3, *GRID)), losses=losses)


def test_a_dead_gradient_is_refused(measured, rng):
    with pytest.raises(
        MechlabError, match=r"row contributions of 'embedded:gear/0' in 'run' cannot be shared out"
    ):
        measured(np.zeros((3, *GRID)), rng.standard_normal((3, *GRID)))


def test_recordings_under_other_losses_do_not_mix():
    facts = {"loss": [MAIN, "tail:0.3:0.1"], "losses": {}}
    mixed = Evidence(probe="gradient_concentration", replication="image", columns={"item": ()}, facts=facts)
    with pytest.raises(MechlabError, match=r"several tail losses \(tail:0.7:0.1, tail:0.3:0.1\)"):
        probe.judge(mixed)
