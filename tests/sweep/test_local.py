"""The ledger and the local executor: what is finished is skipped, a failure is one sentence."""

import json
from dataclasses import replace

import pytest

from mechlab.errors import MechlabError
from mechlab.sweep import local
from mechlab.sweep.ledger import Job, Ledger

ENTRY = {"site": "image", "quantity": "score", "every": 1, "dtype": "float32", "reduction": None}
RECORD = {
    "plan": [ENTRY],
    "stages": None,
    "split": "test",
    "adapters": [],
    "losses": [],
    "normal_only": False,
    "limit": 2,
}


@pytest.fixture
def job(small_request, small_run):
    return Job(name="small", request=small_request.document(), record=(RECORD,))


def test_the_last_line_of_a_job_counts_and_a_torn_line_does_not(tmp_path):
    ledger = Ledger(tmp_path / "ledger.jsonl")
    job = Job(name="a", request={"seed": 0})
    ledger.append(job, "started")
    ledger.append(job, "finished", result={"path": str(tmp_path), "recordings": []})
    with ledger.path.open("a") as stream:
        stream.write('{"job": "torn')
    assert ledger.rows()[job.hash]["state"] == "finished"
    assert ledger.finished(job) == {"path": str(tmp_path), "recordings": []}


def test_a_job_whose_files_are_gone_is_not_finished(tmp_path):
    ledger = Ledger(tmp_path / "ledger.jsonl")
    job = Job(name="a", request={"seed": 0})
    ledger.append(job, "finished", result={"path": str(tmp_path / "gone"), "recordings": []})
    assert ledger.finished(job) is None


def test_jobs_differ_by_what_they_record():
    assert (
        Job(name="a", request={"seed": 0}).hash != Job(name="a", request={"seed": 0}, record=(RECORD,)).hash
    )
    assert Job(name="a", request={"seed": 0}).hash == Job(name="b", request={"seed": 0}).hash


def test_a_word_that_is_not_given_changes_no_job():
    given = Job(name="a", request={"seed": 0, "preset": "mini"})
    later = Job(name="a", request={"seed": 0, "preset": "mini", "name": None, "freeze": (), "settings": {}})
    assert given.hash == later.hash
    assert given.hash != Job(name="a", request={"seed": 0, "preset": "mini", "name": "b"}).hash


def test_workers_train_record_and_are_not_run_again(job, small_run, tmp_path):
    heard = []
    found = local.run([job], folder=tmp_path, processes=2, report=heard.append)
    assert found[0]["path"] == str(small_run.path)
    assert len(found[0]["recordings"]) == 1
    assert local.run([job], folder=tmp_path, processes=2, report=heard.append) == found
    assert "1 already done, 0 to do" in heard[-1]


def test_a_failed_job_is_one_sentence_and_stays_failed(job, small_request, tmp_path):
    broken = Job(name="broken", request=replace(small_request, preset="minni").document())
    with pytest.raises(MechlabError, match=r"run 'broken' failed: .*Did you mean 'mini'"):
        local.run([broken], folder=tmp_path, processes=1, report=lambda _: None)
    rows = [json.loads(line) for line in (tmp_path / "ledger.jsonl").read_text().splitlines()]
    assert [row["state"] for row in rows] == ["started", "failed"]


def test_no_process_is_refused(job, tmp_path):
    with pytest.raises(MechlabError, match="give at least 1"):
        local.run([job], folder=tmp_path, processes=0, report=lambda _: None)
