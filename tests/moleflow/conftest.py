"""One thread, since threads of small tensors only wait for each other, and the command line."""

import json
import sys
from collections.abc import Iterator

import pytest
import torch

from cli.main import main


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def mechlab(capsys, monkeypatch, tmp_path):
    """Run a command line in an empty folder; return its JSON, or what it said where another status is due."""
    monkeypatch.chdir(tmp_path)

    def run(*words, code=0):
        monkeypatch.setattr(sys, "argv", ["mechlab", *map(str, words), "--json"])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        assert ended.value.code == code, captured.err
        return json.loads(captured.out) if code == 0 else captured.err

    return run
