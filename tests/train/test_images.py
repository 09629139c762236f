"""Maps of a user's own images: their task is known, their class is not."""

from dataclasses import replace

import numpy as np
import pytest

from mechlab.errors import MechlabError
from mechlab.metrics.class_metrics import Scoring
from mechlab.runs.settings import EvaluationSettings
from mechlab.train.images import pixel_maps, refuse_classes_apart
from mechlab.train.session import resolve

WORDS = "4,nut=1"


def planned(request, **changes):
    return replace(resolve(replace(request, **changes)), evaluation=EvaluationSettings(sigma=WORDS))


def test_a_map_is_smoothed_as_those_of_its_task(small_request, rng):
    plan, scoring = planned(small_request), Scoring(aggregation="max", value=None, sigma=WORDS)
    maps = rng.standard_normal((4, 8, 8)).astype(np.float32)
    found = pixel_maps(plan, scoring, maps, [0, 1, 1, 0])
    refuse_classes_apart(plan)
    for index, name in enumerate(("bolt", "nut", "nut", "bolt")):
        expected = scoring.pixel_maps(maps[[index]], size=64, class_name=name)[0]
        np.testing.assert_array_equal(found[index], expected)
    assert not np.allclose(found, pixel_maps(plan, scoring, maps, [0, 0, 0, 0]))


def test_classes_apart_within_a_task_are_refused(small_request):
    with pytest.raises(MechlabError, match=r"differs between the classes of task 0 \(bolt, nut\)"):
        refuse_classes_apart(planned(small_request, tasks="bolt+nut"))
