"""Laws of the calibration by task (M33): normals have mean 0 and sd 1, ranks within an expert stay."""

import numpy as np
import pytest

from mechlab.errors import MechlabError
from mechlab.metrics.calibration import Calibration
from mechlab.metrics.class_metrics import Scoring, pooled_metrics
from mechlab.metrics.ranking import auroc


@pytest.fixture
def normals(rng):
    return [rng.normal(120, 3, 40), rng.normal(-5, 0.2, 25)]


def test_normals_have_mean_zero_and_deviation_one(normals):
    found = Calibration.of(normals)
    for task, scores in enumerate(normals):
        calibrated = found.apply(scores, np.full(len(scores), task))
        assert calibrated.mean() == pytest.approx(0, abs=1e-12)
        assert calibrated.std() == pytest.approx(1, abs=1e-12)


def test_each_score_is_on_the_scale_of_the_expert_that_gave_it():
    found = Calibration(means=np.array([10.0, -2.0]), deviations=np.array([2.0, 0.5]))
    assert found.apply(np.array([14.0, 14.0, -2.0]), np.array([0, 1, 1])).tolist() == [2.0, 32.0, 0.0]


def test_auroc_within_a_task_stays(normals, rng):
    scores, labels = rng.normal(122, 4, 50), np.arange(50) % 2
    found = Calibration.of(normals)
    for task in (0, 1):
        assert auroc(found.apply(scores, np.full(50, task)), labels) == auroc(scores, labels)


def test_shift_and_scale_of_an_expert_do_not_matter(normals, rng):
    scores, experts = rng.normal(size=20), np.arange(20) % 2
    scale, shift = np.array([3.0, 0.1]), np.array([-7.0, 40.0])
    moved = Calibration.of([scale[task] * one + shift[task] for task, one in enumerate(normals)])
    np.testing.assert_allclose(
        moved.apply(scale[experts] * scores + shift[experts], experts),
        Calibration.of(normals).apply(scores, experts),
        atol=1e-9,
    )


def test_a_planted_scale_between_tasks_is_taken_out_of_the_pooled_auroc(rng):
    labels = np.tile([0, 1], 100)
    scores = [scale * (rng.normal(size=200) + 3 * labels) + shift for scale, shift in ((1, 0), (9, 80))]
    found = Calibration.of([one[labels == 0] for one in scores])

    def pooled(values):
        return pooled_metrics(
            {str(task): {"scores": one, "labels": labels} for task, one in enumerate(values)}
        )["image_auroc"]

    after = [found.apply(one, np.full(200, task)) for task, one in enumerate(scores)]
    assert pooled(scores) < 0.8
    assert pooled(after) > 0.95


def test_it_survives_its_document(normals):
    found = Calibration.of(normals)
    again = Calibration.read(found.document())
    np.testing.assert_array_equal(again.means, found.means)
    np.testing.assert_array_equal(again.deviations, found.deviations)


@pytest.mark.parametrize("scores", [np.full(5, 3.3), np.array([2.0])], ids=["equal", "one"])
def test_normals_without_spread_are_refused(normals, scores):
    with pytest.raises(MechlabError, match="normals of task 1 have one score and give no scale"):
        Calibration.of([normals[0], scores])


def test_calibrated_scores_need_their_experts_and_maps_do_not_change(normals, rng):
    plain = Scoring(aggregation="max", value=None, sigma=1.0)
    scoring = Scoring(aggregation="max", value=None, sigma=1.0, calibration=Calibration.of(normals))
    maps = rng.normal(size=(4, 5, 5))
    with pytest.raises(ValueError, match="need the task whose expert gave each map"):
        scoring.image_scores(maps)
    experts = np.array([0, 1, 1, 0])
    np.testing.assert_array_equal(
        scoring.image_scores(maps, experts), Calibration.of(normals).apply(plain.image_scores(maps), experts)
    )
    np.testing.assert_array_equal(
        scoring.pixel_maps(maps, size=9, class_name="a"), plain.pixel_maps(maps, size=9, class_name="a")
    )
