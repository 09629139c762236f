"""Laws of recordings under many kills: nothing unreadable, lost or torn; `make chaos` prints the counts."""

import random
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from mechlab import recording

PLAN = """
- {site: "flow.*", quantity: gradient, dtype: float16}
- {site: "latent", quantity: latent}
"""
LIMIT_SECONDS = 2.0  # that a row may be uncommitted


def say(line: str) -> None:
    sys.stderr.write(line + "\n")


@pytest.mark.slow
def test_200_kills_of_a_writer_leave_every_committed_step_whole_and_once(tmp_path, survive):
    counted = survive(tmp_path / "r", kills=200, seed=2)
    say(
        f"{counted.kills} kills of a writer, {counted.inside} inside a commit: unreadable 0, committed steps "
        f"lost 0, torn rows 0, longest uncommitted {counted.longest:.2f} s"
    )
    assert (counted.kills, counted.inside) == (200, 100)
    assert counted.longest <= LIMIT_SECONDS


@pytest.mark.slow
def test_a_writer_at_its_own_pace_never_leaves_rows_uncommitted_for_longer_than_it_says(
    tmp_path, process, check_steps
):
    process.start(tmp_path / "r", every=10**9, until=600, pause=0.01, flush_seconds=LIMIT_SECONDS, pack=True)
    process.until("gone")
    assert check_steps(tmp_path / "r", at_least=599) == 599
    with recording.open(tmp_path / "r") as found:
        longest = found.statistics["longest_uncommitted_seconds"]
        assert len(found.segments) > 3, "commits come without being asked for"
    say(f"a writer that never asks for a commit: longest uncommitted {longest:.2f} s")
    assert longest <= LIMIT_SECONDS


def contents(folder: Path) -> dict[str, tuple[list[int], bytes]]:
    """Return steps and bytes of every key; each step must stand there once, in order."""
    with recording.open(folder) as found:
        found.verify()
        held = {}
        for key in found:
            steps = found[key].coordinates["step"].tolist()
            # a task has keys of its own, which begin with it
            assert list(dict.fromkeys(steps)) == list(range(steps[0], steps[-1] + 1)), key
            held[key] = (steps, found[key].read().tobytes())
        return held


def check_beginning(part: dict, whole: dict, *, at_least: int) -> None:
    """Assert that a recording holds the first steps of another, bit by bit, up to at least one."""
    for key, (steps, data) in whole.items():
        held, bits = part.get(key, ([], b""))
        assert held == steps[: len(held)]
        assert bits == data[: len(bits)], f"{key}: a torn or foreign row"
        assert len(held) >= sum(step <= at_least for step in steps), f"{key}: step {at_least} is lost"


@pytest.mark.slow
def test_20_kills_of_a_training_that_records_change_no_bit_of_the_recording(
    tmp_path, training, small_request
):
    plan = tmp_path / "plan.yaml"
    plan.write_text(PLAN)
    request = replace(small_request, epochs=6, record=plan, out=tmp_path / "whole")
    training.order({"request": request.document(), "stop": None})
    training.until("gone")
    whole = contents(next((tmp_path / "whole").glob("*/recordings/*")))
    dice, kills, lives = random.Random(3), 0, 0
    asked = replace(request, out=tmp_path / "killed").document()
    while kills < 20:
        instant = ("sync", "rename", "folder", "line", None)[kills % 5]
        training.order({"request": asked, "stop": instant, "count": dice.randint(1, 4)})
        if instant is None:
            training.until("begun")
            time.sleep(dice.uniform(0.0, 1.5))
        else:
            training.until("at", "gone")
        if training.said[-1][0] != "gone":
            training.kill()
            kills += 1
        last = training.commits[-1][0] if training.commits else -1
        found = [*Path(asked["out"]).glob("*/recordings/*/manifest.jsonl")]
        found += Path(asked["out"]).glob("*/recordings/*/recording.h5")
        check_beginning(contents(found[0].parent) if found else {}, whole, at_least=last)
        if any(line[0] == "closed" for line in training.said):  # it reached its end: begin a new run
            lives += 1
            asked = replace(request, out=tmp_path / f"killed-{lives}").document()
    say(f"{kills} kills of a training, {lives} runs reached their end: unreadable 0, lost 0, torn 0")
    training.order({"request": asked, "stop": None})
    training.until("gone")
    assert contents(next(Path(asked["out"]).glob("*/recordings/*"))) == whole
    assert len(whole) > 2
