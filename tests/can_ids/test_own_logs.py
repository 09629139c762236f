"""`mechlab score` of a detector on the user's own logs: a row a window, with or without labels."""

import csv
import json
import shutil

import numpy as np
import pytest

from mechlab.errors import MechlabError

COLUMNS = ["log", "start", "end", "score", "threshold", "anomalous", "label", "attack"]
PART = "test_01_known_vehicle_known_attack"


@pytest.fixture
def scored(bench, tmp_path):
    """What scores logs by a run and returns the document."""

    def score(summary, place, name="scored", *words):
        words = ["score", summary["run"], place, "--out", tmp_path / name, "--runs", bench.out, *words]
        return json.loads(bench.command(*words, "--json").stdout)

    return score


@pytest.mark.parametrize("kind", ["vgae", "gat", "fusion"])
def test_the_scores_of_a_test_part_are_those_of_the_evaluation(bench, kind, request, scored):
    summary = request.getfixturevalue(kind)
    found = scored(summary, bench.root / PART)
    with np.load(bench.out / summary["run"] / "evals" / summary["evaluation"] / "windows.npz") as kept:
        scores, starts = kept["agent" if kind == "fusion" else "scores"], kept["start"]
    count = summary["metrics"][PART]["windows"]  # those of the first part come first
    assert [row["start"] for row in found["windows"]] == starts[:count].tolist()
    np.testing.assert_allclose(
        [row["score"] for row in found["windows"]], scores[:count], rtol=1e-4, atol=1e-5
    )
    for row in found["windows"]:
        assert row["anomalous"] == (row["score"] > summary["threshold"])
        assert row["start"] < row["end"]
    assert sum(row["label"] for row in found["windows"]) == summary["metrics"][PART]["attack_windows"]
    assert {row["attack"] for row in found["windows"]} == {"none", "dos", "fuzzing"}


def test_the_file_has_the_rows_that_are_printed(scored, bench, gat):
    found = scored(gat, bench.root / PART / "fuzzing-kia.csv")
    with open(found["scores"], newline="") as stream:  # noqa: PTH123 - as a user would
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == COLUMNS and len(rows) == len(found["windows"])
    assert [float(row["score"]) for row in rows] == [row["score"] for row in found["windows"]]
    assert {row["log"] for row in rows} == {"fuzzing-kia.csv"}


def test_a_log_without_labels_gets_scores_and_no_label(scored, bench, gat, bus, texts, tmp_path):
    log = bus(seconds=3.0, attack="dos", seed=9)
    (tmp_path / "drive.log").write_text(texts["candump"](log))
    (tmp_path / "drive.csv").write_text(texts["raw"](log))
    dumped, labelled = (scored(gat, tmp_path / f"drive.{suffix}", suffix) for suffix in ("log", "csv"))
    assert {(row["label"], row["attack"]) for row in dumped["windows"]} == {(None, None)}
    assert {row["label"] for row in labelled["windows"]} == {0, 1}
    assert [row["score"] for row in dumped["windows"]] == [row["score"] for row in labelled["windows"]]


def test_the_logs_of_the_training_are_not_needed(bench, vgae, scored, tmp_path):
    away = bench.at(bench.root, tmp_path)
    shutil.copytree(bench.out / vgae["run"], away.out / vgae["run"])
    document = json.loads((away.out / vgae["run"] / "run.json").read_text())
    document["request"]["root"] = str(tmp_path / "gone")
    (away.out / vgae["run"] / "run.json").write_text(json.dumps(document))
    words = ["score", away.out / vgae["run"], bench.root / PART, "--out", tmp_path / "far", "--json"]
    found = json.loads(bench.command(*words).stdout)
    assert found["windows"] == scored(vgae, bench.root / PART)["windows"]


def test_a_line_a_log_is_printed(bench, gat, tmp_path):
    words = ["score", gat["run"], bench.root / PART, "--out", tmp_path / "scored", "--runs", bench.out]
    shown = bench.command(*words).stdout.splitlines()
    assert shown[0].split()[:3] == ["log", "windows", "called"]
    assert [line.split()[0] for line in shown[1:]] == ["DoS-sonata.csv", "fuzzing-kia.csv"]


def test_bad_input_is_one_sentence(bench, gat, vgae, tmp_path, bus, texts):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "short.csv").write_text(
        "".join(texts["raw"](bus(seconds=0.3)).splitlines(keepends=True)[:40])
    )
    words = ["score", gat["run"], "--runs", bench.out, "--out", tmp_path / "out"]
    for place, told in (
        ("nowhere", "nowhere' does not exist; give a log"),
        ("empty", "holds no log; give one"),
        ("empty.csv", "empty.csv' holds no message"),
        ("short.csv", "has 40 messages, fewer than the 100 of a window of run 'gat-"),
    ):
        with pytest.raises(MechlabError, match=told):
            bench.command(*words, tmp_path / place)
    assert not (tmp_path / "out").exists()
    for more, told in ((["--task", "0"], "--task was"), (["--sigma", "2"], "--sigma was")):
        with pytest.raises(MechlabError, match=told):
            bench.command(*words, bench.root / PART, *more)
    with pytest.raises(MechlabError, match="2 runs were given"):
        bench.command(
            "score", gat["run"], vgae["run"], bench.root / PART, "--runs", bench.out, "--out", tmp_path
        )
    with pytest.raises(MechlabError, match="exists; give a folder that is not there yet"):
        bench.command("score", gat["run"], bench.root / PART, "--runs", bench.out, "--out", tmp_path)
