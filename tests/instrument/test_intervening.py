"""Interventions on a run: which images, which expert, which reference; and nothing is left behind."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mechlab.errors import MechlabError
from mechlab.files import read_json
from mechlab.instrument.session import record_run
from mechlab.recording import reader
from mechlab.runs.folder import RunFolder
from mechlab.runs.interventions import Asked, asked
from mechlab.specs import EvalSpec
from mechlab.train.alteration import COMPARABLE
from mechlab.train.scoring import Scores, score
from mechlab.train.session import alteration_of, plan_of, reevaluate, restore, train

CPU = torch.device("cpu")


def request(*entries, **changed):
    plan = [{"every": 1, "dtype": "float32", "reduction": None} | entry for entry in entries]
    return {"plan": plan, "stages": None, "split": "test", "adapters": [], "losses": [], "normal_only": False,
            "limit": None} | changed  # fmt: skip


@pytest.fixture(scope="module")
def small_run(small_run, tmp_path_factory):
    """A copy of the small run, since other tests count its evaluations."""
    place = tmp_path_factory.mktemp("altered") / small_run.name
    return RunFolder.open(Path(shutil.copytree(small_run.path, place)))


@pytest.fixture(scope="module")
def plain(small_run):
    return reevaluate(small_run, settings={"router": "oracle"})


@pytest.fixture
def evaluated(small_run):
    def run(**words):
        found = reevaluate(small_run, settings={"router": "oracle"}, interventions=asked(**words))
        folder = max((small_run.path / "evals").iterdir(), key=lambda path: path.stat().st_mtime_ns)
        return found, {name: Scores.load(folder / f"{name}.npz").given for name in ("bolt", "nut")}

    return run


@pytest.fixture(scope="module")
def own(small_run):
    """A recording of the run's own adapted features and last block."""
    return record_run(
        small_run.path,
        request(
            {"site": "adapted", "quantity": "activation"},
            {"site": "flow.1.latent", "quantity": "latent"},
            {"site": "flow.1.log_det", "quantity": "log_det"},
        ),
    )["recording"]


def direct(small_run, name, *, task, change=lambda system: None):
    """Return scores given a task's expert, of a system that the test itself has changed."""
    plan = plan_of(small_run)
    system = restore(plan, checkpoint=1, device=CPU)
    change(system)
    values = plan.inputs.features(name, "test").values
    return score(system, values, task=task, tasks=2, router="oracle", device=CPU).given


def test_a_swap_scores_each_task_by_the_other_s_expert(evaluated, small_run, plain):
    found, scores = evaluated(swap=["0,1"])
    np.testing.assert_array_equal(scores["bolt"], direct(small_run, "bolt", task=1))
    np.testing.assert_array_equal(scores["nut"], direct(small_run, "nut", task=0))
    assert found["hashes"] != plain["hashes"]
    assert found["interventions"][0]["intervention"] == "swap:0,1"


def test_a_swap_leaves_the_routes_alone(small_run):
    settings = {"router": "mahalanobis"}
    found = reevaluate(small_run, settings=settings, interventions=asked(swap=["0,1"]))
    before = reevaluate(small_run, settings=settings)
    assert found["mean"]["routing_accuracy"] == before["mean"]["routing_accuracy"]


def test_zero_is_the_same_as_a_hook_of_one_s_own(evaluated, small_run):
    def silence(system):
        block = system.flow[1]
        block.register_forward_hook(lambda _, __, out: type(out)(*[torch.zeros_like(part) for part in out]))

    found, scores = evaluated(ablate=["flow.1=zero"])
    np.testing.assert_array_equal(scores["bolt"], direct(small_run, "bolt", task=0, change=silence))
    assert found["interventions"][0]["changed"] is True
    assert found["spec"]["interventions"] == ["ablate:flow.1:zero"]


def test_the_mean_is_that_of_the_expert_s_own_training_normals(evaluated, small_run):
    plan = plan_of(small_run)
    system = restore(plan, checkpoint=1, device=CPU)
    normals = torch.from_numpy(plan.inputs.fitting(1))
    assert len(normals) <= 64
    with torch.no_grad():
        mean = system.adapt(normals, task=1).double().mean(dim=0).float()

    def hold(system):
        system.adapted.register_forward_hook(lambda _, __, out: mean.expand_as(out).clone())

    _, scores = evaluated(ablate=["adapted=mean"])
    np.testing.assert_allclose(scores["nut"], direct(small_run, "nut", task=1, change=hold), rtol=1e-5)


def test_every_image_gets_the_same_score_where_all_that_is_known_is_a_mean(evaluated):
    _, scores = evaluated(ablate=["adapted=mean"])
    for values in scores.values():
        np.testing.assert_allclose(values, np.broadcast_to(values[0], values.shape), rtol=1e-5)


def test_a_seed_resamples_the_same_images(evaluated, small_run):
    _, one = evaluated(ablate=["adapted=resample:1"])
    folder = small_run.path / "evals"
    for metrics in folder.glob("*/metrics.json"):
        if read_json(metrics)["spec"]["interventions"] == ["ablate:adapted:resample:1"]:
            metrics.unlink()
    _, again = evaluated(ablate=["adapted=resample:1"])
    _, other = evaluated(ablate=["adapted=resample:2"])
    np.testing.assert_array_equal(one["bolt"], again["bolt"])
    assert not np.array_equal(one["bolt"], other["bolt"])


@pytest.mark.parametrize("sites", [["adapted"], ["flow.1.latent"], ["flow.1.latent", "flow.1.log_det"]])
def test_patching_a_run_s_own_recording_changes_no_bit(evaluated, own, plain, sites):
    found, _ = evaluated(patch=[f"{site}={own}" for site in sites])
    assert found["hashes"] == plain["hashes"]
    assert [done["changed"] for done in found["interventions"]] == [False] * len(sites)
    assert [done["unchanged"] for done in found["interventions"]] == [[site] for site in sorted(sites)]


def test_a_patch_chooses_the_rows_of_the_expert(evaluated, small_run, plain):
    recorded = record_run(small_run.path, request({"site": "latent", "quantity": "latent"}, adapters=[0, 1]))[
        "recording"
    ]
    found, _ = evaluated(patch=[f"latent={recorded}"])
    assert found["hashes"] == plain["hashes"]


def test_a_patch_sets_no_threshold_from_images_that_were_not_recorded(evaluated, own, plain):
    found, _ = evaluated(patch=[f"adapted={own}"])
    assert "threshold" in plain["metrics"]["bolt"]
    assert "threshold" not in found["metrics"]["bolt"]


@pytest.fixture(scope="session")
def held_run(small_request):
    """The small run with another seed and enough held-out normals for a deviation."""
    settings = small_request.settings | {"holdout": 0.3}
    return RunFolder.open(Path(train(replace(small_request, seed=3, settings=settings))["path"]))


def test_another_run_s_recording_is_what_is_scored(held_run, own, evaluated):
    there = record_run(held_run.path, request({"site": "flow.1.latent", "quantity": "latent"}))
    found, _ = evaluated(patch=[f"flow.1.latent={there['recording']}"])
    assert found["interventions"][0]["changed"]
    texts = [asked(patch=[f"flow.1.latent={path}"]).texts for path in (there["recording"], own)]
    assert texts[0] != texts[1]


def test_scores_of_a_changed_flow_say_how_they_may_be_compared(held_run):
    found = reevaluate(held_run, settings={}, interventions=asked(ablate=["flow.1=zero"]))
    plain = reevaluate(held_run, settings={})
    assert found["comparable"] == COMPARABLE
    scores, z = (np.array(found["scores"]["bolt"][kind]) for kind in ("scores", "z"))
    assert np.corrcoef(scores, z)[0, 1] == pytest.approx(1.0)
    assert "comparable" not in plain and "z" not in plain["scores"]["bolt"]


def test_held_out_normals_go_through_the_changed_flow_too(held_run):
    words = asked(ablate=["adapted=mean"])  # every image scores the same then, held out or not
    found = reevaluate(held_run, settings={"router": "oracle"}, interventions=words)
    for name in ("bolt", "nut"):
        expected = found["metrics"][name]["threshold"]
        assert found["scores"][name]["scores"] == pytest.approx([expected] * 8, rel=1e-6)
        assert found["scores"][name]["z"] is None  # no deviation to measure by


def test_an_evaluation_without_interventions_is_the_one_it_was(small_run, small_summary):
    document = reevaluate(small_run, settings={})
    assert document["spec"]["interventions"] == []
    assert EvalSpec.model_validate(document["spec"]).hash == small_summary["evaluation"]


def test_z_scores_have_held_out_normals_at_zero_and_one():
    from mechlab.train.evaluation import z_scores

    held = np.array([1.0, 2.0, 3.0])
    assert z_scores(held, held) == pytest.approx([-1.0, 0.0, 1.0])
    assert z_scores(5 * held, 5 * held) == pytest.approx([-1.0, 0.0, 1.0])
    assert z_scores(held, np.ones(1)) is None
    assert z_scores(held, np.ones(3)) is None
    assert z_scores(held, np.float32(0.1) + np.array([0.0, 0.0, 1e-9])) is None  # rounding is no deviation


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ({"ablate": ["flw.1=zero"]}, "no site named 'flw.1'. Did you mean 'flow.1"),
        ({"ablate": ["flow.1.latent=zero"]}, "log-det would stay that of the map it replaces"),
        ({"ablate": ["flow.1=zero", "flow.1=mean"]}, "'flow.1' is replaced by 'ablate:flow.1:mean' already"),
        ({"ablate": ["router.0=zero"]}, "'ablate:router.0:zero' never acted"),
        ({"swap": ["0,5"]}, "names task 5, and the checkpoint after task 1 has tasks 0 to 1"),
    ],
    ids=["site", "latent alone", "twice", "never ran", "task"],
)
def test_what_does_not_fit_is_one_sentence_and_leaves_no_evaluation(small_run, words, sentence):
    before = set((small_run.path / "evals").iterdir())
    with pytest.raises(MechlabError, match=sentence):
        reevaluate(small_run, settings={}, interventions=asked(**words))
    assert set((small_run.path / "evals").iterdir()) == before


def test_a_recording_without_some_of_the_images_is_refused(small_run):
    few = record_run(small_run.path, request({"site": "adapted", "quantity": "activation"}, limit=2))
    with pytest.raises(MechlabError, match=r"is not in the recording of .*; record the same split without"):
        reevaluate(small_run, settings={}, interventions=asked(patch=[f"adapted={few['recording']}"]))


def test_a_recording_that_is_another_one_is_refused(small_run, own):
    text = "patch:adapted:0123456789ab:activation/adapted"
    with pytest.raises(MechlabError, match="and no folder was given for it"):
        reevaluate(small_run, settings={}, interventions=Asked(texts=(text,)))
    wrong = Asked(texts=(text,), recordings={"0123456789ab": Path(own)})
    with pytest.raises(MechlabError, match="names another; give the one that it names"):
        reevaluate(small_run, settings={}, interventions=wrong)


def test_the_system_is_as_it_was(small_run):
    plan = plan_of(small_run)
    system = restore(plan, checkpoint=1, device=CPU)
    values = plan.inputs.features("bolt", "test").values
    before = score(system, values, task=0, tasks=2, router="oracle", device=CPU)
    words = asked(ablate=["flow.1=resample"], swap=["0,1"])
    with alteration_of(plan, system, words, stage=1) as alteration:
        changed = score(system, values, task=0, tasks=2, router="oracle", device=CPU,
                        around=lambda task, _: alteration.around(task, ()))  # fmt: skip
    after = score(system, values, task=0, tasks=2, router="oracle", device=CPU)
    assert not np.array_equal(changed.given, before.given)
    np.testing.assert_array_equal(after.given, before.given)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in system.modules())


def test_a_recording_sees_the_changed_flow_and_its_spec_says_so(small_run):
    entries = ({"site": "flow.1.latent", "quantity": "latent"}, {"site": "patch", "quantity": "score"})
    words = asked(ablate=["flow.1=zero"]).document()
    plain = record_run(small_run.path, request(*entries, limit=2))
    found = record_run(small_run.path, request(*entries, limit=2) | words)
    assert found["recording"] != plain["recording"]
    assert found["interventions"] == ["ablate:flow.1:zero"]
    assert found["comparable"] == COMPARABLE
    assert "interventions" not in plain
    with reader.open(found["recording"]) as recording, reader.open(plain["recording"]) as before:
        assert not recording["latent/flow.1"].read().any()
        assert before["latent/flow.1"].read().any()
        assert recording.attributes["spec"]["evaluation"]["interventions"] == ["ablate:flow.1:zero"]
        assert not np.array_equal(recording["score/patch"].read(), before["score/patch"].read())


def test_a_reference_is_not_recorded(small_run):
    entries = ({"site": "flow.0.latent", "quantity": "latent"},)
    words = asked(ablate=["flow.1=mean"]).document()
    found = record_run(small_run.path, request(*entries, limit=2) | words)
    with reader.open(found["recording"]) as recording:
        assert recording["latent/flow.0"].coordinates["item"].tolist() == [0, 1, 2, 3]


def test_gradients_are_those_of_the_changed_flow(small_run):
    entries = ({"site": "flow.0", "quantity": "row_contribution", "reduction": "total"},)
    kept = record_run(small_run.path, request(*entries, limit=1, losses=["mean"]))
    words = asked(ablate=["flow.1=mean"]).document()
    found = record_run(small_run.path, request(*entries, limit=1, losses=["mean"]) | words)
    with reader.open(found["recording"]) as one, reader.open(kept["recording"]) as two:
        assert not np.allclose(one["row_contribution/total"].read(), two["row_contribution/total"].read())


def test_a_gradient_behind_what_is_replaced_is_one_sentence(small_run):
    entries = ({"site": "flow.0.subnet.*", "quantity": "gradient", "reduction": "norm"},)
    words = asked(ablate=["flow.0=zero"]).document()
    with pytest.raises(MechlabError, match="loss 'mean' does not depend on what the plan differentiates"):
        record_run(small_run.path, request(*entries, limit=1, losses=["mean"]) | words)


def test_raw_images_cannot_be_changed(small_run):
    words = asked(swap=["0,1"]).document()
    with pytest.raises(MechlabError, match="the plan reads raw images alone; leave one of them out"):
        record_run(small_run.path, request({"site": "*", "quantity": "image"}) | words)
