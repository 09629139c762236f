"""The README tells the truth: its blocks run, its links lead somewhere."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
README = (REPOSITORY / "README.md").read_text()
PAGES = [
    REPOSITORY / "README.md",
    REPOSITORY / "CONTRIBUTING.md",
    *sorted((REPOSITORY / "docs").rglob("*.md")),
    *sorted((REPOSITORY / "reproductions").rglob("README.md")),
]


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.S)


def test_the_console_block_runs(tmp_path):
    commands = [
        line[2:] for block in blocks("console") for line in block.splitlines() if line.startswith("$ ")
    ]
    assert [shlex.split(command)[1] for command in commands] == [
        "train",
        "record",
        "probe",
        "figure",
        "report",
    ]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for command in commands:
        found = subprocess.run(
            ["bash", "-c", command],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"PATH": path},
            timeout=280,
        )
        assert found.returncode == 0, f"{command}\n{found.stderr}"
    assert (tmp_path / "report.html").stat().st_size > 10_000
    assert (tmp_path / "shortcut.svg").exists()


def test_the_python_block_runs(tmp_path, monkeypatch):
    import doctest

    monkeypatch.chdir(tmp_path)
    (tmp_path / "README.md").write_text("\n".join(blocks("python")))
    found = doctest.testfile(str(tmp_path / "README.md"), module_relative=False)
    assert found.attempted >= 4
    assert found.failed == 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_readme_names_the_two_commands():
    assert "make demo" in README and "make test" in README


def test_every_probe_is_in_the_readme():
    from mechlab import systems

    for name in systems.probes():
        assert f"`{name.replace('_', '-')}`" in README
