import os
import subprocess
import sys
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest

from figures.render import figure, known, render, rendered, source_hash
from mechlab.errors import MechlabError

RUN_FIGURES = ("accuracy_matrix", "gallery", "score_histograms", "table", "training")


@pytest.mark.parametrize(
    ("name", "kind"), [*zip(RUN_FIGURES, ["svg", "pdf", "png", "pdf", "svg"], strict=True)]
)
def test_the_same_run_gives_the_same_bytes(make_run, name, kind):
    one, other = (rendered(name, make_run(("gear",), images=3), kind=kind) for _ in range(2))
    assert one == other


def test_the_same_result_gives_the_same_bytes_in_another_process(make_result, tmp_path):
    make_result().save(tmp_path / "result.json")
    code = """
import sys; from pathlib import Path; from figures.render import render; from mechlab.result import Result
for kind in ("svg", "pdf", "png"):
    render("shortcut", Result.load(Path("result.json")), out=Path("figure." + kind))
"""
    environment = os.environ | {"PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo", "SOURCE_DATE_EPOCH": "1"}
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, env=environment, timeout=60)
    for kind in ("svg", "pdf", "png"):
        assert (tmp_path / f"figure.{kind}").read_bytes() == rendered("shortcut", make_result(), kind=kind)


def test_an_svg_is_well_formed_and_has_no_date(make_result):
    data = rendered("shortcut", make_result(), kind="svg")
    root = ElementTree.fromstring(data)
    assert root.tag.endswith("svg")
    assert b"<dc:date" not in data and b"CreationDate" not in rendered("shortcut", make_result(), kind="pdf")


def test_a_figure_is_written_whole_with_the_hash_of_its_data(make_run, tmp_path):
    out = tmp_path / "new" / "scores.svg"
    found = render("score-histograms", make_run(), out=out)
    assert out.read_bytes() == rendered("score_histograms", make_run(), kind="svg")
    assert found == source_hash("score_histograms", make_run()) and len(found) == 64
    assert [path.name for path in out.parent.iterdir()] == ["scores.svg"]


def test_the_hash_moves_with_what_is_drawn_and_with_nothing_else(make_run, make_result):
    run = make_run()
    scores = run.scores | {"gear": replace(run.scores["gear"], scores=run.scores["gear"].scores + 1e-9)}
    assert source_hash("score_histograms", replace(run, scores=scores)) != source_hash(
        "score_histograms", run
    )
    assert source_hash("training", replace(run, scores=scores)) == source_hash("training", run)
    assert source_hash("gallery", replace(run, provenance={"machine": "b"})) == source_hash("gallery", run)
    result = make_result()
    assert source_hash("shortcut", replace(result, provenance={})) == source_hash("shortcut", result)
    assert source_hash("shortcut", replace(result, effect=0.9)) != source_hash("shortcut", result)


def test_a_value_that_is_not_finite_has_a_hash(make_run):
    log = ({"step": 0, "task": 0, "epoch": 0, "loss": np.nan},)
    assert source_hash("training", make_run(log=log)) != source_hash("training", make_run(log=()))


def test_an_unknown_figure_gets_a_hint():
    with pytest.raises(MechlabError, match=r"no figure named 'galery'\. Did you mean 'gallery'\?"):
        figure("galery")


@pytest.mark.parametrize("name", ["style", "render", "page", "wording"])
def test_modules_that_draw_nothing_are_no_figures(name):
    assert name not in known()


@pytest.mark.parametrize("suffix", [".gif", ".html", ""])
def test_an_unknown_kind_of_file_is_refused_and_nothing_is_written(make_result, tmp_path, suffix):
    with pytest.raises(MechlabError, match=r"give a file ending in \.svg, \.pdf or \.png"):
        render("shortcut", make_result(), out=tmp_path / f"figure{suffix}")
    assert list(tmp_path.iterdir()) == []


def test_a_figure_refuses_what_it_does_not_draw(make_run, make_result, tmp_path):
    with pytest.raises(MechlabError, match="figure 'gallery' draws a run, but it was given the result"):
        render("gallery", make_result(), out=tmp_path / "a.svg")
    with pytest.raises(MechlabError, match="figure 'shortcut' draws the result of a probe"):
        render("shortcut", make_run(), out=tmp_path / "a.svg")
    with pytest.raises(MechlabError, match="a result of probe 'gaussianity'; ask for figure 'gaussianity'"):
        render("shortcut", make_result("gaussianity"), out=tmp_path / "a.svg")


def test_a_place_that_cannot_be_written_to_is_one_sentence(make_result, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises((MechlabError, NotADirectoryError, FileExistsError)):
        render("shortcut", make_result(), out=tmp_path / "file" / "a.svg")


@pytest.mark.parametrize("name", sorted(known()))
def test_every_figure_says_what_it_draws_and_where_from(name):
    module = figure(name)
    assert "Source:" in module.__doc__
    assert module.INPUT.__name__ in {"Result", "RunContent"}
    assert hasattr(module, "size")
