"""`mechlab evaluate` of a detector: the training's numbers again, other splits, recalls, blocks and rates."""

import json
import shutil

import numpy as np
import pytest

from mechlab.errors import MechlabError

KNOWN = "test_01_known_vehicle_known_attack"


def evaluated(bench, summary, *words):
    return json.loads(bench.command("evaluate", summary["run"], "--out", bench.out, "--json", *words).stdout)


def measured(row):
    return {name: value for name, value in row.items() if name != "intervals"}


@pytest.mark.parametrize("kind", ["vgae", "gat", "fusion"])
def test_as_usual_it_gives_what_the_training_gave(bench, kind, request):
    summary = request.getfixturevalue(kind)
    found = evaluated(bench, summary)
    assert found["evaluation"] == summary["evaluation"]
    assert found["metrics"] == summary["metrics"]
    assert found["mean"] == summary["mean"]


def test_another_recall_moves_what_counts_at_a_recall_and_nothing_else(bench, gat):
    found, moved = evaluated(bench, gat, "--recall", "0.1"), []
    for name, row in found["metrics"].items():
        own, usual = measured(row), measured(gat["metrics"][name])
        moved.append(usual.pop("fpr_at_recall") - own.pop("fpr_at_recall"))
        assert own == usual
    assert min(moved) >= 0 and max(moved) > 0
    assert found["evaluation"] != gat["evaluation"]


def test_longer_blocks_are_fewer_and_move_intervals_alone(bench, gat):
    found = evaluated(bench, gat, "--block", "1")
    longer = evaluated(bench, gat, "--block", "3")
    for name, row in found["metrics"].items():
        own, other = measured(row), measured(longer["metrics"][name])
        assert own.pop("blocks") > other.pop("blocks")
        assert own == other
    assert found["metrics"][KNOWN]["intervals"]["auroc"] != longer["metrics"][KNOWN]["intervals"]["auroc"]


def test_more_false_positives_lower_the_threshold_of_a_vgae_and_leave_a_gat_at_even_odds(bench, vgae, gat):
    assert evaluated(bench, vgae, "--false-positives", "0.5")["threshold"] < vgae["threshold"]
    found = evaluated(bench, gat, "--false-positives", "0.5")
    assert found["threshold"] == gat["threshold"] == 0
    assert found["metrics"][KNOWN]["baseline_f1"] != gat["metrics"][KNOWN]["baseline_f1"]


@pytest.mark.parametrize("kind", ["vgae", "fusion"])
def test_a_split_is_a_group_with_all_its_windows(bench, kind, request):
    summary = request.getfixturevalue(kind)
    words = ["can", "prepare", bench.root, "--cache", bench.place / "cache", "--json"]
    prepared = json.loads(bench.command(*words).stdout)
    for split in ("train", "validation"):
        rows = [row for row in prepared["splits"] if row["split"] == split]
        found = evaluated(bench, summary, "--split", split)["metrics"]
        assert found[split]["windows"] == sum(row["windows"] for row in rows)
        assert found[split]["attack_windows"] == sum(row["attack_windows"] for row in rows)
        assert {f"{split}/dos", f"{split}/fuzzing"} <= found.keys()
        assert found[split]["baseline_auroc"] is not None


def test_the_threshold_of_a_vgae_leaves_its_share_of_validation_normals_above(bench, vgae):
    row = evaluated(bench, vgae, "--split", "validation", "--false-positives", "0.3")["metrics"]["validation"]
    called = row["recall"] * row["attack_windows"] / row["precision"]
    normals = row["windows"] - row["attack_windows"]
    assert (called - row["recall"] * row["attack_windows"]) / normals <= 0.3 + 1e-9


def test_another_evaluation_stands_in_a_comparison_and_says_what_it_is(bench, vgae):
    found = evaluated(bench, vgae, "--split", "validation", "--block", "2")
    words = ["compare", vgae["run"], f"{vgae['run']}:{found['evaluation']}", "--out", bench.out, "--json"]
    _, other = json.loads(bench.command(*words).stdout)["arms"]
    assert "split=validation" in other["arm"] and "block_seconds=2" in other["arm"]
    assert set(other["differs"]) == {"evaluation.split", "evaluation.block_seconds"}
    with np.load(bench.out / vgae["run"] / "evals" / found["evaluation"] / "windows.npz") as kept:
        assert kept["scores"].size == found["metrics"]["validation"]["windows"]


def test_the_table_is_one_of_windows(bench, gat):
    shown = bench.command("evaluate", gat["run"], "--out", bench.out, "--split", "validation").stdout
    assert "attack windows" in shown and "validation/dos" in shown and "routing" not in shown


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--recall", "0"], "a recall of 0 and a block of 5 s were given; a recall lies in"),
        (["--recall", "nan"], "a recall of nan"),
        (["--block", "-1"], "a block of -1 s"),
        (["--block", "inf"], "a block of inf s"),
        (["--false-positives", "1"], "false positives of 1 were given; a rate lies between 0 and 1"),
        (["--false-positives", "1e-9"], "promise no false-positive rate of 1e-09"),
        (["--router", "oracle"], "--router was given, and run 'gat-.*' is of system gat, which sees"),
        (["--diagnostics"], "--diagnostics was given"),
        (["--ablate", "level.0=zero"], "--ablate, --swap or --patch was given"),
        (["--data", "mpdd"], "--data or --root was given"),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence(bench, gat, words, told):
    with pytest.raises(MechlabError, match=told):
        bench.command("evaluate", gat["run"], "--out", bench.out, *words)


def test_several_runs_and_words_of_the_other_kind_are_refused(bench, gat, vgae, small_run):
    with pytest.raises(MechlabError, match="2 runs were given; only runs on images are scored as one"):
        bench.command("evaluate", gat["run"], vgae["run"], "--out", bench.out)
    for option, value in (("--recall", "0.9"), ("--false-positives", "0.1"), ("--split", "test")):
        with pytest.raises(MechlabError, match=f"{option} was given, .* which is judged on images"):
            bench.command("evaluate", small_run.path, option, value)


def test_logs_that_have_changed_are_refused(bench, gat, fusion, tmp_path, write_logs):
    moved = bench.place / "moved"
    bench.root.rename(moved)
    try:
        with pytest.raises(MechlabError, match=r"data folder .* does not exist"):
            bench.command("evaluate", gat["run"], "--out", bench.out)
        write_logs(bench.root, seconds=5.0)
        for summary in (gat, fusion):
            with pytest.raises(MechlabError, match=r"was trained on other logs|knows .* ids"):
                bench.command("evaluate", summary["run"], "--out", bench.out)
    finally:
        shutil.rmtree(bench.root, ignore_errors=True)
        moved.rename(bench.root)
