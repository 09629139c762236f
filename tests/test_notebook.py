"""The notebooks in docs are executed, hold what their code gives, and name no machine."""

import importlib.util
import json
import re
from importlib.machinery import SourceFileLoader
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
SOURCES = sorted((REPOSITORY / "docs" / "notebooks").glob("*.py"))


@pytest.fixture(scope="module")
def script():
    loader = SourceFileLoader("notebook_script", str(REPOSITORY / "scripts" / "notebook"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


def stored(source):
    return json.loads(source.with_suffix(".ipynb").read_text("utf-8"))


def texts(cells):
    """What is printed and shown as text below each code cell."""
    return [
        [output.get("text") or output["data"]["text/plain"] for output in cell["outputs"]]
        for cell in cells
        if cell["cell_type"] == "code"
    ]


def test_there_is_a_notebook():
    assert [source.stem for source in SOURCES] == ["patchcore_baseline"]


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_a_stored_notebook_is_its_source_executed_in_order(script, source):
    document = stored(source)
    assert (document["nbformat"], document["nbformat_minor"]) == (4, 5)
    plain = script.cells(source.read_text("utf-8"))
    assert ["".join(cell["source"]) for cell in document["cells"]] == [cell["source"] for cell in plain]
    code = [cell for cell in document["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    assert sum(bool(cell["outputs"]) for cell in code) >= len(code) - 1
    assert len({cell["id"] for cell in document["cells"]}) == len(document["cells"])


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_a_stored_notebook_names_no_machine(source):
    text = source.with_suffix(".ipynb").read_text("utf-8")
    pictures = re.sub(r'"image/png": "[^"]*"', "", text)
    assert not re.findall(r"/(?:home|root|tmp|work|Users|usr|var|opt)\b", pictures)
    assert "Traceback" not in text and '"image/png": "iVBORw0KGgo' in text


@pytest.mark.slow
@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_a_stored_notebook_holds_what_its_code_gives(script, source):
    assert texts(script.executed(source.read_text("utf-8"))) == texts(stored(source)["cells"])


def test_cells_share_names_and_show_what_they_print_and_end_in(script):
    source = (
        "# %% [markdown]\n# # Title\n#\n# text\n# %%\nx = 2\nprint(x)\n\n# %%\nx + 1\n\n# %%\nx = None\nx\n"
    )
    found = script.executed(source)
    assert found[0]["source"] == "# Title\n\ntext"
    assert texts(found) == [["2\n"], ["3"], []]
    assert found[2]["outputs"][0]["execution_count"] == 2
    assert json.loads(script.document(found))["cells"][1]["source"] == ["x = 2\n", "print(x)"]


def test_a_picture_is_kept_as_one(script):
    (cell,) = script.executed('# %%\nb"\\x89PNG rest"\n')
    assert set(cell["outputs"][0]["data"]) == {"image/png", "text/plain"}


def test_a_cell_that_fails_is_named_and_nothing_is_written(script, tmp_path, monkeypatch):
    source = tmp_path / "failing.py"
    source.write_text("# %%\nx = 1\n# %%\n1 / (x - 1)\n")
    monkeypatch.setattr("sys.argv", ["notebook", str(source)])
    with pytest.raises(ZeroDivisionError) as found:
        script.main()
    assert found.value.__notes__ == ["in cell 2: 1 / (x - 1)"]
    assert not source.with_suffix(".ipynb").exists()
