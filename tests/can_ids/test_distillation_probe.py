"""`mechlab probe distillation-signal`: teachers before students, recordings matched, a verdict from logs."""

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

from cli.main import mechlab as command_line
from mechlab import systems
from mechlab.errors import MechlabError
from mechlab.result import Result
from mechlab.runs.folder import runs
from mechlab.sweep import local
from mechlab.sweep.worker import work

MODULE = systems.probe("distillation-signal")
TINY = {
    None: {"hidden": [8, 8, 3], "heads": 2, "decoder_heads": 2, "embedding": 3},
    "gat": {"hidden": 4, "heads": 2, "embedding": 3},
}
COMMON = {"epochs": 1, "batch_size": 32, "false_positives": 0.2, "split": "published"}
FEW = ("vgae teacher", "vgae without", "vgae both")


def small(plan, *, names=None):
    """The plan with models that train within a second; of its arms those of some names."""
    arms = [replace(arm, settings=arm.settings | TINY[arm.system] | COMMON) for arm in plan.arms]
    return replace(plan, arms=tuple(arm for arm in arms if names is None or arm.name in names))


def in_this_process(jobs, *, folder, processes, report):
    """What the executor does, without a process a job."""
    done = {}
    for job in jobs:
        document = job.document()
        request = document["request"] | {"threads": 1}
        taken = {key: done[needed]["path"] for key, needed in job.after.items()}
        request["settings"] = request["settings"] | taken
        done[job.hash] = work(document | {"request": request})
    return [done[job.hash] for job in jobs]


def asked(*words):
    words = ["probe", "distillation-signal", "--json", "--quiet", *map(str, words)]
    found = CliRunner().invoke(command_line, words)
    if isinstance(found.exception, MechlabError):
        raise found.exception
    assert found.exit_code == 0, found.output
    return json.loads(found.stdout)


def answered(root, place, *, seeds, names=None, executor=in_this_process):
    """Train the small plan on logs and return what the command prints."""
    plan = small(MODULE.plan(), names=names)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MODULE, "plan", lambda: plan)
        patch.setattr(local, "run", executor)
        return asked("--train", "--seeds", seeds, "--root", root, "--cache", place / "cache", *places(place))


def places(place):
    return ("--out", place / "runs", "--studies", place / "studies")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("probe")


@pytest.fixture(scope="module")
def one_seed(can_folder, place):
    return answered(can_folder, place, seeds=1, names=FEW)


def test_a_teacher_and_its_students_are_trained_recorded_and_judged(one_seed, place):
    assert (one_seed["n"], one_seed["verdict"], one_seed["replication"]) == (1, "undecided", "seed")
    assert [(row["system"], row["arm"]) for row in one_seed["tables"]["layers"]] == [
        ("vgae", arm) for arm in ("without", "both") for _ in range(3)
    ]
    (folder,) = (place / "studies").iterdir()
    assert Result.load(folder / "result.json").effect == one_seed["effect"]


def test_the_runs_themselves_give_the_same_numbers(one_seed, place):
    again = asked(*sorted((place / "runs").glob("vgae-*")), *places(place))
    assert again["effect"] == one_seed["effect"]
    assert {json.dumps(row) for row in again["tables"]["runs"]} == {
        json.dumps(row) for row in one_seed["tables"]["runs"]
    }


def test_students_alone_are_refused(one_seed, place):
    assert one_seed["n"] == 1
    students = [run.path for run in runs(place / "runs") if run.parts()["size"] == "student"]
    assert len(students) == 2
    with pytest.raises(MechlabError, match="no teacher of seed 0 is among the runs of vgae"):
        asked(*students, *places(place))


def test_a_plan_on_logs_without_a_folder_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(local, "run", in_this_process)
    with pytest.raises(MechlabError, match="no folder of logs was given; give --root FOLDER"):
        asked("--train", "--seeds", 1, *places(tmp_path))


@pytest.mark.slow
def test_all_arms_over_two_seeds_each_with_its_own_teacher(can_folder, tmp_path):
    found = answered(can_folder, tmp_path, seeds=2)
    assert (found["n"], found["verdict"]) == (2, "undecided")
    assert {(row["system"], row["arm"], row["n"]) for row in found["tables"]["arms"]} == {
        *(("vgae", arm, 2) for arm in ("teacher", "without", "latent", "reconstruction", "both")),
        *(("gat", arm, 2) for arm in ("teacher", "without", "soft labels")),
    }
    assert {row["arm"] for row in found["tables"]["calibration"]} == {"teacher", "without", "soft labels"}
    known = {run.name: run for run in runs(tmp_path / "runs")}
    students = [run for run in known.values() if run.parts()["distill"]]
    assert len(students) == 8
    for run in students:
        teacher = known[run.parts()["distill"]]
        assert (teacher.spec().seed, teacher.spec().system) == (run.spec().seed, run.spec().system)
        assert teacher.parts()["size"] == "teacher"


@pytest.mark.slow
def test_the_plan_runs_in_processes_of_its_own(can_folder, tmp_path):
    found = answered(can_folder, tmp_path, seeds=1, names=FEW, executor=local.run)
    assert (found["n"], found["verdict"]) == (1, "undecided")
