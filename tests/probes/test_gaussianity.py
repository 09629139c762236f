import numpy as np
import pytest
from scipy.stats import binom

from mechlab.errors import MechlabError
from mechlab.result import Evidence
from probes import gaussianity as probe

AXES = ("item", "row", "column", "dim")


def latents(rng, *, images=15, dim=6, share=0.0):
    """Exactly normal marginals; patches of an image share a component of variance `share`."""
    own = rng.standard_normal((images, 5, 5, dim))
    shared = rng.standard_normal((images, 1, 1, dim))
    return np.sqrt(share) * shared + np.sqrt(1 - share) * own


@pytest.fixture
def measured(record, make_items, trained):
    def measure(values, *, name="run", key="latent/latent", axes=AXES, sites=None, defective=0):
        images = len(values)
        coordinates = {"item": np.arange(images), "adapter": np.zeros(images, np.int32)}
        items = make_items(images, defective=defective)
        recording = record([(key, values, axes, coordinates)], items=items, train=trained(), name=name)
        return probe.measure(recording, sites=sites)

    return measure


def evidence(marginal, sliced, *, items=None):
    n = len(marginal)
    task = {"recording": "run", "task": "gear", "images": n, "null_mean": 0.0, "null_std": 0.001}
    dim = {"recording": "run", "task": "gear", "dim": 0, "squared_distance": 0.04, "error": 0.01, "images": n}
    return Evidence(
        probe="gaussianity",
        replication="image",
        columns={
            "item": tuple(items or (f"{index:03x}" for index in range(n))),
            "task": ("gear",) * n,
            "marginal": tuple(float(value) for value in marginal),
            "sliced": tuple(float(value) for value in sliced),
        },
        details={"tasks": (task,), "dims": (dim,), "quantiles": ()},
    )


def test_directions_are_unit_vectors_the_same_whenever_asked():
    directions = probe.unit_directions(12, count=50, seed=3)
    np.testing.assert_allclose(np.linalg.norm(directions, axis=0), 1.0)
    np.testing.assert_array_equal(directions, probe.unit_directions(12, count=50, seed=3))
    assert abs(directions.mean()) < 0.05


def test_a_shift_has_its_own_size_in_every_coordinate(measured, rng):
    result = probe.judge(measured(latents(rng) + 0.5))
    distances = {row["directions"]: row["mean"] for row in result.tables["distances"]}
    assert distances["marginal"] == pytest.approx(0.5, abs=0.03)
    assert result.verdict == "refuted"
    np.testing.assert_allclose([row["distance"] for row in result.tables["dims"]], 0.5, atol=0.15)
    assert max(row["p_holm"] for row in result.tables["dims"]) < 0.01


def test_a_narrow_latent_is_refuted_by_what_it_lacks_in_scale(measured, rng):
    result = probe.judge(measured(0.7 * latents(rng)))
    assert result.verdict == "refuted"
    assert result.effect == pytest.approx(0.3, abs=0.03)
    assert result.tables["tasks"][0]["pooled_std"] == pytest.approx(0.7, abs=0.02)
    assert result.tables["tasks"][0]["pooled_qq_correlation"] > 0.99  # blind to scale


def test_normal_latents_are_supported(measured, rng, tmp_path):
    found = measured(latents(rng, images=20))
    result = probe.judge(found)
    assert result.verdict == "supported"
    assert result.effect < 0.08
    assert min(row["p_holm"] for row in result.tables["dims"]) > 0.9
    result.save(tmp_path / "result.json")
    found.save(tmp_path / "evidence.json")
    assert probe.judge(Evidence.load(tmp_path / "evidence.json")).document() == result.document()


def test_patches_that_agree_within_images_are_not_held_against_the_latent(measured, rng):
    effects, verdicts = [], []
    for repeat in range(4):
        result = probe.judge(measured(latents(rng, images=20, share=0.3), name=f"run-{repeat}"))
        verdicts.append(result.verdict)
        effects.append(result.effect)
        assert result.null.interval[1] > 0.05  # the spread of such a null is wide
    assert "refuted" not in verdicts
    assert np.mean(effects) < 0.1


def test_correlated_coordinates_are_seen_by_random_directions_only(measured, rng):
    common = rng.standard_normal((15, 5, 5, 1))
    values = np.sqrt(0.6) * common + np.sqrt(0.4) * rng.standard_normal((15, 5, 5, 6))
    result = probe.judge(measured(values))
    distances = {row["directions"]: row["mean"] for row in result.tables["distances"]}
    assert distances["sliced"] > 2 * distances["marginal"]
    assert result.effect == distances["sliced"]
    assert result.verdict == "refuted"


def test_neither_order_nor_sign_of_coordinates_matters(measured, rng):
    values = rng.exponential(size=(12, 5, 5, 4))
    one, other = measured(values), measured(-values[..., [2, 0, 3, 1]], name="turned")
    np.testing.assert_allclose(one.column("marginal"), other.column("marginal"), atol=1e-3)


def test_tasks_are_compared_with_the_prior_one_by_one(record, make_items, trained, rng):
    values = latents(rng, images=24, dim=4)
    values[:12] += 0.4
    values[12:] -= 0.4  # together centred
    items = [*make_items(12), *make_items(12, class_name="weave")]
    coordinates = {"item": np.arange(24), "adapter": np.repeat(np.int32([0, 1]), 12)}
    recording = record(
        [("latent/latent", values, AXES, coordinates)], items=items, train=trained((("gear",), ("weave",)))
    )
    result = probe.judge(probe.measure(recording))
    assert result.effect == pytest.approx(0.4, abs=0.05)
    assert [row["task"] for row in result.tables["tasks"]] == ["gear", "weave"]


def test_defective_images_are_left_out_and_the_others_named(measured, make_items, rng):
    values = latents(rng, images=14)
    values[10:] = 50.0
    found = measured(values, defective=4)
    assert found.columns["item"] == tuple(item.sha256 for item in make_items(10))


def test_another_site_can_be_asked_about(measured, rng):
    found = measured(latents(rng), key="latent/flow.1", sites={"latent": "latent/flow.1"})
    assert len(found) == 15


def test_a_constant_coordinate_is_far_from_the_prior(measured, rng, tmp_path):
    values = latents(rng)
    values[..., 2] = 0.0
    result = probe.judge(measured(values))
    assert result.tables["dims"][2]["distance"] == pytest.approx(1.0, abs=1e-3)
    assert result.tables["dims"][2]["skew"] is None
    assert result.tables["tasks"][0]["mardia_kurtosis"] is None
    result.save(tmp_path / "result.json")


@pytest.mark.parametrize("n", [12, 25])
def test_a_distance_at_the_threshold_is_decided_no_more_often_than_one_time_in_twenty(n):
    rng, repeats = np.random.default_rng(5), 40
    decided = 0
    for _ in range(repeats):
        marginal, sliced = 0.01 + 0.005 * rng.standard_normal((2, n))
        decided += probe.judge(evidence(marginal, sliced)).verdict != "undecided"
    assert decided <= binom.ppf(0.999, repeats, 0.05)


def test_an_image_that_two_trainings_saw_is_one_replicate():
    items = [f"{index // 2:03x}" for index in range(24)]
    assert probe.judge(evidence([0.01, 0.03] * 12, [0.0, 0.0] * 12, items=items)).n == 12


def test_too_few_images_decide_nothing():
    result = probe.judge(evidence([4.0, 4.1, 4.2], [0.0, 0.1, 0.0]))
    assert result.verdict == "undecided"
    assert result.n_to_decide == 12


def test_both_distances_must_be_small_but_one_may_be_large():
    small, large = 0.001 + 1e-4 * np.arange(12), 0.09 + 1e-4 * np.arange(12)
    assert probe.judge(evidence(small, small)).verdict == "supported"
    assert probe.judge(evidence(large, small)).verdict == "refuted"
    assert probe.judge(evidence(small, large)).verdict == "refuted"


def test_an_undecided_distance_names_the_images_that_would_decide(rng):
    values = 0.011 + 0.01 * rng.standard_normal(12)
    assert probe.judge(evidence(values, values)).n_to_decide > 12


def test_the_planned_rule_is_the_rule_that_is_used():
    plan, result = probe.plan(), probe.judge(evidence([0.0] * 11 + [0.1], [0.0] * 12))
    assert (result.decision_rule, result.thresholds) == (plan.decision_rule, plan.thresholds)


def test_two_images_of_a_task_are_refused(measured, rng):
    with pytest.raises(MechlabError, match="task 'gear' has 2 normal images in 'run'; record 3 or more"):
        measured(latents(rng, images=2))


def test_a_latent_without_channels_is_refused(measured, rng):
    with pytest.raises(
        MechlabError, match="has axes item, row; choose a latent with items first and one axis"
    ):
        measured(rng.standard_normal((5, 4)), axes=("item", "row"))


def test_channels_may_stand_second_as_in_a_convolution(measured, rng):
    values = latents(rng, images=8)
    one = measured(values)
    moved = measured(np.moveaxis(values, -1, 1), axes=("item", "channel", "height", "width"), name="moved")
    assert one.columns["marginal"] == moved.columns["marginal"]
    assert one.columns["sliced"] == moved.columns["sliced"]


def test_a_latent_of_one_vector_an_image_is_one_place(measured, rng):
    found = measured(rng.standard_normal((400, 3)) + 0.5, axes=("item", "dim"))
    assert probe.judge(found).effect == pytest.approx(0.5, abs=0.1)


def test_overflown_latents_are_refused(measured, rng):
    values = latents(rng)
    values[3, 0, 0, 0] = np.inf
    with pytest.raises(
        MechlabError, match="'latent/latent' of 'run' is not finite everywhere; record it as float32"
    ):
        measured(values)
