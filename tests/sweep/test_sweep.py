"""A sweep from the command line: it runs, tells where it stands, and goes on after a kill."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import yaml

from cli.main import main
from mechlab.files import lock

FILE = {
    "name": "pictures",
    "source": "test",
    "question": "Does the subnet matter?",
    "train": {
        **{"preset": "reduced", "data": "folder", "tasks": "bolt,nut", "image_size": 64, "dim": 16},
        **{"epochs": 1, "batch_size": 6, "settings": {"dia_blocks": 1, "lora_rank": 4}},
    },
    "sizes": {"reduced": {"seeds": 1}},
    "arms": [
        {"name": "parent"},
        {"name": "oracle", "settings": {"router": "oracle"}},
        {"name": "plain", "settings": {"subnet": "plain"}},
    ],
}


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(FILE))
    return tmp_path / "sweep.yaml"


@pytest.fixture
def mechlab(capsys, monkeypatch, pictures):
    def run(*words):
        monkeypatch.setattr(sys, "argv", ["mechlab", *map(str, words), "--root", str(pictures)])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return ended.value.code, captured.out, captured.err

    return run


def test_status_before_the_first_run_is_waiting_and_nothing_is_written(file, mechlab, tmp_path):
    code, out, _ = mechlab("sweep", "status", file, "--json")
    assert code == 0
    assert {row["state"] for row in json.loads(out)["rows"]} == {"waiting"}
    assert not (tmp_path / "studies").exists()
    assert not (tmp_path / "runs").exists()


def test_a_plan_tells_what_differs_and_how_many_trainings_it_takes(file, mechlab):
    _, out, _ = mechlab("sweep", "plan", file, "--json")
    plan = json.loads(out)
    assert plan["runs"] == 2  # the oracle is scored on the parent's run
    assert [arm["differs"] for arm in plan["arms"]] == [[], ["router"], ["subnet"]]
    _, out, _ = mechlab("sweep", "plan", file)
    assert "Does the subnet matter?" in out and "subnet" in out


def test_a_started_job_without_a_process_is_interrupted(file, mechlab, tmp_path):
    from mechlab.sweep.arms import Place, resolved
    from mechlab.sweep.file import read, sweep_of
    from mechlab.sweep.jobs import cells
    from mechlab.sweep.ledger import Ledger

    _, _, _ = mechlab("sweep", "status", file)
    sweep = sweep_of(read(file), size="reduced")
    root = next(word for word in sys.argv if "pictures" in word)
    folder = tmp_path / "studies" / sweep.folder
    place = Place(root=type(file)(root))
    found = cells(resolved(sweep, place=place), seeds=1)
    Ledger(folder / "ledger.jsonl").append(found[0].job, "started")
    _, out, _ = mechlab("sweep", "status", file, "--json")
    assert [row["state"] for row in json.loads(out)["rows"]] == ["interrupted", "interrupted", "waiting"]
    with lock(folder / "lock"):
        _, out, _ = mechlab("sweep", "status", file, "--json")
        assert json.loads(out)["rows"][0]["state"] == "running"
        code, _, err = mechlab("sweep", "run", file)
        assert code == 1
        assert "another process is writing this sweep" in err


def test_a_report_of_nothing_says_so(file, mechlab):
    code, out, _ = mechlab("sweep", "report", file)
    assert code == 0
    assert "nothing is finished yet" in out
    code, _, err = mechlab("sweep", "report", file, "--metric", "auroc")
    assert code == 1
    assert "no metric of a sweep named 'auroc'" in err


def command(file, pictures, *more):
    words = ["sweep", "run", str(file), "--root", str(pictures), "--jobs", "1", *more]
    code = f"import sys; from cli.main import main; sys.argv = ['mechlab', *{words!r}]; main()"
    return [sys.executable, "-c", code]


@pytest.mark.slow
def test_a_killed_sweep_goes_on_and_trains_nothing_twice(file, pictures, mechlab, tmp_path):
    ledger = tmp_path / "studies" / "sweep-pictures-reduced" / "ledger.jsonl"
    process = subprocess.Popen(command(file, pictures), cwd=tmp_path, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 600
    while not (ledger.exists() and ledger.read_text().count("started") == 2):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    rows = [json.loads(line) for line in ledger.read_text().splitlines()]
    assert [row["state"] for row in rows] == ["started", "finished", "started"]
    first = next((tmp_path / "runs").glob("*/summary.json"))
    written = first.stat().st_mtime_ns
    code, out, err = mechlab("sweep", "run", file, "--json")
    assert code == 0, err
    assert "1 already done, 1 to do" in err
    found = json.loads(out)
    assert {row["state"] for row in found["rows"]} == {"finished"}
    assert first.stat().st_mtime_ns == written
    assert found["arms"][2]["image_auroc"]["n"] == 1
    assert found["rows"][0]["run"] == found["rows"][1]["run"] != found["rows"][2]["run"]
    assert found["arms"][1]["trainable_first_task"] == found["arms"][0]["trainable_first_task"]
    assert json.loads((ledger.parent / "sweep.json").read_text()) == found
    _, out, _ = mechlab("sweep", "status", file)
    assert "3 finished" in out and "parent" in out
    _, out, _ = mechlab("sweep", "report", file)
    assert "one key alone" in out and "subnet" not in out and "change of image auroc by class" in out
    _, out, _ = mechlab("sweep", "report", file, "--json", "--top", 1)
    assert len(json.loads(out)["top"]) == 1


@pytest.mark.slow
def test_a_worker_ends_with_its_executor(tmp_path):
    read, write = os.pipe()
    code = (
        "import time; from mechlab.sweep.worker import end_with_executor; end_with_executor(); time.sleep(60)"
    )
    worker = subprocess.Popen([sys.executable, "-c", code], stdin=read)
    os.close(read)
    time.sleep(1.0)
    assert worker.poll() is None
    os.close(write)
    assert worker.wait(20) == 1
