"""`mechlab compare` and `report` of detectors: by attack, with intervals, over seeds; teachers by seed."""

import csv
import json
import re
import shutil

import numpy as np
import pytest

from mechlab.errors import MechlabError
from mechlab.stats.intervals import mean_interval

KNOWN = "test_01_known_vehicle_known_attack"


@pytest.fixture(scope="module")
def own(bench, fusion, tmp_path_factory):
    """A folder of its own that begins with the shared runs, so that what is trained here stays here."""
    other = bench.at(bench.root, tmp_path_factory.mktemp("tables"))
    shutil.copytree(bench.out, other.out, symlinks=True)
    return other


@pytest.fixture(scope="module")
def students(own, gat):
    """Students with a teacher of their own seed each and without, two seeds."""
    plain = ["--preset", "student", "--mode", "normal"]
    second = own.train("gat", "--preset", "teacher", "--mode", "normal", "--seed", "1")
    teachers = (own.train("gat", "--preset", "teacher", "--mode", "normal"), second)
    found = {}
    for seed, teacher in enumerate(teachers):
        words = [*plain, "--seed", seed]
        found["alone", seed] = own.train("gat", *words)
        found["taught", seed] = own.train("gat", *words, "--distill", teacher["run"])
    found["shared", 1] = own.train("gat", *plain, "--seed", "1", "--distill", teachers[0]["run"])
    return found


def compared(own, runs, *words):
    names = [run["run"] for run in runs]
    return json.loads(own.command("compare", *names, "--out", own.out, "--json", *words).stdout)


def test_students_with_teachers_of_their_own_seeds_are_one_arm(own, students):
    found = compared(own, [students[name, seed] for name in ("alone", "taught") for seed in (0, 1)])
    alone, taught = found["arms"]
    assert (alone["seeds"], taught["seeds"]) == ([0, 1], [0, 1])
    assert taught["differs"] == ["distill"]
    shared = compared(own, [students["alone", 0], students["taught", 0], students["shared", 1]])
    assert shared["arms"][1]["seeds"] == [0, 1]


def test_a_teacher_of_other_words_is_another_arm(own, gat, students):
    words = ["--preset", "student", "--mode", "normal", "--distill", gat["run"]]
    other = own.train("gat", *words)
    first, second = compared(own, [students["taught", 0], other])["arms"]
    assert second["differs"] == ["distill"] and first["seeds"] == second["seeds"] == [0]


def test_each_attack_has_its_difference_paired_by_seed(own, students):
    found = compared(own, [students[name, seed] for name in ("alone", "taught") for seed in (0, 1)])
    rows = {(row["tests"], row["metric"], row["arm"]): row for row in found["tests"]}
    alone, taught = (arm["arm"] for arm in found["arms"])
    name = f"{KNOWN}/dos"
    values = {kind: np.array([students[kind, seed]["metrics"][name]["auroc"] for seed in (0, 1)])
              for kind in ("alone", "taught")}  # fmt: skip
    row, first = rows[name, "auroc", taught], rows[name, "auroc", alone]
    assert row["mean"] == pytest.approx(values["taught"].mean())
    assert row["difference"] == pytest.approx((values["taught"] - values["alone"]).mean())
    assert row["interval"] == pytest.approx(mean_interval(values["taught"] - values["alone"]))
    assert (row["against"], row["pairs"], row["n"]) == (alone, 2, 2)
    assert (first["against"], first["difference"], first["pairs"]) == (None, None, 0)
    assert all(one["p_holm"] >= one["p"] for one in found["tests"] if one["p"] is not None)
    assert (KNOWN, "f1_macro", taught) in rows and (name, "f1_macro", taught) not in rows


def test_the_table_is_printed_and_written_by_attack(own, students, tmp_path):
    runs = [students[name, seed] for name in ("alone", "taught") for seed in (0, 1)]
    words = [run["run"] for run in runs]
    file = tmp_path / "arms.csv"
    shown = own.command("compare", *words, "--out", own.out, "--csv", file).stdout
    assert "by group of tests and attack" in shown and f"{KNOWN}/fuzzing" in shown
    with file.open() as stream:
        rows = [row for row in csv.DictReader(stream) if row["metric"] == f"f1 of {KNOWN}/dos"]
    assert [row["against"] == "" for row in rows] == [True, False]
    assert rows[1]["low"] and rows[1]["mean"]


def test_runs_on_images_have_no_such_table(own, small_run):
    from mechlab.runs.arm_table import tests
    from mechlab.runs.arms import arms_of, scored

    arms = arms_of([scored(str(small_run.path), small_run.path.parent)])
    assert tests(arms, []) == []


@pytest.fixture(scope="module")
def page(own, students, vgae, fusion):
    """The report of all of them."""
    runs = [*(students[name, seed] for name in ("alone", "taught") for seed in (0, 1)), vgae, fusion]
    out = own.place / "report.html"
    own.command("report", *[run["run"] for run in runs], "--runs", own.out, "--out", out)
    return out.read_text()


def cells(page, name, *, section):
    """The cells of a row of a run's table."""
    own = page[page.index(f"<h2>Run {section}</h2>") :]
    row = re.search(rf"<tr><th scope=.row.>{re.escape(name)}</th>(.*?)</tr>", own, re.DOTALL)
    return [re.sub("<.*?>", "", cell) for cell in re.findall("<td.*?</td>", row[1], re.DOTALL)]


@pytest.mark.parametrize("name", [KNOWN, f"{KNOWN}/dos"])
def test_a_report_has_a_row_an_attack_with_its_interval(page, vgae, name):
    row = vgae["metrics"][name]
    found = cells(page, name, section=vgae["run"])
    assert found[:3] == [str(row[key]) for key in ("windows", "attack_windows", "blocks")]
    bounds = row["intervals"]["f1"]
    told = (
        f"{row['f1']:.3f}" if bounds is None else f"{row['f1']:.3f} [{bounds[0]:.3f},\u00a0{bounds[1]:.3f}]"
    )
    assert found[3] == told
    assert found[4] == f"{row['baseline_f1']:.3f}"


def test_a_report_tells_where_the_baseline_is_as_good(page, vgae):
    told = {name: row for name, row in vgae["metrics"].items() if row["baseline_auroc"] >= row["auroc"]}
    assert told, "the tiny model is no better than the baseline somewhere"
    for name in told:
        assert f"{name}: the baseline of message rates and ids reaches AUROC" in page


def test_a_report_has_the_mean_of_seeds_with_its_interval(page, students):
    values = np.array([students["taught", seed]["mean"]["auroc"] for seed in (0, 1)])
    low, high = mean_interval(values)
    assert page.count("mean of 2 seeds") == 2
    assert f"{values.mean():.3f} [{low:.3f},\u00a0{min(high, 1):.3f}]" in page
    assert "and 1 more of its seeds: mean F1 of the attacks" in page


def test_a_report_shows_the_training_in_its_own_unit(page):
    assert "in a node." in page and "in nats a window." in page and "nats a patch" not in page


def test_the_training_can_be_drawn_and_what_shows_images_is_refused(own, vgae, tmp_path):
    own.command("figure", "training", vgae["run"], "--runs", own.out, "--out", tmp_path / "loss.svg")
    assert "a node" in (tmp_path / "loss.svg").read_text()
    with pytest.raises(MechlabError, match="judged on windows of messages: no image to draw"):
        own.command("figure", "score-histograms", vgae["run"], "--runs", own.out, "--out", tmp_path / "x.svg")
    with pytest.raises(MechlabError, match="whose inputs are no images, and this command is about images"):
        own.command("pixels", own.out / vgae["run"])
