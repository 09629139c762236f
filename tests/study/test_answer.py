"""The plan comes before the first run, and the verdict carries its hash."""

import shutil
from dataclasses import replace

import pytest

from mechlab import systems
from mechlab.errors import MechlabError
from mechlab.files import read_json, write_json
from mechlab.result import Evidence, Result
from mechlab.study import answer
from mechlab.study.answer import Place, commit_plan, jobs, planned, preview, probe_inputs
from mechlab.study.plan import recorded_of
from mechlab.sweep import local


def test_the_hash_covers_the_rule_and_its_thresholds():
    plan = systems.probe("shortcut").plan()
    changed = replace(plan, thresholds={**plan.thresholds, "trivial_auroc": 0.9})
    assert plan.hash == systems.probe("shortcut").plan().hash
    assert len({plan.hash, changed.hash, replace(plan, decision_rule="other").hash}) == 3


def test_every_arm_and_seed_is_one_job():
    study = planned(systems.probe("tail_training"), seeds=2)
    names = [job.name for job in jobs(study, place=Place())]
    assert len(names) == len(study.arms) * 2 == len(set(names))


def test_the_plan_is_written_before_the_first_run(tmp_path, monkeypatch):
    def run(*_, folder, **__):
        assert read_json(folder / "plan.json")["hash"] == planned(systems.probe("shortcut")).hash
        raise MechlabError("stop here")

    monkeypatch.setattr(local, "run", run)
    with pytest.raises(MechlabError, match="stop here"):
        answer.answer("shortcut", place=Place(studies=tmp_path))
    assert len(list(tmp_path.glob("shortcut-*/plan.json"))) == 1


def test_another_plan_in_the_same_folder_is_refused(tmp_path):
    study = planned(systems.probe("shortcut"))
    commit_plan(study, tmp_path)
    with pytest.raises(MechlabError, match="holds another plan"):
        commit_plan(replace(study, seeds=9), tmp_path)


def test_a_run_without_the_recording_gets_one_and_is_never_trained(small_run, tmp_path):
    before = (small_run.path / "checkpoints" / "after_task_1" / "weights.safetensors").stat().st_mtime_ns
    result = probe_inputs("shortcut", [small_run.path], place=Place(studies=tmp_path))
    assert (
        small_run.path / "checkpoints" / "after_task_1" / "weights.safetensors"
    ).stat().st_mtime_ns == before
    folder = next(tmp_path.glob("shortcut-*"))
    assert Result.load(folder / "result.json") == result
    assert result.plan_hash == read_json(folder / "plan.json")["hash"]
    assert result.post_hoc == ()
    assert len(Evidence.load(folder / "evidence.json")) > 0


def test_a_threshold_that_the_judge_changed_is_called_post_hoc(small_run, tmp_path, monkeypatch):
    module = systems.probe("shortcut")
    honest = module.judge
    monkeypatch.setattr(module, "judge", lambda evidence: honest(evidence, trivial_auroc=0.51))
    result = probe_inputs("shortcut", [small_run.path], place=Place(studies=tmp_path))
    assert result.post_hoc == ("trivial_auroc: planned 0.75, used 0.51",)


def test_runs_that_a_switch_did_not_change_are_refused(small_run, tmp_path):
    copy = tmp_path / "moleflow-000000000000"
    shutil.copytree(small_run.path, copy)
    document = read_json(copy / "run.json")
    document["spec"]["parts"]["ewc"] = True
    write_json(copy / "run.json", document)
    with pytest.raises(MechlabError, match=r"differ in parts.ewc, yet every loss"):
        probe_inputs("shortcut", [small_run.path, copy], place=Place(studies=tmp_path))


def test_a_preview_runs_nothing(tmp_path):
    found = preview("energy-rank", seeds=3, place=Place(studies=tmp_path))
    assert len(found["runs"]) == 3
    assert found["plan"]["decision_rule"]
    assert list(tmp_path.iterdir()) == []


def words(**changed):
    plain = {"plan": None, "stages": ()}
    more = {"split": "test", "adapters": (), "losses": (), "normal_only": False, "limit": None}
    return plain | more | changed


def test_entries_become_a_plan():
    entries = [{"site": "a", "quantity": "latent"}, {"site": "b", "quantity": "log_det"}]
    found = recorded_of(words(plan=entries, stages=(1,)))
    assert [(entry["site"], entry["quantity"]) for entry in found["plan"]] == [
        ("a", "latent"),
        ("b", "log_det"),
    ]
    assert found["stages"] == [1]


@pytest.mark.parametrize(
    ("text", "sentence"), [("a: 1", "holds a dict; write a list"), ("- {sit: a}", "Did you mean 'site'")]
)
def test_a_wrong_plan_file_is_one_sentence(tmp_path, text, sentence):
    (tmp_path / "plan.yaml").write_text(text)
    with pytest.raises(MechlabError, match=sentence):
        recorded_of(words(plan=tmp_path / "plan.yaml"))
