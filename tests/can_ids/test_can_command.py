"""`mechlab can`: check, prepare and baseline from the command line, and what they refuse."""

import json
import re
import shlex
import shutil
import subprocess
import sys

import pytest
from click.testing import CliRunner

from cli.main import mechlab
from mechlab import systems
from mechlab.errors import MechlabError


def run(*words):
    return CliRunner().invoke(mechlab, ["can", *map(str, words)])


def told(*words):
    """The JSON document of a command."""
    found = run(*words, "--json")
    assert found.exit_code == 0, found.output
    return json.loads(found.stdout)


def test_check_tells_what_is_in_a_folder(can_folder):
    found = told("check", can_folder)
    assert len(found["logs"]) == 8 and found["problems"] == []
    one = next(row for row in found["logs"] if row["log"] == "DoS-kia")
    assert (one["attack"], one["vehicle"], one["part"]) == ("dos", "kia", "train_02_with_attacks")
    assert one["attacks"] > 1000 and one["short"] > 0 and one["problem"] is None
    assert "no problem." in run("check", can_folder).stdout


def test_check_tells_every_problem_and_ends_with_one(can_folder, tmp_path):
    for path in can_folder.rglob("*.csv"):
        (tmp_path / f"{path.parent.name}__{path.name}").write_bytes(path.read_bytes())
    free = (tmp_path / "train_01_attack_free__attack-free-kia.csv").read_text()
    (tmp_path / "train_02_with_attacks__attack-free-kia.csv").write_text(free)
    (tmp_path / "test_01_known_vehicle_known_attack__attack-free-kia.csv").write_text(free)
    (tmp_path / "train_02_with_attacks__DoS-spark.csv").write_text(free.replace(",100,", ",101,"))
    (tmp_path / "train_01_attack_free__broken.csv").write_text(free + "9999.0,100")
    (tmp_path / "train_01_attack_free__wrong.csv").write_text(free.replace(",0\n", ",1\n", 2))
    found = run("check", tmp_path, "--json")
    assert found.exit_code == 1
    problems = "\n".join(json.loads(found.stdout)["problems"])
    for part in ("2 fields, but a message has 4", "it counts once",
                 "one for training and one for the test: remove one", "none of its messages is labelled",
                 "2 messages are labelled as attacks"):  # fmt: skip
        assert part in problems


def test_check_takes_log_files(can_folder, tmp_path):
    log = can_folder / "train_01_attack_free" / "attack-free-kia.csv"
    assert [row["log"] for row in told("check", log)["logs"]] == ["attack-free-kia"]
    with pytest.raises(MechlabError, match="stands beside other paths"):
        CliRunner().invoke(mechlab, ["can", "check", str(log), str(can_folder)], catch_exceptions=False)


def test_prepare_makes_the_graphs_of_every_split(can_folder, tmp_path):
    found = told("prepare", can_folder, "--cache", tmp_path, "--window", "50", "--stride", "50")
    assert {row["split"] for row in found["splits"]} == {"train", "validation", "test"}
    assert sum(row["attack_windows"] for row in found["splits"]) > 0
    assert (tmp_path / "can").is_dir() and found["ids"] == 18
    quiet = run("prepare", can_folder, "--cache", tmp_path, "--window", "50", "--stride", "50", "--quiet")
    assert quiet.stderr == "" and "18 known ids" in quiet.stdout


def test_baseline_prints_a_row_an_attack(can_folder, tmp_path):
    words = ("baseline", can_folder, "--cache", tmp_path, "--window", "50", "--stride", "50",
             "--false-positives", "0.1", "--block", "0.5")  # fmt: skip
    found = told(*words)
    assert set(found["groups"]) == {
        "test_01_known_vehicle_known_attack", "test_02_unknown_vehicle_known_attack",
        "test_03_known_vehicle_unknown_attack",
    }  # fmt: skip
    table = run(*words).stdout
    assert "malfunction" in table and "best single" in table
    by_time = told(*words, "--split", "time")
    assert set(by_time["groups"]) == {"known_vehicle_known_attack", "unknown_vehicle_known_attack"}
    assert by_time["groups"]["known_vehicle_known_attack"]["attacks"].keys() == {
        "dos",
        "fuzzing",
        "malfunction",
    }


@pytest.mark.parametrize(
    ("words", "sentence"),
    [(("prepare", "nowhere"), "does not exist"), (("baseline", "nowhere"), "does not exist"),
     (("check", "nowhere"), "does not exist")],
)  # fmt: skip
def test_a_missing_folder_is_one_sentence(tmp_path, words, sentence):
    verb, name = words
    with pytest.raises(MechlabError, match=sentence):
        CliRunner().invoke(mechlab, ["can", verb, str(tmp_path / name)], catch_exceptions=False)


@pytest.mark.parametrize("verb", [(), ("check",), ("prepare",), ("baseline",)], ids="-".join)
def test_the_examples_on_the_pages_run(can_folder, tmp_path, monkeypatch, verb):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(can_folder, tmp_path / "logs" / "hcrl_sa")
    shutil.copy(can_folder / "train_01_attack_free" / "attack-free-kia.csv", tmp_path / "drive.log")
    lines = re.findall(r"^ +mechlab (can .*)$", run(*verb, "--help").stdout, re.MULTILINE)
    assert lines
    for line in lines:
        found = CliRunner().invoke(mechlab, shlex.split(line))
        assert found.exit_code == 0, f"{line}: {found.exception}"


def test_can_is_a_data_set_that_has_no_images(can_folder):
    listed = json.loads(CliRunner().invoke(mechlab, ["list", "datasets", "--json"]).stdout)
    assert [row["id"] for row in listed if row["name"] == "can"] == ["D5"]
    with pytest.raises(MechlabError, match="holds logs of messages, not images; train vgae, gat or fusion"):
        systems.dataset("can", can_folder)
    with pytest.raises(MechlabError, match="'mechlab can check DIR'"):
        words = ["data", "check", str(can_folder), "--data", "can"]
        CliRunner().invoke(mechlab, words, catch_exceptions=False)


def test_no_command_of_the_group_needs_torch(can_folder, tmp_path):
    code = (
        "import sys\n"
        "class Refuse:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('torch', 'torch_geometric'):\n"
        "            raise ModuleNotFoundError(f'{name} is blocked', name=name)\n"
        "sys.meta_path.insert(0, Refuse())\n"
        "from cli.main import main\n"
        f"sys.argv = ['mechlab', 'can', 'prepare', {str(can_folder)!r}, '--json', "
        f"'--cache', {str(tmp_path)!r}]\n"
        "main()\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout)["ids"] == 18
