"""Several runs as one: one member is that member, and members of other sizes and grids go together."""

import csv
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cli.main import main
from mechlab.errors import MechlabError
from mechlab.metrics.ranking import auroc
from mechlab.runs.folder import RunFolder
from mechlab.train.ensemble import evaluate_together
from mechlab.train.ensemble_images import score_together
from mechlab.train.session import reevaluate, train


@pytest.fixture(scope="module")
def larger(small_request, small_run, tmp_path_factory) -> RunFolder:
    """Another run on the same images: more pixels, other channels, another seed."""
    out = tmp_path_factory.mktemp("larger")
    return RunFolder.open(Path(train(replace(small_request, image_size=96, dim=32, seed=1, out=out))["path"]))


def test_one_member_is_that_member(small_run, pictures, tmp_path):
    assert evaluate_together([small_run], settings={}) == reevaluate(small_run, settings={})
    rows = score_together([small_run], pictures / "bolt" / "test", tmp_path / "one", task=None)
    assert len(rows) == 8


def test_members_of_other_sizes_are_evaluated_together(small_run, larger):
    found = evaluate_together([small_run, larger], settings={"router": "oracle"})
    assert found["members"] == [small_run.name, larger.name]
    alone = reevaluate(small_run, settings={"router": "oracle"})
    for name, metrics in found["metrics"].items():
        scores, labels = (np.array(found["scores"][name][key]) for key in ("scores", "labels"))
        assert metrics["image_auroc"] == pytest.approx(auroc(scores, labels))
        assert metrics["routing_accuracy"] == 1.0
        assert metrics["held_out_normals"] == alone["metrics"][name]["held_out_normals"]
        assert 0 <= metrics["pixel_auroc"] <= 1
        assert found["scores"][name]["scores"] != alone["scores"][name]["scores"]
    kept = [json.loads(file.read_text()) for file in (small_run.path / "ensembles").glob("*.json")]
    (own,) = [document for document in kept if document["members"] == found["members"]]
    assert own["metrics"] == json.loads(json.dumps(found["metrics"]))


def test_the_order_of_members_moves_the_scale_alone(small_run, larger):
    one, other = (
        evaluate_together(runs, settings={"router": "oracle"})
        for runs in ([small_run, larger], [larger, small_run])
    )
    for name in one["metrics"]:
        assert one["metrics"][name]["image_auroc"] == pytest.approx(other["metrics"][name]["image_auroc"])
        ranks = [np.argsort(found["scores"][name]["scores"]).tolist() for found in (one, other)]
        assert ranks[0] == ranks[1]


def test_an_ensemble_scores_a_folder(small_run, larger, pictures, tmp_path):
    folder = pictures / "nut" / "test"
    rows = score_together([small_run, larger], folder, tmp_path / "scored", task=1)
    assert {row["task"] for row in rows} == {1}
    assert all(row["anomalous"] == (row["score"] > row["threshold"]) for row in rows)
    assert len(list((tmp_path / "scored" / "maps").rglob("*.npy"))) == 8
    size = np.load(next((tmp_path / "scored" / "maps").rglob("*.npy"))).shape
    assert size == (64, 64)  # pixels of the first member


@pytest.mark.parametrize("case", ["twice", "tasks", "intervention"])
def test_runs_that_make_no_ensemble_are_refused(case, small_run, small_request, larger, tmp_path):
    from mechlab.runs.interventions import asked

    if case == "twice":
        with pytest.raises(MechlabError, match="is given twice"):
            evaluate_together([small_run, small_run], settings={})
    elif case == "tasks":
        other = RunFolder.open(Path(train(replace(small_request, tasks="nut", out=tmp_path))["path"]))
        with pytest.raises(MechlabError, match="has other tasks than"):
            evaluate_together([small_run, other], settings={})
    else:
        changes = asked(ablate=("flow.0=zero",), swap=(), patch=())
        with pytest.raises(MechlabError, match="several were given; evaluate that run alone"):
            evaluate_together([small_run, larger], settings={}, interventions=changes)


def test_the_command_line_takes_several_runs(small_run, larger, pictures, tmp_path, capsys, monkeypatch):
    def mechlab(*words: str) -> dict:
        monkeypatch.setattr(sys, "argv", ["mechlab", *words, "--json"])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        assert ended.value.code == 0, captured.err
        return json.loads(captured.out)

    runs = [str(run.path) for run in (small_run, larger)]
    assert mechlab("evaluate", *runs, "--router", "mahalanobis/reject:0.2")["members"][1] == larger.name
    out = tmp_path / "scored"
    mechlab("score", *runs, str(pictures / "bolt" / "test"), "--out", str(out))
    with (out / "scores.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 8
    assert {row["rejected"] for row in rows} == {""}  # their own router rejects nothing
