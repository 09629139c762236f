"""The packaged backbone: its size, its notice, and the script that makes it."""

import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from reproductions.backbones.weights import EMBEDDED_FILE


def test_the_packaged_file_is_small_and_carries_its_notice() -> None:
    assert EMBEDDED_FILE.stat().st_size <= 6_000_000
    notice = EMBEDDED_FILE.with_suffix(".NOTICE.txt").read_text()
    assert "BSD 3-Clause License" in notice and "Soumith Chintala" in notice


def test_the_script_makes_the_same_file_from_full_weights(repository: Path, tmp_path: Path) -> None:
    tensors = {name: value.float() for name, value in load_file(EMBEDDED_FILE).items()}
    save_file(tensors | {"fc.weight": torch.zeros(10, 512)}, tmp_path / "full.safetensors")
    script, target = repository / "scripts" / "build-embedded-backbone", tmp_path / "made.safetensors"
    command = [sys.executable, script, tmp_path / "full.safetensors", "--out", target]
    subprocess.run(command, check=True, capture_output=True)
    assert target.read_bytes() == EMBEDDED_FILE.read_bytes()
    assert (
        target.with_suffix(".NOTICE.txt").read_text() == EMBEDDED_FILE.with_suffix(".NOTICE.txt").read_text()
    )
    del tensors["conv1.weight"]
    save_file(tensors, tmp_path / "full.safetensors")
    told = subprocess.run([*command[:-1], tmp_path / "none"], check=False, capture_output=True, text=True)
    assert told.returncode == 1 and "lacks conv1." in told.stderr and "Traceback" not in told.stderr
    assert not (tmp_path / "none").exists()
