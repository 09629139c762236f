import numpy as np
import pytest
from scipy.stats import binom, ortho_group

from mechlab.errors import MechlabError
from mechlab.result import Evidence
from mechlab.stats.similarity import cka_debiased
from probes import cross_task_cka as probe

AXES = ("item", "row", "column", "dim")


@pytest.fixture
def measured(record, make_items, trained):
    def measure(*latents, seed=0, name="run", shuffle=None, classes=("gear",), key="latent/latent"):
        """`latents`: one array an adapter, images of all classes in order."""
        images = len(latents[0])
        per_class = images // len(classes)
        items = [item for label in classes for item in make_items(per_class, class_name=label)]
        order = np.arange(images * len(latents)) if shuffle is None else shuffle
        coordinates = {
            "item": np.tile(np.arange(images), len(latents))[order],
            "adapter": np.repeat(np.arange(len(latents), dtype=np.int32), images)[order],
        }
        quantity = (key, np.concatenate(latents)[order], AXES, coordinates)
        train = trained((("gear",), ("weave",)), seed=seed)
        return probe.measure(record([quantity], items=items, train=train, name=name))

    return measure


def evidence(cka, null, *, seeds=None):
    return Evidence(
        probe="cross_task_cka",
        replication="seed",
        columns={
            "seed": tuple(seeds or range(len(cka))),
            "cka": tuple(float(value) for value in cka),
            "null": tuple(float(value) for value in null),
        },
        details={"layers": ()},
    )


def mixed(rng, one, *, share):
    """Latents of which `share` is a rotation of the first adapter's."""
    turn = ortho_group.rvs(one.shape[-1], random_state=1)
    return np.sqrt(share) * one @ turn + np.sqrt(1 - share) * rng.standard_normal(one.shape)


def test_equal_latents_have_a_cka_of_one_whatever_their_scale_and_rotation(measured, rng):
    one = rng.standard_normal((8, 4, 4, 5))
    found = measured(one, 3.0 * one @ ortho_group.rvs(5, random_state=0))
    assert found.column("cka")[0] == pytest.approx(1.0)
    assert abs(found.column("null")[0]) < 0.15


def test_the_value_is_debiased_cka_over_patches(measured, rng):
    one, other = rng.standard_normal((2, 20, 3, 3, 6))  # more images than one chunk holds
    found = measured(one, other)
    assert found.column("cka")[0] == pytest.approx(
        cka_debiased(one.reshape(-1, 6), other.reshape(-1, 6)), abs=1e-9
    )


def test_images_are_paired_whatever_the_order_of_rows(measured, rng):
    one = rng.standard_normal((8, 4, 4, 5))
    found = measured(one, one, shuffle=rng.permutation(16))
    assert found.column("cka")[0] == pytest.approx(1.0)


def test_no_image_meets_itself_in_the_null():
    found = probe.partners(9, shifts=5, seed=0)
    for partner in found:
        assert sorted(partner.tolist()) == list(range(9))
        assert not (partner == np.arange(9)).any()
    assert len({tuple(partner.tolist()) for partner in found}) == 5


def test_too_few_images_cannot_be_permuted_so():
    with pytest.raises(ValueError, match="5 permutations without fixed points need more than 5 images"):
        probe.partners(5, shifts=5, seed=0)


def test_what_position_alone_gives_shows_in_the_null(measured, rng):
    place = 2 * rng.standard_normal((1, 5, 5, 6))
    one, other = place + rng.standard_normal((2, 12, 5, 5, 6))
    found = measured(one, other)
    assert found.column("cka")[0] > 0.5
    assert found.column("null")[0] == pytest.approx(found.column("cka")[0], abs=0.05)


def test_what_tells_classes_apart_does_not_count(measured, rng):
    one, other = rng.standard_normal((2, 24, 4, 4, 5))
    one[:12] += 5.0
    other[:12] += 5.0
    found = measured(one, other, classes=("gear", "weave"))
    assert abs(found.column("cka")[0]) < 0.1
    assert [row["class_name"] for row in found.details["layers"]] == ["gear", "weave"]


def test_shared_structure_is_found(measured, rng, tmp_path):
    parts = []
    for seed in range(6):
        one = rng.standard_normal((8, 5, 5, 6))
        parts.append(measured(one, mixed(rng, one, share=0.5), seed=seed, name=f"run-{seed}"))
    result = probe.judge(Evidence.joined(parts))
    assert result.verdict == "supported"
    assert result.effect == pytest.approx(0.5, abs=0.1)
    assert abs(result.null.value) < 0.05
    result.save(tmp_path / "result.json")


def test_adapters_without_anything_in_common_are_refuted(measured, rng):
    parts = [
        measured(*rng.standard_normal((2, 8, 5, 5, 6)), seed=seed, name=f"run-{seed}") for seed in range(6)
    ]
    assert probe.judge(Evidence.joined(parts)).verdict == "refuted"


@pytest.mark.parametrize(
    ("cka", "null", "verdict"),
    [(0.5, 0.1, "supported"), (0.9, 0.1, "refuted"), (0.1, 0.0, "refuted"), (0.5, 0.6, "refuted"),
     (0.5, 0.5, "undecided"), (0.7, 0.1, "undecided"), (0.3, 0.1, "undecided")],
)  # fmt: skip
def test_range_and_null_decide_together(cka, null, verdict):
    noise = 0.02 * np.array([-1.0, 1, -0.5, 0.5, 0.3, -0.3])
    result = probe.judge(evidence(cka + noise, null + noise[::-1]))
    assert result.verdict == verdict
    assert (result.n_to_decide is None) == (verdict != "undecided") or cka == null or cka in (0.3, 0.7)


def test_an_undecided_similarity_names_the_seeds_that_would_decide():
    noise = np.array([-0.3, 0.3, -0.2, 0.25, 0.2, -0.1])
    result = probe.judge(evidence(0.5 + noise, np.zeros(6)))
    assert result.verdict == "undecided"
    assert result.n_to_decide > 6


@pytest.mark.parametrize(("cka", "null"), [(0.7, 0.0), (0.3, 0.0), (0.5, 0.5)])
def test_a_value_on_an_edge_is_decided_no_more_often_than_one_time_in_twenty(cka, null):
    rng, repeats, decided = np.random.default_rng(6), 60, 0
    for _ in range(repeats):
        noise = 0.05 * rng.standard_normal((2, 6))
        decided += probe.judge(evidence(cka + noise[0], null + noise[1])).verdict != "undecided"
    assert decided <= binom.ppf(0.999, repeats, 0.05)


@pytest.mark.parametrize("n", [1, 5])
def test_too_few_seeds_decide_nothing(n):
    result = probe.judge(evidence(0.5 + 0.01 * np.arange(n), np.zeros(n)))
    assert (result.verdict, result.n_to_decide, result.n) == ("undecided", 6, n)


def test_the_planned_rule_is_the_rule_that_is_used():
    plan = probe.plan()
    result = probe.judge(evidence(np.linspace(0.4, 0.6, 6), np.zeros(6)))
    assert (result.decision_rule, result.thresholds) == (plan.decision_rule, plan.thresholds)
    assert plan.record[0].adapters == (0, 1)


def test_one_adapter_alone_is_refused(measured, rng):
    with pytest.raises(
        MechlabError, match=r"'latent/latent' of 'run' went through 1 adapter; record the same images"
    ):
        measured(rng.standard_normal((8, 3, 3, 4)))


def test_too_few_images_of_a_class_are_refused(measured, rng):
    with pytest.raises(MechlabError, match="'run' has 4 images of class 'gear'; give 6 or more"):
        measured(*rng.standard_normal((2, 4, 3, 3, 4)))


def test_a_constant_latent_is_refused(measured, rng):
    with pytest.raises(MechlabError, match=r"'latent/latent' of 'run', class gear: CKA is undefined"):
        measured(rng.standard_normal((8, 3, 3, 4)), np.ones((8, 3, 3, 4)))
