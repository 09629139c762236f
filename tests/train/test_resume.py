"""A run that is killed at any instant and started again ends bit-identical."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest

from mechlab.files import read_json
from mechlab.train import tasks
from mechlab.train.session import train

FINAL = ("log.jsonl", "epochs.jsonl", "fingerprint.json", "checkpoints/after_task_0/weights.safetensors",
         "checkpoints/after_task_1/weights.safetensors")  # fmt: skip
CHILD = """
import json, sys
from mechlab.runs.request import TrainRequest
from mechlab.train import tasks
from mechlab.train.session import train
tasks.EVERY_SECONDS = 0.0
train(TrainRequest.read(json.load(open(sys.argv[1]))), report=lambda line: print(line, flush=True))
"""


def contents(path):
    found = {name: (path / name).read_bytes() for name in FINAL}
    summary = read_json(path / "summary.json")
    return found | {
        "metrics": json.dumps(summary["metrics"]),
        "matrix": json.dumps(summary["accuracy_matrix"]),
    }


class Killed(BaseException):
    """Stands in for a signal at a chosen instant."""


@pytest.mark.parametrize("at", [0, 3, 4, 7, 9])
def test_a_run_stopped_at_a_step_resumes_to_the_same_bits(
    small_request, small_run, tmp_path, monkeypatch, at
):
    monkeypatch.setattr(tasks, "EVERY_SECONDS", 0.0)  # a checkpoint after every epoch
    request = replace(small_request, out=tmp_path)
    after = tasks.Log.after

    def stop(self, step):
        if step.step == at:
            raise Killed
        after(self, step)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(tasks.Log, "after", stop)
        train(request)
    train(request)
    run = next(tmp_path.glob("moleflow-*"))
    assert contents(run) == contents(small_run.path)
    assert not (run / "checkpoints" / "in_progress").exists()


def test_a_run_that_lost_its_evaluation_makes_it_again(small_request, small_run, tmp_path):
    import shutil

    copy = tmp_path / small_run.name
    shutil.copytree(small_run.path, copy)
    shutil.rmtree(copy / "evals")
    (copy / "summary.json").unlink()
    train(replace(small_request, out=tmp_path))
    assert contents(copy) == contents(small_run.path)


def killed_and_resumed(request, place, *, seconds):
    """Start a training in its own process, kill it after some seconds, and start it again to its end."""
    asked = place / "request.json"
    asked.write_text(json.dumps(request.document()))
    command = [sys.executable, "-c", CHILD, str(asked)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stderr.close()
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=300, env=dict(os.environ), check=False
    )
    assert done.returncode == 0, done.stderr
    return next((place / "runs").glob("moleflow-*"))


@pytest.mark.slow
def test_a_run_killed_at_ten_random_instants_ends_bit_identical(small_request, tmp_path):
    request = replace(small_request, epochs=12, out=tmp_path / "whole")
    began = time.monotonic()
    whole = tmp_path / "whole" / train(request)["run"]
    spent = time.monotonic() - began
    instants = 2.0 + np.random.default_rng().uniform(0, spent + 3, 10)
    for number, seconds in enumerate(instants):
        place = tmp_path / f"killed-{number}"
        place.mkdir()
        run = killed_and_resumed(replace(request, out=place / "runs"), place, seconds=float(seconds))
        assert contents(run) == contents(whole), f"killed after {seconds:.2f} s"
        assert not list(run.rglob("*.part"))
