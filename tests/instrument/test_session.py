"""A recording of a run: images, latents, log-dets, gradients, weights and scores of its checkpoints."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mechlab.errors import MechlabError
from mechlab.instrument.session import record_run
from mechlab.recording import reader
from mechlab.train.checkpoint import load_weights
from mechlab.train.session import build, plan_of


def request(*entries, **changed):
    plan = [{"every": 1, "dtype": "float32", "reduction": None} | entry for entry in entries]
    return {"plan": plan, "stages": None, "split": "test", "adapters": [], "losses": [], "normal_only": False,
            "limit": None} | changed  # fmt: skip


@pytest.fixture
def recorded(small_run):
    opened = []

    def make(*entries, **changed):
        found = record_run(small_run.path, request(*entries, **changed))
        opened.append(reader.open(found["recording"]))
        return opened[-1]

    yield make
    for recording in opened:
        recording.close()


def test_the_sum_of_block_log_dets_is_the_score_s(recorded, small_run):
    found = recorded(
        {"site": "*.log_det", "quantity": "log_det", "dtype": "float64"},
        {"site": "latent", "quantity": "latent", "dtype": "float64"},
        {"site": "patch", "quantity": "score"},
        limit=2,
        adapters=[0],
    )
    keys = [key for key in found.keys("log_det/*") if "dia.1" not in key]
    total = sum(found[key].read() for key in keys)
    latent = found["latent/latent"].read()
    nll = 0.5 * ((latent**2).sum(-1) + latent.shape[-1] * np.log(2 * np.pi)) - total
    own = (
        np.array([found.items[row].class_name for row in found["score/patch"].coordinates["item"]]) == "bolt"
    )
    assert own.any()
    np.testing.assert_allclose(nll[:2], found["score/patch"].read()[own], rtol=1e-4)


def test_weight_changes_are_those_between_checkpoints(recorded, small_run):
    found = recorded({"site": "type:Linear", "quantity": "weight_delta", "dtype": "float64"}, stages=[1])
    plan = plan_of(small_run)
    before, after = build(plan, tasks=1), build(plan, tasks=2)
    load_weights(small_run.checkpoint(0), before)
    load_weights(small_run.checkpoint(1), after)
    key = next(key for key in found.keys("weight_delta/flow.0*") if key.endswith("base"))
    assert not found[key].read().any()  # frozen after the first task
    moved = next(key for key in found.keys("weight_delta/flow.0*") if ".up.1" in key)
    name = moved.removeprefix("weight_delta/") + ".weight"
    assert found[moved].axes == ("stage", "fan_out", "fan_in")
    expected = dict(after.named_parameters())[name] - dict(build(plan, tasks=2).named_parameters())[name]
    np.testing.assert_allclose(found[moved].read()[0], expected.detach().numpy(), atol=1e-7)
    assert torch.count_nonzero(expected) > 0


def test_the_same_images_go_through_every_adapter_that_is_asked_for(recorded):
    found = recorded({"site": "latent", "quantity": "latent"}, adapters=[0, 1], limit=2)
    adapters = found["latent/latent"].coordinates["adapter"]
    items = found["latent/latent"].coordinates["item"]
    assert sorted(items[adapters == 0].tolist()) == sorted(items[adapters == 1].tolist())
    values = found["latent/latent"].read()
    assert not np.allclose(values[adapters == 0], values[adapters == 1])


def test_gradients_carry_the_loss_they_were_taken_under(recorded):
    found = recorded(
        {"site": "flow.*", "quantity": "row_contribution", "reduction": "total"},
        losses=["mean", "tail:1:0.02"],
        limit=1,
    )
    key = found.keys("row_contribution*")[0]
    assert set(found[key].coordinates["loss"].tolist()) == {"mean", "tail:1:0.02"}
    assert found[key].axes == ("item", "row", "column")


def test_raw_statistics_need_no_model(recorded):
    found = recorded({"site": "*", "quantity": "image"})
    assert found.keys("image/*") == ("image/distance", "image/mean", "image/std")
    bolt = np.array([item.class_name == "bolt" for item in found.items])
    means = found["image/mean"].read()
    assert means[~bolt].mean() - means[bolt].mean() > 40  # nuts are drawn brighter


def test_only_normal_images_where_only_they_are_asked_for(recorded):
    found = recorded({"site": "label", "quantity": "score"}, normal_only=True)
    assert {item.label for item in found.items} == {0}


def test_the_training_split_can_be_recorded(recorded):
    found = recorded({"site": "latent", "quantity": "latent"}, split="train", limit=3)
    assert {item.split for item in found.items} == {"train"}
    assert len(found.items) == 6


def test_a_recording_says_what_it_is_of(recorded, small_run):
    found = recorded({"site": "image", "quantity": "score"})
    assert found.attributes["run_id"] == small_run.name
    assert found.attributes["spec"]["train"] == small_run.spec().hash
    assert found.facts["train"]["seed"] == 0


def test_a_plan_that_does_not_fit_leaves_no_recording(small_run):
    before = {path.name for path in (small_run.path / "recordings").iterdir() if path.is_dir()}
    with pytest.raises(MechlabError, match="latnt"):
        record_run(small_run.path, request({"site": "latnt", "quantity": "latent"}))
    assert {path.name for path in (small_run.path / "recordings").iterdir() if path.is_dir()} == before


@pytest.mark.parametrize(
    ("dtype", "at", "share"),
    [("float64", None, 1.0), ("float32", None, 0.5), ("float16", None, 0.25), ("float64", (0, 3), 0.25)],
    ids=["float64", "float32", "float16", "two of eight images"],
)
def test_a_recording_that_cannot_fit_the_disk_with_its_packed_copy_is_refused(
    small_run, monkeypatch, dtype, at, share
):
    from mechlab.instrument import session

    plan = session.plan_of(session.RunFolder.open(small_run.path))
    rows, columns = plan.inputs.grid
    taken = 2 * share * 16 * rows * columns * plan.inputs.dim * 8  # 16 images
    free = {"bytes": int(taken / 0.9) - 1}
    entry = {"site": "latent", "quantity": "latent", "dtype": dtype} | ({"at": at} if at else {})
    spec = session.spec_of(plan, request(entry))
    monkeypatch.setattr(session.shutil, "disk_usage", lambda _: SimpleNamespace(free=free["bytes"]))
    with pytest.raises(MechlabError, match=r"half of it while it is packed.* or --dtype float16"):
        session.expected(plan, spec, print)
    free["bytes"] += 2
    said = []
    session.expected(plan, spec, said.append)
    assert "16 images; up to" in said[0]
    weights = session.spec_of(plan, request({"site": "*", "quantity": "weight"}))
    session.expected(plan, weights, said.append)
    assert "latents" in said[0] and "latents" not in said[1]
