"""Maps of a user's own images: their task is known, their class is not."""

from dataclasses import replace

import numpy as np
import pytest

from mechlab.errors import MechlabError
from mechlab.metrics.class_metrics import Scoring
from mechlab.runs.settings import EvaluationSettings
from mechlab.train.images import pixel_maps, refuse_classes_apart, score_folder
from mechlab.train.session import resolve

WORDS = "4,nut=1"


def planned(request, **changes):
    return replace(resolve(replace(request, **changes)), evaluation=EvaluationSettings(sigma=WORDS))


def test_a_map_is_smoothed_as_those_of_its_task(small_request, rng):
    plan, scoring = planned(small_request), Scoring(aggregation="max", value=None, sigma=WORDS)
    maps = rng.standard_normal((4, 8, 8)).astype(np.float32)
    found = pixel_maps(plan, scoring, maps, np.array([0, 1, 1, 0]))
    refuse_classes_apart(plan)
    for index, name in enumerate(("bolt", "nut", "nut", "bolt")):
        expected = scoring.pixel_maps(maps[[index]], size=64, class_name=name)[0]
        np.testing.assert_array_equal(found[index], expected)
    assert not np.allclose(found, pixel_maps(plan, scoring, maps, np.zeros(4, dtype=np.int64)))


def test_classes_apart_within_a_task_are_refused(small_request):
    with pytest.raises(
        MechlabError, match=r"differs between the classes of task 0 \(bolt, nut\).* --sigma 4\."
    ):
        refuse_classes_apart(planned(small_request, tasks="bolt+nut"))


def test_own_images_can_be_smoothed_otherwise(small_run, pictures, tmp_path):
    folder = pictures / "bolt" / "test" / "spot"
    maps = {}
    for sigma in (None, "0", "0,nut=9"):
        rows = score_folder(small_run, folder, tmp_path / str(sigma), task=0, sigma=sigma)
        maps[sigma] = np.load(tmp_path / str(sigma) / "maps" / f"{rows[0]['image']}.npy")
    assert not np.allclose(maps[None], maps["0"])
    np.testing.assert_array_equal(maps["0"], maps["0,nut=9"])
    with pytest.raises(MechlabError, match="Did you mean 'nut'"):
        score_folder(small_run, folder, tmp_path / "other", task=0, sigma="4,nutt=2")
