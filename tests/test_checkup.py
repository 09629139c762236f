"""The doctor finds what is missing, and a training that does not repeat."""

import torch

from mechlab import checkup as checks
from mechlab.checkup import checkup
from mechlab.train.repetition import repeats


def test_everything_that_is_needed_is_listed_and_fine():
    rows = checkup(determinism=False)
    assert {"python", "numpy", "h5py", "torch", "device", "free disk"} <= {row["check"] for row in rows}
    assert all(row["fine"] for row in rows)


def test_a_missing_core_package_is_not_fine_and_a_missing_extra_is(monkeypatch):
    monkeypatch.setattr(checks, "CORE", ("no-such-package",))
    monkeypatch.setattr(checks, "TRAINING", ("no-such-extra",))
    rows = {row["check"]: row for row in checkup(determinism=False)}
    assert rows["no-such-package"]["fine"] is False
    assert rows["no-such-extra"]["fine"] is True


def test_a_full_disk_is_not_fine(monkeypatch):
    monkeypatch.setattr(checks.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1e6})())
    assert {row["check"]: row["fine"] for row in checkup(determinism=False)}["free disk"] is False


def test_a_folder_of_weights_that_is_empty_is_not_fine(monkeypatch, tmp_path):
    monkeypatch.setenv("MECHLAB_WEIGHTS", str(tmp_path))
    assert {row["check"]: row["fine"] for row in checkup(determinism=False)}["MECHLAB_WEIGHTS"] is False


def test_a_training_repeats_and_one_changed_bit_does_not():
    assert repeats() is True

    def disturb(system):
        with torch.no_grad():
            parameter = next(system.parameters())
            parameter.view(-1)[0] += 1e-3

    assert repeats(disturb=disturb) is False
