"""A recording has one grid: places of tasks that see sizes of their own are refused, the rest is recorded."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mechlab.errors import MechlabError
from mechlab.instrument.session import record_run
from mechlab.recording import reader
from mechlab.runs.folder import RunFolder
from mechlab.train.session import train

FINE = {"nut": {"image_size": 96}}


def request(*entries, **changed):
    plan = [{"every": 1, "dtype": "float32", "reduction": None} | entry for entry in entries]
    return {"plan": plan, "stages": None, "split": "test", "adapters": [], "losses": [], "normal_only": False,
            "limit": 2} | changed  # fmt: skip


@pytest.fixture(scope="module")
def sized(small_request, tmp_path_factory):
    plan = ({"site": "dia.*", "quantity": "gradient", "reduction": "norm"},)
    request = replace(small_request, overrides=FINE, record=plan, out=tmp_path_factory.mktemp("sized"))
    return RunFolder.open(Path(train(request)["path"]))


def test_what_has_no_place_is_recorded_while_training_and_after(sized):
    with reader.open(sized.recordings()[0]) as during:
        norms = [during[key].read() for key in during.keys("gradient*")]
        assert norms and all(np.isfinite(values).all() for values in norms)
    weights = {"site": "*", "quantity": "weight"}
    gradients = {"site": "*", "quantity": "gradient", "reduction": "norm"}
    found = record_run(sized.path, request(weights, gradients, losses=["mean"]))
    with reader.open(found["recording"]) as after:
        assert after.keys("weight/*") and after.keys("gradient*")
        assert {item.class_name for item in after.items} == {"bolt", "nut"}


def test_places_are_recorded_before_the_task_that_has_another_grid(sized):
    found = record_run(sized.path, request({"site": "latent", "quantity": "latent"}, stages=[0]))
    with reader.open(found["recording"]) as before:
        assert before["latent/latent"].read().shape[1:3] == (8, 8)


@pytest.mark.parametrize(
    ("entry", "changed", "sentence"),
    [
        ({"site": "latent", "quantity": "latent"}, {}, "'latent' keeps places, and a recording has one grid: "
                                                       "task 1 sees 96 pixels, the run 64"),
        ({"site": "patch", "quantity": "score"}, {}, "'score' keeps places"),
        ({"site": "*", "quantity": "gradient"}, {"adapters": [0], "losses": ["mean"]},
         "--adapter 0 sees the images of every task"),
    ],
    ids=["latent", "score", "adapter"],
)  # fmt: skip
def test_places_of_several_grids_are_refused(entry, changed, sentence, sized):
    with pytest.raises(MechlabError, match=sentence):
        record_run(sized.path, request(entry, **changed))
    assert len(list((sized.path / "recordings").glob("*/recording.h5"))) >= 1


def test_a_training_that_records_places_is_refused(small_request, tmp_path):
    plan = ({"site": "latent", "quantity": "latent"},)
    with pytest.raises(MechlabError, match="or a checkpoint before that task"):
        train(replace(small_request, overrides=FINE, record=plan, out=tmp_path))
