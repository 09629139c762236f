"""The page of results: figures of folders that are elsewhere stay, those at hand are written anew."""

import importlib.util
import json
import shutil
from importlib.machinery import SourceFileLoader

import pytest

from mechlab.files import write_json
from mechlab.result import Null, Result


@pytest.fixture
def write(repository, tmp_path, monkeypatch, capsys):
    """What runs the script over folders and returns the page and what it said."""
    loader = SourceFileLoader("results_script", str(repository / "scripts" / "results"))
    script = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(script)
    page = tmp_path / "results.md"

    def written(runs, studies, *words):
        monkeypatch.setattr("sys.argv", ["results", *map(str, (runs, studies, "--out", page, *words))])
        script.main()
        return page.read_text(), capsys.readouterr().err

    return written


@pytest.fixture
def one_run(small_run, tmp_path):
    """A folder with one finished run, without what a page does not read."""
    ignored = shutil.ignore_patterns("checkpoints", "evals", "recordings")
    shutil.copytree(small_run.path, tmp_path / "runs" / small_run.name, ignore=ignored)
    return tmp_path / "runs"


def verdict(folder, *, effect):
    """A study's folder with a verdict over six seeds."""
    Result(
        probe="energy_rank", hypothesis="h", decision_rule="r", verdict="refuted", effect=effect,
        interval=(0.1, 0.9), unit="rank", null=Null(kind="analytic", value=1.0), n=6, replication="seed",
        thresholds={}, plan_hash="abc",
    ).save(folder / "result.json")  # fmt: skip
    plan = {"arms": [{"preset": "reduced"}], "seeds": 6, "data": "embedded"}
    write_json(folder / "plan.json", {"plan": plan, "hash": "abc"})
    (folder / "ledger.jsonl").write_text("")


def test_what_is_not_at_hand_stays_to_the_byte_and_is_told(write, one_run, tmp_path):
    verdict(tmp_path / "studies" / "one", effect=0.5)
    first, said = write(one_run, tmp_path / "studies")
    assert "mechlab train moleflow --preset reduced" in first and "| energy_rank | **refuted** |" in first
    assert not said
    again, said = write(tmp_path / "none", tmp_path / "none")
    assert again == first
    assert "stays as it was, its folders are not at hand: the runs of mechlab train moleflow" in said
    assert "the verdict of `mechlab probe energy-rank --train --seeds 6` (reduced, embedded)" in said


def test_what_is_at_hand_is_written_anew(write, one_run, tmp_path):
    verdict(tmp_path / "studies" / "one", effect=0.5)
    first, _ = write(one_run, tmp_path / "studies")
    (tmp_path / "results.md").write_text(first.replace("| mean | ", "| mean | typed ").replace("0.500", "9"))
    verdict(tmp_path / "studies" / "one", effect=0.6)
    again, said = write(one_run, tmp_path / "studies")
    assert again == first.replace("0.500 [0.100, 0.900] rank", "0.600 [0.100, 0.900] rank")
    assert not said


def test_a_table_of_more_seeds_than_are_at_hand_stays(write, one_run, tmp_path):
    first, _ = write(one_run, tmp_path / "none")
    more = first.replace("Seeds 0;", "Seeds 0, 4, 7;").replace("| mean | ", "| mean | of three ")
    (tmp_path / "results.md").write_text(more)
    again, said = write(one_run, tmp_path / "none")
    assert again == more and ", seeds 4, 7" in said


def test_a_run_of_another_device_has_a_table_of_its_own_and_names_it(write, one_run, tmp_path):
    first, _ = write(one_run, tmp_path / "none")
    assert "--device" not in first and " on " not in first.partition("Seeds")[2].splitlines()[0]
    file = next(one_run.glob("*/run.json"))
    document = json.loads(file.read_text())
    assert document["provenance"]["device"] == "cpu"
    document["provenance"]["device"] = "Example GPU"
    write_json(file, document)
    both, _ = write(one_run, tmp_path / "none")
    assert both.count("Seeds 0;") == 2, "that of the CPU stays"
    assert " --device cuda --seed S\n" in both
    assert both.count(" on Example GPU.\n") == 1


def test_a_run_that_was_stopped_has_a_table_of_what_it_finished_and_stays(write, small_run, tmp_path):
    shutil.copytree(small_run.path, tmp_path / "runs" / small_run.name,
                    ignore=shutil.ignore_patterns("checkpoints", "recordings", "summary.json"))  # fmt: skip
    for file in (tmp_path / "runs" / small_run.name / "evals").glob("*/metrics.json"):
        if len(json.loads(file.read_text())["metrics"]) > 1:
            shutil.rmtree(file.parent)
    page, _ = write(tmp_path / "runs", tmp_path / "none")
    assert " --seed S  # stopped after bolt\n" in page
    assert "Seeds 0; stopped before their end on the CPU" in page
    assert "\n| bolt | 1.000 |" in page and "| nut |" not in page
    again, said = write(tmp_path / "none", tmp_path / "none")
    assert again == page and "# stopped after bolt" in said


def test_afresh_leaves_out_what_the_folders_do_not_hold(write, one_run, tmp_path):
    verdict(tmp_path / "studies" / "one", effect=0.5)
    write(one_run, tmp_path / "studies")
    page, _ = write(tmp_path / "none", tmp_path / "none", "--afresh")
    assert "mechlab train" not in page and "energy_rank" not in page
    assert page.count("## Runs") == page.count("## Verdicts") == 1


def test_the_page_of_this_repository_keeps_all_it_has(write, repository, tmp_path):
    page = tmp_path / "results.md"
    shutil.copy(repository / "docs" / "results.md", page)
    before = page.read_text()
    after, _ = write(tmp_path / "none", tmp_path / "none")
    assert after == before
