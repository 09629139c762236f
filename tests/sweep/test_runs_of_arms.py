"""An arm that takes the run of another one: its words, its job, and that it waits for that run."""

import io
import json
import subprocess
from pathlib import Path

import pytest
import yaml

from mechlab.errors import MechlabError
from mechlab.files import read_json, write_json
from mechlab.sweep import local
from mechlab.sweep.arms import Place, resolved
from mechlab.sweep.file import read, sweep_of
from mechlab.sweep.jobs import cells, jobs
from mechlab.sweep.ledger import Job

FILE = {
    "name": "small",
    "source": "test",
    "question": "Does a teacher help?",
    "train": {"system": "vgae", "preset": "student"},
    "sizes": {"reduced": {"seeds": 2}},
    "arms": [
        {"name": "student"},
        {"name": "teacher", "preset": "teacher"},
        {"name": "taught", "runs": {"distill": "teacher"}},
        {"name": "by latent", "against": "taught", "settings": {"reconstruction_weight": 0}},
    ],
}


@pytest.fixture
def sweep(tmp_path):
    """Return a function from arms to the sweep."""

    def make(arms=FILE["arms"]):
        path = tmp_path / "small.yaml"
        path.write_text(yaml.safe_dump(FILE | {"arms": arms}))
        return sweep_of(read(path), size="reduced")

    return make


def test_an_arm_differs_in_the_key_whose_run_it_takes_and_hands_it_on(sweep):
    arms = resolved(sweep(), place=Place())
    assert [arm.differs for arm in arms[2:]] == [("distill",), ("reconstruction_weight",)]
    assert arms[3].runs == {"distill": "teacher"}
    assert "distill" not in arms[3].request.settings
    none = {"name": "untaught", "against": "taught", "settings": {"distill": None}}
    assert not resolved(sweep([*FILE["arms"], none]), place=Place())[-1].runs


def test_a_job_takes_the_run_of_its_own_seed(sweep):
    found = {(cell.arm, cell.seed): cell.job for cell in cells(resolved(sweep(), place=Place()), seeds=2)}
    for seed in (0, 1):
        assert found["taught", seed].after == {"distill": found["teacher", seed].hash}
    assert found["student", 0].after == {}
    assert found["taught", 0].hash != found["taught", 1].hash != found["student", 1].hash


def test_another_teacher_makes_another_job(sweep):
    wider = [*FILE["arms"]]
    wider[1] = {"name": "teacher", "preset": "teacher", "settings": {"embedding": 9}}
    first, second = (
        {cell.arm: cell.job.hash for cell in cells(resolved(sweep(arms), place=Place()), seeds=1)}
        for arms in (FILE["arms"], wider)
    )
    assert first["student"] == second["student"]
    assert first["taught"] != second["taught"]


def test_a_job_without_such_a_key_keeps_its_hash():
    assert Job(name="a", request={"seed": 0}).hash == Job(name="a", request={"seed": 0}, after={}).hash


@pytest.mark.parametrize(
    ("arm", "told"),
    [
        ({"name": "b", "runs": {"distill": "nobody"}}, "no earlier arm of sweep 'small' named 'nobody'"),
        ({"name": "b", "runs": {"distill": "b"}}, "no earlier arm of sweep 'small' named 'b'"),
        ({"name": "b", "runs": "student"}, "has runs 'student'; write the arm whose run each key has"),
        ({"name": "b", "runs": {"distil": "student"}}, "no setting named 'distil'"),
    ],
    ids=["unknown", "itself", "no mapping", "unknown key"],
)
def test_bad_words_are_one_sentence(sweep, arm, told):
    with pytest.raises(MechlabError, match=told):
        resolved(sweep([{"name": "student"}, arm]), place=Place())


class Worker(subprocess.Popen):
    """In the place of a process: it ends at once, and remembers what it was asked."""

    _child_created = False  # there is none to wait for
    asked: list = []  # noqa: RUF012 - of one test
    failing: tuple = ()

    def __init__(self, command, *, stdout, **_):
        document, answer = read_json(Path(command[3])), Path(command[4])
        Worker.asked.append(document)
        self.stdin, self.returncode = io.BytesIO(), int(document["request"]["preset"] in Worker.failing)
        if self.returncode:
            stdout.write(b"out of luck\n")
            return
        run = answer.parent / f"run-{len(Worker.asked)}"
        run.mkdir()
        write_json(answer, {"path": str(run), "recordings": [], "preset": document["request"]["preset"]})

    def poll(self):
        """It has ended."""
        return self.returncode


@pytest.fixture
def worker(monkeypatch):
    monkeypatch.setattr(Worker, "asked", [])
    monkeypatch.setattr(Worker, "failing", ())
    monkeypatch.setattr(local.subprocess, "Popen", Worker)
    monkeypatch.setattr(local, "POLL_SECONDS", 0.0)
    return Worker


def chain():
    student = Job(name="student", request={"preset": "student"}, after={"distill": ""})
    teacher = Job(name="teacher", request={"preset": "teacher", "settings": {"heads": 2}})
    return [Job(name="student", request=student.request, after={"distill": teacher.hash}), teacher]


def test_a_job_begins_when_the_run_that_it_takes_is_there(worker, tmp_path):
    found = local.run(chain(), folder=tmp_path, processes=2, report=lambda _: None)
    assert [one["request"]["preset"] for one in worker.asked] == ["teacher", "student"]
    assert [one["preset"] for one in found] == ["student", "teacher"]
    assert worker.asked[1]["request"]["settings"] == {"distill": found[1]["path"]}
    assert worker.asked[0]["request"]["settings"] == {"heads": 2}
    local.run(chain(), folder=tmp_path, processes=2, report=lambda _: None)
    assert len(worker.asked) == 2


def test_a_job_whose_run_failed_is_not_begun_and_is_told(worker, tmp_path, monkeypatch):
    monkeypatch.setattr(worker, "failing", ("teacher",))
    told = r"run 'teacher' failed: out of luck .* 1 that take their runs were not begun, the first 'student'"
    with pytest.raises(MechlabError, match=told):
        local.run(chain(), folder=tmp_path, processes=1, report=lambda _: None)
    assert len(worker.asked) == 1
    states = [json.loads(line)["state"] for line in (tmp_path / "ledger.jsonl").read_text().splitlines()]
    assert states == ["started", "failed"]


def test_every_seed_of_the_shipped_study_has_a_teacher_of_its_own():
    from mechlab.sweep.file import shipped

    for size in ("reduced", "full"):
        sweep = sweep_of(read(shipped()["kd"]), size=size)
        found = {(cell.arm, cell.seed): cell.job for cell in cells(resolved(sweep, place=Place()), seeds=6)}
        assert sweep.seeds >= 6
        for name, teacher in (("vgae taught", "vgae teacher"), ("gat taught", "gat teacher"),
                              ("by latent alone", "vgae teacher")):  # fmt: skip
            assert [found[name, seed].after["distill"] for seed in range(6)] == [
                found[teacher, seed].hash for seed in range(6)
            ]
        assert "distill" not in found["vgae student", 0].after | found["gat student", 0].after
        assert len(jobs(cells(resolved(sweep, place=Place()), seeds=6))) == 48
