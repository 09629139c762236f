"""What a task has of its own changes that task alone, to the bit."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mechlab.errors import MechlabError
from mechlab.runs.folder import RunFolder
from mechlab.runs.overrides import by_task, overrides_of, sigma_words
from mechlab.train.session import plan_of, resolve, train
from reproductions.moleflow.config import MoLEFlowConfig
from reproductions.moleflow.own_config import OVERRIDABLE
from reproductions.moleflow.system import MoLEFlow
from reproductions.moleflow.task_names import task_of

OWN = {"nut": {"dia_blocks": 2, "adapter": "diagonal", "tail_weight": 0.0}}
TASKS = (("bolt",), ("nut", "pin"))


@pytest.fixture(scope="module")
def overridden(small_request, tmp_path_factory):
    request = replace(small_request, overrides=OWN, out=tmp_path_factory.mktemp("overrides"))
    return RunFolder.open(Path(train(request)["path"]))


def weights(run, task):
    return load_file(run.checkpoint(task) / "weights.safetensors")


def test_a_task_without_its_own_is_that_of_the_plain_run_to_the_bit(small_run, overridden):
    plain, changed = weights(small_run, 1), weights(overridden, 1)
    alike = [name for name in plain if task_of(name) in (None, "0")]
    assert alike and all(torch.equal(plain[name], changed[name]) for name in alike)
    metrics = [run.summary()["metrics"]["bolt"] for run in (small_run, overridden)]
    assert metrics[0]["given_image_auroc"] == metrics[1]["given_image_auroc"]
    one, two = ([row["loss"] for row in run.log() if row["task"] == 0] for run in (small_run, overridden))
    assert one == two


def test_the_task_that_has_its_own_is_another(small_run, overridden):
    plain, changed = weights(small_run, 1), weights(overridden, 1)
    assert not any(name.startswith("dia.1.1.") for name in plain)
    assert any(name.startswith("dia.1.1.") for name in changed)
    assert not any(name.startswith("dia.0.1.") for name in changed)
    rows = overridden.log()
    assert ["nll_with_tail" in row for row in rows] == [row["task"] == 0 for row in rows]


def test_the_run_keeps_it_and_is_read_again(small_run, overridden):
    own = {"1": {"adapter": "diagonal", "dia_blocks": 2, "tail_weight": 0.0}}
    assert overridden.spec().parts["overrides"] == own
    assert "overrides" not in small_run.spec().parts
    assert (
        plan_of(overridden).parts == overridden.parts() | {} or plan_of(overridden).spec == overridden.spec()
    )


def test_sigma_of_a_task_is_a_width_of_its_class(small_request):
    plan = resolve(replace(small_request, overrides={"nut": {"sigma": 2}}))
    assert plan.evaluation.sigma == "4,nut=2"
    assert plan.spec == resolve(small_request).spec
    assert sigma_words(4.0, OWN) == 4.0


def test_words_are_read_by_class():
    assert overrides_of(("nut:dia_blocks=4", "nut:sigma=2", "bolt:adapter=film")) == {
        "nut": {"dia_blocks": 4, "sigma": 2},
        "bolt": {"adapter": "film"},
    }


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("nut",), "is no setting of a task; write --task CLASS:key=value"),
        (("nut:dia_blocks",), "'dia_blocks' is no setting"),
        (("nut:dia_blocks=1", "nut:dia_blocks=2"), "'dia_blocks' of 'nut' is given twice"),
    ],
    ids=str,
)
def test_words_of_another_form_are_refused(words, sentence):
    with pytest.raises(MechlabError, match=sentence):
        overrides_of(words)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"nit": {"dia_blocks": 4}}, r"no class of these tasks named 'nit'\. Did you mean 'nut'"),
        ({"nut": {"blocks": 4}}, "no key that a task can have of its own named 'blocks'"),
        ({"nut": {"dia_blocks": 2}}, "--task nut:dia_blocks=2 is what the whole run has"),
        ({"nut": {"dia_blocks": -1}}, "key 'dia_blocks' = -1 is not allowed"),
        ({"nut": {"focal_gamma": 1.0}}, "nothing reads it while focal = none"),
        ({"nut": {"dia_blocks": 3}, "pin": {"dia_blocks": 4}}, "is given 'dia_blocks' twice, by two of its"),
    ],
    ids=str,
)
def test_what_a_task_cannot_have_is_refused(given, sentence):
    parts = MoLEFlowConfig().model_dump(mode="json")
    with pytest.raises(MechlabError, match=sentence):
        by_task(given, system="moleflow", tasks=TASKS, parts=parts)


def test_classes_of_one_task_may_say_the_same():
    parts = MoLEFlowConfig().model_dump(mode="json")
    given = {"nut": {"dia_blocks": 3}, "pin": {"dia_blocks": 3}}
    assert by_task(given, system="moleflow", tasks=TASKS, parts=parts) == {"1": {"dia_blocks": 3}}


def test_a_combination_of_one_task_is_refused_too(small_request):
    request = replace(small_request, overrides={"nut": {"focal": "published"}}, dim=32)
    with pytest.raises(MechlabError, match="--allow focal-above-20"):
        resolve(request)
    assert resolve(replace(request, allow=("focal-above-20",))).spec.allowed == ("focal-above-20",)


def test_every_key_that_a_task_can_have_is_a_key():
    assert set(OVERRIDABLE) < set(MoLEFlowConfig.model_fields)
    with pytest.raises(ValueError, match="task 1 cannot have 'blocks' of its own"):
        MoLEFlow.create({"overrides": {"1": {"blocks": 4}}}, dim=8, grid=(4, 4), seed=0)
