"""Runs as arms: seeds together, what differs named, a switch that did nothing refused, files for papers."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mechlab.runs.arm_table import METRICS, measured
from mechlab.runs.arms import arms_of, scored
from mechlab.runs.folder import RunFolder
from mechlab.specs import EvalSpec
from mechlab.train.session import reevaluate, train

CHANGED = {"tail_weight": 0.0}


@pytest.fixture(scope="session")
def arms(small_request, small_run, other_run):
    """Runs by arm and seed: as they are, without a tail, and without a tail and DIA."""
    found = {("plain", 0): small_run, ("plain", 1): other_run}
    for name, settings in (("tail", CHANGED), ("both", CHANGED | {"dia_blocks": 0})):
        for seed in (0, 1):
            request = replace(small_request, seed=seed, settings=small_request.settings | settings)
            found[name, seed] = RunFolder.open(Path(train(request)["path"]))
    return found


def paths(arms, *names):
    return [arms[name, seed].path for name in names for seed in (0, 1)]


def test_runs_of_other_seeds_are_one_arm_and_an_arm_names_its_key(mechlab, arms):
    status, out, err = mechlab("compare", *paths(arms, "plain", "tail"), "--json")
    assert status == 0, err
    found = json.loads(out)
    assert [arm["seeds"] for arm in found["arms"]] == [[0, 1], [0, 1]]
    assert [arm["differs"] for arm in found["arms"]] == [[], ["tail_weight"]]
    assert not any(arm["is_confounded"] for arm in found["arms"])
    assert "tail_weight=0.0" in found["arms"][1]["arm"]
    assert found["against"] == found["arms"][0]["arm"]


def test_means_and_paired_differences_are_those_of_the_summaries(mechlab, arms):
    found = json.loads(mechlab("compare", *paths(arms, "plain", "tail"), "--json")[1])
    values = {name: np.array([arms[name, seed].summary()["mean"]["pixel_ap"] for seed in (0, 1)])
              for name in ("plain", "tail")}  # fmt: skip
    for arm, name in zip(found["arms"], values, strict=True):
        spread = arm["metrics"]["pixel_ap"]
        assert spread["mean"] == pytest.approx(values[name].mean())
        assert spread["std"] == pytest.approx(values[name].std(ddof=1))
    row = next(row for row in found["differences"] if row["metric"] == "pixel_ap")
    change = values["tail"] - values["plain"]
    half = 12.706204736 * change.std(ddof=1) / np.sqrt(2)  # Student t, one degree of freedom, 95 %
    assert row["difference"] == pytest.approx(change.mean())
    assert row["interval"] == pytest.approx([change.mean() - half, change.mean() + half])
    assert row["p"] <= row["p_holm"] <= 1


def test_an_arm_of_two_keys_is_named_or_refused(mechlab, arms):
    words = ["compare", *paths(arms, "plain", "tail", "both")]
    status, out, _ = mechlab(*words)
    assert status == 0
    assert "is confounded: it differs from 'reduced" in out
    assert "in dia_blocks, tail_weight, and none of them alone explains" in out
    status, out, err = mechlab(*words, "--one-factor")
    assert (status, out) == (1, "")
    assert "differs from 'reduced" in err and "(dia_blocks, tail_weight)" in err
    assert mechlab("compare", *paths(arms, "tail", "both"), "--one-factor")[0] == 0


def paired(one, other):
    """The mean difference of two seeds and its interval: Student t, one degree of freedom, 95 %."""
    change = np.array(one) - np.array(other)
    half = 12.706204736 * change.std(ddof=1) / np.sqrt(2)
    return change.mean(), [change.mean() - half, change.mean() + half]


def test_two_systems_are_compared_seed_by_seed(mechlab, arms, small_request):
    request = replace(small_request, system="patchcore", preset="mini", epochs=None, batch_size=None,
                      settings={"ratio": 0.1, "projection": "sparse", "projection_dim": 8})  # fmt: skip
    banks = [RunFolder.open(Path(train(replace(request, seed=seed))["path"])) for seed in (0, 1)]
    status, out, err = mechlab("compare", *paths(arms, "plain"), *[run.path for run in banks], "--json")
    assert status == 0, err
    found = json.loads(out)
    differs = found["arms"][1]["differs"]
    assert differs[-1] == "system" and {name.partition(".")[0] for name in differs} == {
        "evaluation",
        "system",
    }
    assert found["arms"][1]["arm"].startswith("patchcore mini") and found["arms"][1]["seeds"] == [0, 1]
    values = [[run.summary()["mean"]["pixel_ap"] for run in runs]
              for runs in (banks, [arms["plain", seed] for seed in (0, 1)])]  # fmt: skip
    row = next(row for row in found["differences"] if row["metric"] == "pixel_ap")
    difference, interval = paired(*values)
    assert (row["difference"], row["n"]) == (pytest.approx(difference), 2)
    assert row["interval"] == pytest.approx(interval)


def test_all_pairs_are_held_against_each_other(mechlab, arms, tmp_path):
    words = ["compare", *paths(arms, "plain", "tail", "both"), "--all-pairs"]
    found = json.loads(mechlab(*words, "--csv", "pairs.csv", "--json")[1])
    rows = [row for row in found["differences"] if row["metric"] == "pixel_ap"]
    names = [arm["arm"] for arm in found["arms"]]
    pairs = [(names[at], names[before]) for before in range(3) for at in range(before + 1, 3)]
    assert [(row["arm"], row["against"]) for row in rows] == pairs
    first = json.loads(mechlab(*words[:-1], "--json")[1])
    assert [row["difference"] for row in rows[:2]] == [row["difference"] for row in first["differences"]
                                                       if row["metric"] == "pixel_ap"]  # fmt: skip
    both = zip(found["differences"], first["differences"], strict=False)
    assert all(row["p_holm"] >= other["p_holm"] for row, other in both)
    values = [
        [arms[name, seed].summary()["mean"]["pixel_ap"] for seed in (0, 1)] for name in ("both", "tail")
    ]
    assert rows[2]["interval"] == pytest.approx(paired(*values)[1])
    with (tmp_path / "pairs.csv").open() as stream:
        told = [(row["arm"], row["against"]) for row in csv.DictReader(stream) if row["metric"] == "pixel_ap"]
    assert sorted(told) == sorted([*pairs, (names[0], "")])
    out = mechlab(*words)[1]
    assert "differences of all pairs, paired by seed" in out


def test_metrics_of_messages_are_shown_where_a_run_has_them(arms):
    one, other = (scored(str(arms["plain", seed].path), Path("runs")) for seed in (0, 1))
    messages = replace(one, metrics={"accuracy": 0.9, "f1": 0.8, "forgetting": None})
    assert measured(arms_of([one])) == METRICS
    assert measured(arms_of([messages])) == ("accuracy", "f1")
    assert measured(arms_of([messages, other])) == (*METRICS, "accuracy", "f1")


def test_a_switch_that_did_nothing_is_refused(mechlab, arms, tmp_path):
    copy = tmp_path / "moleflow-000000000000"
    shutil.copytree(arms["plain", 0].path, copy)
    document = json.loads((copy / "run.json").read_text())
    document["spec"]["parts"]["ewc"] = True
    (copy / "run.json").write_text(json.dumps(document))
    status, out, err = mechlab("compare", arms["plain", 0].path, copy)
    assert (status, out) == (1, "")
    assert "differ in parts.ewc" in err and "the switch did nothing" in err


def test_a_run_may_stand_under_another_evaluation(mechlab, arms):
    found = reevaluate(arms["plain", 0], settings={"router": "oracle"})
    folder = next(path for path in arms["plain", 0].evaluations()
                  if json.loads((path / "metrics.json").read_text())["spec"] == found["spec"])  # fmt: skip
    path = arms["plain", 0].path
    status, out, err = mechlab("compare", path, f"{path}:{folder.name}", "--json")
    assert status == 0, err
    rows = json.loads(out)["arms"]
    assert rows[1]["differs"] == ["evaluation.router"]
    assert rows[1]["metrics"]["routing_accuracy"]["mean"] == 1.0
    assert rows[1]["metrics"]["forgetting"] is None
    status, _, err = mechlab("compare", path, f"{path}:zz")
    assert status == 1 and "has no one evaluation 'zz'" in err


@pytest.mark.parametrize(
    ("key", "value"), [("orientations", "four"), ("image_from", "map"), ("calibration", "task")]
)
def test_whatever_an_evaluation_changes_is_named(key, value, mechlab, arms):
    run = arms["plain", 0]
    found = reevaluate(run, settings={key: value})
    name = EvalSpec.model_validate(found["spec"]).hash
    status, out, err = mechlab("compare", run.path, f"{run.path}:{name}", "--json")
    assert status == 0, err
    rows = json.loads(out)["arms"]
    assert rows[1]["differs"] == [f"evaluation.{key}"]
    assert f"{key}={value}" in rows[1]["arm"]


def test_files_hold_what_is_printed(mechlab, arms, tmp_path):
    words = ["compare", *paths(arms, "plain", "both"), "--csv", "t.csv", "--latex", "t.tex", "--json"]
    found = json.loads(mechlab(*words)[1])
    with (tmp_path / "t.csv").open() as stream:
        rows = {(row["arm"], row["metric"]): row for row in csv.DictReader(stream)}
    for arm in found["arms"]:
        for metric, spread in arm["metrics"].items():
            assert float(rows[arm["arm"], metric]["mean"]) == spread["mean"]
    row = rows[found["arms"][1]["arm"], "pixel_ap"]
    wanted = next(row for row in found["differences"] if row["metric"] == "pixel_ap")
    assert (float(row["difference"]), float(row["low"])) == (wanted["difference"], wanted["interval"][0])
    text = (tmp_path / "t.tex").read_text()
    assert text.startswith(r"\begin{tabular}{lrr") and r"tail\_weight=0.0" in text
    means = [arm["metrics"]["pixel_ap"]["mean"] for arm in found["arms"]]
    assert rf"\textbf{{{100 * max(means):.2f}}} $\pm$" in text
    assert rf"\textbf{{{100 * min(means):.2f}}}" not in text
    assert "% 'reduced" in text and "confounded" in text


def test_a_name_and_a_mark_reach_the_table(mechlab, small_request, small_run):
    settings = small_request.settings | {"context_kernel": 4}
    request = replace(small_request, settings=settings, name="ScaleK4", allow=("even-kernel",))
    run = RunFolder.open(Path(train(request)["path"]))
    status, out, _ = mechlab("compare", small_run.path, run.path)
    assert status == 0
    assert "ScaleK4" in out
    assert "note: 'ScaleK4' was let pass though refused otherwise: even-kernel." in out
    assert "note: 'ScaleK4' has one seed, 0: no interval." in out
    assert "even-kernel" in mechlab("runs", "show", run.path)[1]


def test_an_idle_key_that_was_let_pass_is_refused_beside_the_run_without_it(mechlab, arms, small_request):
    """Also where the run with the mark comes first, and `mechlab diff` tells the mark."""
    settings = small_request.settings | CHANGED | {"tail_ratio": 0.1}
    marked = RunFolder.open(
        Path(train(replace(small_request, settings=settings, allow=("tail_ratio",)))["path"])
    )
    for pair in ((marked, arms["tail", 0]), (arms["tail", 0], marked)):
        paths = [run.path for run in pair]
        status, out, err = mechlab("compare", *paths)
        assert (status, out) == (1, "") and "differ in allowed, parts.tail_ratio, yet every loss" in err
        status, out, err = mechlab("diff", *paths, "--json")
        assert status == 0, err
        rows = {row["key"]: {str(row["first"]), str(row["second"])} for row in json.loads(out)["spec"]}
        assert rows["allowed"] == {"None", "['tail_ratio']"}


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["RUN"], "is no comparison; give two or more"),
        (["RUN", "RUN"], "are one arm at one seed; give each once"),
    ],
)
def test_what_is_no_comparison_is_refused(names, sentence, mechlab, small_run):
    status, out, err = mechlab("compare", *[small_run.path for _ in names])
    assert (status, out) == (1, "")
    assert sentence in err


def test_a_run_without_a_common_seed_is_told(mechlab, arms):
    status, out, _ = mechlab("compare", arms["plain", 0].path, arms["tail", 1].path)
    assert status == 0
    assert "has no seed in common with" in out
    assert "paired by seed" not in out
