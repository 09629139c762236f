"""Processes of one command: what they say is passed on, and the end of one ends all."""

import os
import subprocess
import sys
import time

import pytest

from mechlab.errors import MechlabError
from mechlab.train import launch


def follow(tmp_path, *codes, heard=None):
    """Follow processes that run Python code in place of ranks."""
    commands = [[sys.executable, "-c", code] for code in codes]
    launch.follow(commands, place=tmp_path, run=tmp_path / "run", report=(heard or []).append)


SLEEP = "import time; time.sleep(300)"
SAY = "import json, sys; print(json.dumps({0!r}), flush=True); sys.exit({1})"


def test_what_ranks_say_is_passed_on_in_order(tmp_path):
    heard = [""]
    follow(tmp_path, *[SAY.format({"report": line}, 0) for line in ("epoch 1", "other")], heard=heard)
    assert sorted(heard) == ["", "epoch 1", "other"]


def test_the_sentence_of_a_rank_ends_the_others(tmp_path):
    with pytest.raises(MechlabError, match=r"^the loss is nan$"):
        follow(tmp_path, SLEEP, SAY.format({"error": "the loss is nan"}, 1), SLEEP)


def test_a_rank_that_is_killed_ends_the_others_and_leaves_its_log(tmp_path):
    code = "import os, sys; print('last words', file=sys.stderr, flush=True); os.kill(os.getpid(), 9)"
    with pytest.raises(MechlabError, match=r"rank 1 of 2 was ended by signal 9 .* go on from the last"):
        follow(tmp_path, SLEEP, code)
    assert (tmp_path / "run" / "rank-1.log").read_text() == "last words\n"


def test_a_fault_of_the_program_names_rank_line_and_log(tmp_path):
    with pytest.raises(MechlabError, match=r"rank 0 of 2 failed: ZeroDivisionError: .*rank-0.log"):
        follow(tmp_path, "1 / 0", SLEEP)


def test_of_two_ranks_that_failed_the_killed_one_is_named(tmp_path):
    ranks = []
    for number, code in enumerate(("1 / 0", "import os; os.kill(os.getpid(), 9)")):
        (tmp_path / str(number)).touch()
        process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
        process.wait(60)
        ranks.append(launch.Rank(process, tmp_path / str(number)))
    assert "rank 1 of 2 was ended by signal 9" in str(launch._ended([0, 1], ranks, tmp_path))


def test_an_interrupt_ends_every_rank(tmp_path):
    files = [tmp_path / "0", tmp_path / "1"]
    codes = [f"import os; open({str(file)!r}, 'w').write(str(os.getpid())); {SLEEP}" for file in files]
    say = f"import json; print(json.dumps({{'report': 'ready'}}), flush=True); {SLEEP}"

    def interrupt(_):
        while not all(file.exists() and file.read_text() for file in files):
            time.sleep(0.01)
        raise KeyboardInterrupt

    commands = [[sys.executable, "-c", code] for code in (*codes, say)]
    with pytest.raises(KeyboardInterrupt):
        launch.follow(commands, place=tmp_path, run=tmp_path / "run", report=interrupt)
    for file in files:
        with pytest.raises(ProcessLookupError):
            os.kill(int(file.read_text()), 0)


def test_a_rank_ends_with_the_process_that_started_it(tmp_path):
    code = "import threading; from mechlab.train.rank import _end_with_parent; _end_with_parent()"
    rank = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
    assert rank.stdin is not None
    rank.stdin.close()
    assert rank.wait(60) == 1
