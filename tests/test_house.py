"""The house rules that a machine can keep."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.main import mechlab as command_line
from mechlab import systems

REPOSITORY = Path(__file__).resolve().parent.parent
ROOMS = ("mechlab", "probes", "reproductions", "figures", "cli", "benchmarks")
SOURCES = sorted(path for room in ROOMS for path in (REPOSITORY / room).rglob("*.py"))
PROBES = sorted(systems.probes())

BLOCKED = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked}:
            raise ModuleNotFoundError(f"{{name}} is blocked", name=name)
sys.meta_path.insert(0, Refuse())
from cli.main import main
sys.argv = ["mechlab", *{words}]
main()
"""
TORCH = {"torch", "torchvision", "timm", "FrEIA", "captum", "lightning", "safetensors"}


def without_torch(*words, blocked=frozenset(TORCH)):
    code = BLOCKED.format(blocked=set(blocked), words=list(words))
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )


def contracts(*extra):
    return subprocess.run(
        [Path(sys.executable).parent / "lint-imports", *extra],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_rooms_keep_their_contracts():
    found = contracts("--no-cache")
    assert found.returncode == 0, found.stdout


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("probes/gaussianity.py", "import figures.style"),
        ("probes/gaussianity.py", "import torch"),
        ("mechlab/result.py", "import probes.gaussianity"),
        ("mechlab/metrics/ranking.py", "import reproductions.moleflow.catalog"),
        ("figures/style.py", "import h5py"),
        ("mechlab/stats/intervals.py", "import matplotlib"),
    ],
)
def test_each_contract_can_be_broken(file, line, tmp_path):
    import shutil

    for room in ROOMS:
        shutil.copytree(
            REPOSITORY / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__", "*.safetensors")
        )
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path)
    path = tmp_path / file
    path.write_text(path.read_text() + f"\n{line}\n")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from importlinter.cli import lint_imports_command; lint_imports_command(['--no-cache'])"  # noqa: E501
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert found.returncode == 1
    assert "BROKEN" in found.stdout


@pytest.mark.parametrize(
    "words", [("--help",), ("list", "probes"), ("list", "presets", "--json"), ("runs", "list")]
)
def test_what_only_reads_loads_no_torch(words):
    found = without_torch(*words)
    assert found.returncode == 0, found.stderr
    assert found.stdout


def test_the_test_that_blocks_torch_can_fail():
    found = without_torch("--help", blocked={"click"})
    assert found.returncode != 0
    assert "click is blocked" in found.stderr


def test_training_without_torch_is_one_sentence(tmp_path):
    found = without_torch("train", "moleflow", "--out", str(tmp_path / "runs"))
    assert found.returncode == 1
    assert "Traceback" not in found.stderr
    assert "pip install -e '.[train]'" in found.stderr


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_a_file_holds_one_idea(path):
    lines = path.read_text().splitlines()
    assert len(lines) <= 300
    assert ast.get_docstring(ast.parse(path.read_text())), "a module says what it is"


def test_functions_are_short_enough_to_read():
    long = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = node.end_lineno - node.lineno + 1 - len((ast.get_docstring(node) or "").splitlines())
                if body > 45:
                    long.append(f"{path.relative_to(REPOSITORY)}:{node.lineno} {node.name} {body}")
    assert not long, "\n".join(long)


def test_nothing_unsafe_is_called():
    unsafe = re.compile(
        r"pickle\.loads?\(|yaml\.load\(|(?<![\w.])eval\(|weights_only=False|allow_pickle=True|torch\.load\((?!.*weights_only=True)"
    )
    found = [
        f"{path}:{n}"
        for path in SOURCES
        for n, line in enumerate(path.read_text().splitlines(), 1)
        if unsafe.search(line)
    ]
    assert not found


def attributes_of_protocols(path):
    """Yield what a file's protocols ask for as attributes, with its annotation."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ClassDef) and any(ast.unparse(base) == "Protocol" for base in node.bases):
            for line in node.body:
                if isinstance(line, ast.AnnAssign):
                    yield f"{path.name}: {node.name}.{ast.unparse(line.target)}", ast.unparse(line.annotation)


def test_protocols_ask_for_no_submodules():
    """From Python 3.12 on protocols read `__dict__`, and a module keeps its submodules elsewhere."""
    found = dict(pair for path in SOURCES for pair in attributes_of_protocols(path))
    assert "stage.py: Measured.score_unit" in found
    kinds = re.compile(r"\b(nn\.|Module|Parameter|Linear)")
    assert [name for name, kind in found.items() if kinds.search(kind)] == []


@pytest.mark.parametrize("name", PROBES)
def test_every_probe_has_its_figure_test_page_and_row(name):
    module = systems.probe(name)
    assert module.__doc__ and module.HYPOTHESIS and module.SOURCE
    assert re.fullmatch(r"P\d+", module.ID)
    assert name in systems.modules("figures")
    assert (REPOSITORY / "tests" / "probes" / f"test_{name}.py").exists()
    assert (REPOSITORY / "docs" / "probes" / f"{name}.md").exists()


@pytest.mark.parametrize("name", PROBES)
def test_the_rule_that_is_planned_is_the_rule_that_judges(name):
    import inspect

    module = systems.probe(name)
    plan = module.plan()
    defaults = {
        key: parameter.default
        for key, parameter in inspect.signature(module.judge).parameters.items()
        if parameter.default is not inspect.Parameter.empty
    }
    assert plan.thresholds.items() <= defaults.items() or defaults.items() <= plan.thresholds.items()
    assert plan.thresholds
    assert plan.hash == module.plan().hash


@pytest.mark.parametrize("verb", command_line.list_commands(None))
def test_every_command_has_help_with_an_example(verb):
    found = CliRunner().invoke(command_line, [verb, "--help"])
    assert found.exit_code == 0
    assert f"mechlab {verb}" in found.output


def test_constraints_name_no_registry():
    text = (REPOSITORY / "constraints.txt").read_text()
    assert "://" not in text and "--" not in text
    pinned = {line.split("==")[0].lower() for line in text.splitlines() if line and not line.startswith("#")}
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    wanted = {re.split(r"[<>=\[]", name)[0].lower() for name in project["dependencies"]}
    assert wanted <= pinned


def test_the_package_is_not_for_upload():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert "Private :: Do Not Upload" in project["classifiers"]
