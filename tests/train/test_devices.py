"""Several devices from one command: the same numbers, one set of files, and an end when a rank fails."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from mechlab.errors import MechlabError
from mechlab.files import read_json
from mechlab.instrument.watching import Watch
from mechlab.recording import reader
from mechlab.runs.folder import RunFolder
from mechlab.train import devices, tasks
from mechlab.train.session import resolve, train, train_rank

PLAN = """
- {site: latent, quantity: latent}
- {site: "flow.0.*", quantity: gradient}
- {site: "flow.0.*", quantity: weight}
- {site: "flow.*", quantity: row_contribution, reduction: total}
"""
RTOL = 3e-5  # of losses and of each parameter's norm, float32; measured: 1.6e-7 and 1.7e-6


@pytest.fixture(scope="module")
def pair(small_request, tmp_path_factory):
    """The same training on one device and on two CPU ranks, both with a recording."""
    place = tmp_path_factory.mktemp("devices")
    (place / "plan.yaml").write_text(PLAN)
    request = replace(small_request, record=place / "plan.yaml", device="cpu")
    heard: list[str] = []
    one = train(replace(request, out=place / "one"))
    two = train(replace(request, out=place / "two", devices=2), report=heard.append)
    return RunFolder.open(Path(one["path"])), RunFolder.open(Path(two["path"])), heard


def in_order(quantity):
    """Return rows by step and image: ranks stand one after the other in a recording."""
    names = [name for name in ("item", "step") if name in quantity.coordinates]
    return quantity.read()[np.lexsort([quantity.coordinates[name] for name in names])]


def test_two_ranks_train_what_one_device_trains(pair):
    one, two, heard = pair
    for row, other in zip(one.log(), two.log(), strict=True):
        assert row.keys() == other.keys()
        assert list(other.values()) == pytest.approx(list(row.values()), rel=RTOL)
    for task in (0, 1):
        names = ("checkpoints", f"after_task_{task}", "weights.safetensors")
        first, second = (load_file(run.path.joinpath(*names)) for run in (one, two))
        assert first.keys() == second.keys()
        for name, values in first.items():
            assert np.linalg.norm(second[name] - values) <= RTOL * max(np.linalg.norm(values), 1e-3), name
    assert [line for line in heard if "task 1 epoch 2/2" in line] and len(heard) == len(set(heard))


def test_two_ranks_leave_one_set_of_files_and_their_own_hash(pair):
    one, two, _ = pair
    assert (one.spec().world_size, two.spec().world_size) == (1, 2)
    assert one.spec().hash != two.spec().hash
    names = [{str(path.relative_to(run.path)) for path in run.path.rglob("*.json*")} for run in (one, two)]
    assert {name for name in names[0] if "/" not in name} == {name for name in names[1] if "/" not in name}
    assert not list(two.path.rglob("*.part")) and not list(two.path.glob("rank-*"))
    assert two.summary()["scores_identical"] is True
    assert two.summary()["metrics"]["bolt"].keys() == one.summary()["metrics"]["bolt"].keys()


def test_a_recording_of_two_ranks_holds_what_one_device_records(pair):
    one, two, _ = pair
    with reader.open(one.recordings()[0]) as first, reader.open(two.recordings()[0]) as second:
        assert sorted(first) == sorted(second)
        assert first.items == second.items
        for key in first:
            scale = np.abs(first[key].read()).max() or 1.0
            np.testing.assert_allclose(
                in_order(second[key]) / scale, in_order(first[key]) / scale, atol=RTOL, err_msg=key
            )


def test_each_rank_records_its_own_images_and_the_first_what_is_of_parameters(pair):
    _, two, _ = pair
    with reader.open(two.recordings()[0]) as found:
        steps = found["latent/latent"].coordinates["step"]
        weights = found[found.keys("weight/*")[0]].coordinates["step"]
    assert (np.diff(steps) < 0).sum() == 1  # one rank's rows behind the other's
    assert [int((steps == step).sum()) for step in range(6)] == [6, 6, 1] * 2  # 13 images in batches of 6
    assert (np.diff(weights) > 0).all()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("tpu", 1), "device 'tpu' is unknown; give one of auto, cpu, cuda"),
        (("cpu", 0), "devices 0 was asked for; give 1 or more"),
        (("cuda", 1), "torch sees no CUDA device"),
    ],
    ids=str,
)
def test_a_device_that_is_not_there_is_one_sentence(monkeypatch, words, sentence):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(MechlabError, match=sentence):
        devices.accelerator(words[0], devices=words[1])


def test_more_cuda_devices_than_there_are_is_one_sentence(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert devices.accelerator("auto") == "cuda"
    assert devices.accelerator("cpu", devices=3) == "cpu"
    with pytest.raises(MechlabError, match=r"2 CUDA devices were asked for, but torch sees 1"):
        devices.accelerator("auto", devices=2)


COMMAND = """
import json, sys
from pathlib import Path
from mechlab.errors import MechlabError
from mechlab.runs.request import TrainRequest
from mechlab.train.session import train
try:
    train(TrainRequest.read(json.load(open(sys.argv[1]))), report=lambda line: print(line, flush=True))
except MechlabError as error:
    sys.exit(f"Error: {error}")
except KeyboardInterrupt:
    sys.exit(130)
"""


def started(request, place):
    """Start a training in its own process and return it once the first epoch is done."""
    asked = place / "request.json"
    asked.write_text(json.dumps(request.document()))
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, str(asked)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    while "epoch 1/" not in (line := process.stdout.readline()):
        assert line, process.communicate()[1]
    return process


def ranks_of(process):
    """Return the process ids of the ranks of a training."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(name) for name in children.read_text().split()]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="looks for child processes in /proc")
@pytest.mark.parametrize("how", ["a rank is killed", "an interrupt", "the parent is killed"])
def test_a_training_that_was_stopped_goes_on_to_the_same_bits(small_request, tmp_path, how):
    request = replace(small_request, devices=2, device="cpu", epochs=40, out=tmp_path / "runs")
    process = started(request, tmp_path)
    ranks = ranks_of(process)
    assert len(ranks) == 2
    if how == "a rank is killed":
        os.kill(ranks[1], signal.SIGKILL)
    else:
        process.send_signal(signal.SIGINT if how == "an interrupt" else signal.SIGKILL)
    error = process.communicate(timeout=60)[1]
    assert process.returncode == {"a rank is killed": 1, "an interrupt": 130}.get(how, -signal.SIGKILL)
    if how == "a rank is killed":
        assert error.startswith("Error: rank 1 of 2 was ended by signal 9") and error.count("\n") == 1
    gone = time.monotonic() + 30
    while any(Path(f"/proc/{rank}").exists() for rank in ranks) and time.monotonic() < gone:
        time.sleep(0.05)
    assert not any(Path(f"/proc/{rank}").exists() for rank in ranks)
    again = train(request)
    whole = train(replace(request, out=tmp_path / "whole"))
    assert again["trajectory"] == whole["trajectory"]
    run = resolve(request).run
    assert (run.path / "log.jsonl").read_bytes() == Path(whole["path"], "log.jsonl").read_bytes()
    assert read_json(run.path / "summary.json")["metrics"] == whole["metrics"]


class Killed(BaseException):
    """Stands in for a signal at a chosen instant."""


def as_rank(request):
    return lambda here: train_rank(
        request, here, device=torch.device("cpu"), spent=0.0, report=lambda _: None
    )


@pytest.mark.parametrize("at", [0, 4, 8])
def test_ranks_that_stop_at_a_step_go_on_to_the_same_bits(
    pair, together, small_request, tmp_path, monkeypatch, at
):
    monkeypatch.setattr(tasks, "EVERY_SECONDS", 0.0)  # a checkpoint after every epoch
    (tmp_path / "plan.yaml").write_text(PLAN)
    request = replace(small_request, devices=2, device="cpu", record=tmp_path / "plan.yaml", out=tmp_path)
    before = Watch.before

    def stop(self, step):
        if step.step == at and self.world.rank == at % 2:
            raise Killed
        before(self, step)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Watch, "before", stop)
        together(2, as_rank(request))
    run = resolve(request).run
    assert not run.is_finished
    assert not list(run.recordings()[0].glob("recording.h5"))  # nothing was packed that is not complete
    together(2, as_rank(request))
    whole = pair[1]
    assert run.summary()["trajectory"] == whole.summary()["trajectory"]
    assert run.log() == whole.log()
    with reader.open(run.recordings()[0]) as first, reader.open(whole.recordings()[0]) as second:
        assert sorted(first) == sorted(second)
        for key in first:
            np.testing.assert_array_equal(in_order(first[key]), in_order(second[key]), err_msg=key)


def test_an_error_on_one_rank_is_not_hidden_by_what_was_not_recorded(
    together, small_request, tmp_path, monkeypatch
):
    (tmp_path / "plan.yaml").write_text(PLAN)
    request = replace(small_request, devices=2, device="cpu", record=tmp_path / "plan.yaml", out=tmp_path)

    def broken(self, step):
        raise MechlabError("the disk is gone")

    monkeypatch.setattr(Watch, "after_backward", broken)
    with pytest.raises(MechlabError, match="the disk is gone"):
        together(2, as_rank(request))
