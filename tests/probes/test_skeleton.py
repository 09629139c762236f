"""The skeleton that docs/adding-a-probe.md shows is a probe."""

import re

import numpy as np
import pytest

from mechlab.result import Evidence


@pytest.fixture
def skeleton(repository):
    text = (repository / "docs" / "adding-a-probe.md").read_text()
    code = re.search(r"```python\n(.*?)```", text, flags=re.DOTALL).group(1)
    names = {"__name__": "skeleton"}
    exec(compile(code, "docs/adding-a-probe.md", "exec"), names)
    return names


def test_the_skeleton_plans_measures_and_judges(skeleton, record, make_items, trained, rng):
    coordinates = {"item": np.arange(14), "adapter": np.zeros(14, np.int32)}
    axes = ("item", "row", "column", "dim")
    recording = record(
        [("latent/latent", 0.01 * rng.standard_normal((14, 4, 4, 3)), axes, coordinates)],
        items=make_items(14),
        train=trained(),
    )
    result = skeleton["judge"](Evidence.joined([skeleton["measure"](recording)]))
    plan = skeleton["plan"]()
    assert result.verdict == "supported"
    assert (result.decision_rule, result.thresholds) == (plan.decision_rule, plan.thresholds)
    assert result.n == 14
