"""The command line, run in this process, in an empty folder."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from cli.main import main


@pytest.fixture
def mechlab(capsys, monkeypatch, tmp_path):
    """Run one command line in an empty folder; return (exit status, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["mechlab", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return ended.value.code, captured.out, captured.err

    return run


@pytest.fixture(scope="session")
def other_run(small_request, small_run):
    """The small run with another seed."""
    from mechlab.runs.folder import RunFolder
    from mechlab.train.session import train

    return RunFolder.open(Path(train(replace(small_request, seed=1))["path"]))


@pytest.fixture(scope="session")
def small_study(small_run, tmp_path_factory):
    """The study folder of the shortcut probe on the small run."""
    from mechlab.study.answer import Place, probe_inputs

    place = Place(studies=tmp_path_factory.mktemp("studies"))
    probe_inputs("shortcut", [small_run.path], place=place)
    return next(place.studies.glob("shortcut-*"))
