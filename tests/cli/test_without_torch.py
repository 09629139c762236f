"""A recording opens, is probed, drawn and reported where torch is not installed."""

import subprocess
import sys

import pytest

BLOCKED = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "torchvision", "timm", "FrEIA", "lightning", "safetensors"}:
            raise ModuleNotFoundError(f"{name} is blocked", name=name)
sys.meta_path.insert(0, Refuse())
sys.argv = ["mechlab", *sys.argv[1:]]
from cli.main import main
main()
"""


@pytest.fixture
def without_torch(tmp_path):
    def run(*words):
        command = [sys.executable, "-c", BLOCKED, *map(str, words)]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)

    return run


def test_what_exists_is_read_probed_drawn_and_reported(without_torch, small_run, small_study, tmp_path):
    recording = next(path for path in small_run.recordings() if path.is_dir())
    for words in (
        ("list", "probes", "--json"),
        ("inspect", recording),
        ("probe", "shortcut", small_run.path, "--json"),  # the run has the recording that is needed
        ("probe", "shortcut", recording_of(small_run, small_study), "--json"),
        ("figure", "shortcut", small_study / "result.json", "--out", "a.svg"),
        ("figure", "gallery", small_run.path, "--out", "b.png"),
        ("report", small_run.path, small_study, "--out", "c.html"),
        ("diff", small_run.path, small_run.path),
        ("runs", "show", small_run.path),
    ):
        found = without_torch(*words)
        assert found.returncode == 0, f"{words}: {found.stderr}"
        assert found.stdout
    assert (tmp_path / "c.html").stat().st_size > 10_000


def recording_of(run, study):
    """Return the recording that a study of one run was judged on."""
    from mechlab.result import Result

    return run.path / "recordings" / Result.load(study / "result.json").inputs[0]


def test_what_needs_torch_says_so(without_torch, small_run):
    found = without_torch("record", small_run.path, "--site", "latent", "--quantity", "latent", "--limit", 1)
    assert found.returncode == 1
    assert "pip install -e '.[train]'" in found.stderr
    assert "Traceback" not in found.stderr
