"""The table of a sweep in a page: cells as they are measured, written anew between its markers alone."""

import subprocess
import sys

from mechlab.files import write_json
from mechlab.sweep.page import placed, section, sections

METRIC = {"mean": 0.6, "low": 0.5, "high": 0.7, "n": 3}
CHANGE = {"mean": -0.01, "low": -0.02, "high": 0.0, "n": 3}


def arm(name, against=None, differs=(), change=None, metric=METRIC, **more):
    metrics = ("image_auroc", "pixel_auroc", "pixel_ap")
    row = {"arm": name, "against": against, "differs": list(differs), "forgetting": METRIC, "seconds": 61.0}
    row |= {key: metric for key in metrics} | {f"{key}_difference": change for key in metrics}
    return row | {"trainable_first_task": 12345, "trainable_last_task": 67} | more


def document(**changes):
    rows = [{"state": "finished"}, {"state": "waiting"}]
    arms = [arm("main"), arm("no LoRA", "main", ("lora_rank",), CHANGE)]
    return {"question": "Why?", "rows": rows, "arms": arms, "no_ops": []} | changes


def test_an_arm_shows_its_mean_and_its_paired_difference_to_what_it_changes():
    text = section(document(), command="mechlab sweep run x")
    assert "1 of 2 arms and seeds are finished" in text
    assert "| main |  | 0.600 | 0.600 | 0.600 | 0.600 | 12,345 / 67 | 61 s |\n" in text
    cell = "0.600, -0.010 [-0.020, +0.000]"
    assert f"| no LoRA | main: lora_rank | {cell} | {cell} | {cell} | 0.600 |" in text


def test_what_is_not_measured_is_not_invented():
    waiting = arm("late", "main", ("blocks",), metric=None, forgetting=None, seconds=None,
                  trainable_first_task=None, trainable_last_task=None)  # fmt: skip
    single = arm("once", "main", ("dim",), {"mean": 0.01, "low": None, "high": None, "n": 1})
    text = section(document(arms=[waiting, single]), command="x")
    assert "| late | main: blocks | n/a | n/a | n/a | n/a | n/a / n/a | n/a |" in text
    assert "| 0.600, +0.010 |" in text


def test_a_switch_that_did_nothing_is_told():
    same = [{"arm": "focal", "against": "main", "differs": ["focal"]}]
    assert "`focal` trained bit for bit as `main`: focal did nothing." in section(
        document(no_ops=same), command="x"
    )


def test_a_section_is_written_anew_in_its_place_and_nothing_else_moves():
    page = placed("# Results\n\nbefore\n", "one", "1\n")
    page = placed(page + "\nafter\n", "two", "2\n")
    again = placed(page, "one", "changed\n")
    assert again == page.replace("1\n<!-- end", "changed\n<!-- end")
    assert sections(again) == {"one": "changed\n", "two": "2\n"}
    assert placed("", "one", "1\n") == "<!-- sweep one -->\n1\n<!-- end of sweep one -->\n"


def test_the_script_writes_the_table_and_the_results_keep_it(tmp_path, repository):
    write_json(tmp_path / "studies" / "sweep-ablation-reduced" / "sweep.json", document())
    page = tmp_path / "results.md"
    page.write_text("# Results\n")
    words = ["ablation", "--studies", tmp_path / "studies", "--out", page, "--command", "make ablation"]
    subprocess.run([sys.executable, repository / "scripts" / "sweep-table", *words], check=True)
    assert "## Ablation\n\nWhy?\n\n```\nmake ablation\n```" in page.read_text()
    kept = sections(page.read_text())
    words = [tmp_path / "runs", tmp_path / "none", "--out", page]
    subprocess.run([sys.executable, repository / "scripts" / "results", *words], check=True)
    assert "## Verdicts" in page.read_text()
    assert sections(page.read_text()) == kept
