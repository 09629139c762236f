"""Logs of a made-up bus, and what writes them as files."""

import json
from typing import ClassVar

import numpy as np
import pytest
from click.testing import CliRunner

from cli.main import mechlab as command_line
from mechlab.errors import MechlabError
from mechlab.runs.folder import RunFolder
from reproductions.can_ids.graph_set import Source
from reproductions.can_ids.log import Log
from reproductions.can_ids.vocabulary import Vocabulary
from reproductions.can_ids.windows import graphs_of

PERIODS = (0.01, 0.01, 0.02, 0.02, 0.05, 0.05, 0.1, 0.1, 0.2)  # seconds
BURSTS = ((0.1, 0.2), (0.3, 0.4), (0.5, 0.6), (0.7, 0.8), (0.9, 1.0))  # shares of the seconds


def bus(*, seconds=4.0, seed=0, first_id=0x100, attack=None, bursts=BURSTS, start=1000.0):
    """A log: each id at its own period; the attack within some shares of the seconds."""
    rng = np.random.default_rng(seed)
    time, ids = [], []
    for number, period in enumerate(PERIODS):
        ticks = rng.uniform(0, period) + period * np.arange(int(seconds / period))
        time.append(ticks + rng.normal(0, period / 50, ticks.size))
        ids.append(np.full(ticks.size, first_id + 0x10 * number))
    injected = np.zeros(sum(each.size for each in time), dtype=bool)
    if attack is not None:
        step = {"dos": 0.0005, "fuzzing": 0.002, "malfunction": 0.005}[attack]
        ticks = np.concatenate([np.arange(one * seconds, two * seconds, step) for one, two in bursts])
        time.append(ticks)
        ids.append({
            "dos": np.zeros(ticks.size),
            "fuzzing": rng.integers(0x400, 0x800, ticks.size),
            "malfunction": np.full(ticks.size, first_id + 0x40),
        }[attack])  # fmt: skip
        injected = np.append(injected, np.ones(ticks.size, dtype=bool))
    order = np.argsort(np.concatenate(time), kind="stable")
    length = rng.choice([8, 8, 8, 5, 0], order.size).astype(np.uint8)
    payload = rng.integers(0, 256, (order.size, 8)).astype(np.uint8)
    payload[np.arange(8) >= length[:, None]] = 0
    return Log(
        time=np.round(np.sort(np.concatenate(time)).clip(0) + start, 6),
        ids=np.concatenate(ids).astype(np.uint32)[order],
        payload=payload, length=length, attack=injected[order],
    )  # fmt: skip


def four_columns(log):
    """The text of a log as can-train-and-test writes it."""
    lines = ["timestamp,arbitration_id,data_field,attack"]
    for time, number, payload, length, attack in rows(log):
        lines.append(f"{time:.6f},{number:X},{payload[:length].hex().upper()},{int(attack)}")
    return "\n".join(lines) + "\n"


def raw(log):
    """The text of a log as HCRL writes it."""
    lines = []
    for time, number, payload, length, attack in rows(log):
        data = [f"{byte:02x}" for byte in payload[:length]]
        lines.append(",".join([f"{time:.6f}", f"{number:04x}", str(length), *data, "T" if attack else "R"]))
    return "\n".join(lines) + "\n"


def candump(log):
    """The text of a log as candump writes it; it has no labels."""
    return "".join(
        f"({time:.6f}) can0 {number:03X}#{payload[:length].hex().upper()}\n"
        for time, number, payload, length, _ in rows(log)
    )


def rows(log):
    attack = np.zeros(len(log), dtype=bool) if log.attack is None else log.attack
    for row in range(len(log)):
        yield (float(log.time[row]), int(log.ids[row]), log.payload[row].tobytes(), int(log.length[row]),
               bool(attack[row]))  # fmt: skip


@pytest.fixture(scope="session", name="bus")
def making():
    """What makes a log: `bus`."""
    return bus


@pytest.fixture(scope="session", name="texts")
def writing():
    """What writes a log as text, by form."""
    return {"four_columns": four_columns, "raw": raw, "candump": candump}


@pytest.fixture(scope="session")
def graphs():
    """What makes the graphs of a log; without a vocabulary, of its own ids."""

    def make(log, *, vocabulary=None, window=100, stride=100, attack="dos", part="train_02_with_attacks"):
        source = Source(name="drive", part=part, attack=attack, vehicle="kia")
        known = vocabulary or Vocabulary.of([log.ids])
        return graphs_of(log, source, vocabulary=known, window=window, stride=stride)

    return make


LOGS = {
    "train_01_attack_free": {"attack-free-kia": {}, "attack-free-sonata": {"first_id": 0x300, "seed": 1}},
    "train_02_with_attacks": {
        "DoS-kia": {"attack": "dos", "seed": 2},
        "fuzzing-sonata": {"attack": "fuzzing", "first_id": 0x300, "seed": 3},
    },
    "test_01_known_vehicle_known_attack": {
        "DoS-sonata": {"attack": "dos", "first_id": 0x300, "seed": 4},
        "fuzzing-kia": {"attack": "fuzzing", "seed": 5},
    },
    "test_02_unknown_vehicle_known_attack": {"DoS-spark": {"attack": "dos", "first_id": 0x500, "seed": 6}},
    "test_03_known_vehicle_unknown_attack": {"malfunction-kia": {"attack": "malfunction", "seed": 7}},
}


def write_logs(root, *, seconds=4.0):
    """Write the logs of two known vehicles and an unknown one in the layout of can-train-and-test."""
    for part, logs in LOGS.items():
        (root / part).mkdir(parents=True)
        for name, words in logs.items():
            (root / part / f"{name}.csv").write_text(four_columns(bus(seconds=seconds, **words)))
    return root


@pytest.fixture(scope="session")
def can_folder(tmp_path_factory):
    """A folder of logs, some seconds each: `LOGS`."""
    return write_logs(tmp_path_factory.mktemp("can") / "car", seconds=6.0)


@pytest.fixture(name="write_logs", scope="session")
def writing_folder():
    """What writes that folder elsewhere."""
    return write_logs


TINY = {
    "vgae": ["hidden=[8,8,3]", "heads=2", "decoder_heads=2", "embedding=3"],
    "gat": ["hidden=4", "heads=2", "embedding=3"],
    "fusion": ["width=8", "size=teacher"],
}
COMMON = ["--epochs", "2", "--batch-size", "16", "--threads", "1", "--set", "false_positives=0.2"]


class Bench:
    """Trains tiny detectors from the command line, in a folder of runs."""

    tiny: ClassVar = {name: [word for key in keys for word in ("--set", key)] for name, keys in TINY.items()}

    def __init__(self, root, place):
        self.root, self.place, self.out = root, place, place / "runs"

    def at(self, root, place):
        """The same elsewhere."""
        return Bench(root, place)

    def command(self, *words):
        """What a command line printed; a user's mistake is raised."""
        found = CliRunner().invoke(command_line, [str(word) for word in words])
        if isinstance(found.exception, MechlabError):
            raise found.exception
        assert found.exit_code == 0, f"{found.output} {found.exception!r}"
        return found

    def words(self, system, *words):
        return ["train", system, "--root", self.root, "--out", self.out, "--cache", self.place / "cache",
                *COMMON, *self.tiny[system], *words]  # fmt: skip

    def train(self, system, *words):
        return json.loads(self.command(*self.words(system, "--json", *words)).stdout)

    def run(self, summary):
        return RunFolder.open(self.out / summary["run"])


@pytest.fixture(scope="session")
def bench(can_folder, tmp_path_factory):
    """What trains detectors on the made-up logs."""
    return Bench(can_folder, tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="session")
def vgae(bench):
    """The summary of a tiny VGAE teacher."""
    return bench.train("vgae", "--preset", "teacher")


@pytest.fixture(scope="session")
def gat(bench, vgae):
    """The summary of a tiny GAT teacher in curriculum mode."""
    return bench.train("gat", "--preset", "teacher")


@pytest.fixture(scope="session")
def fusion(bench, gat, vgae):
    """The summary of a bandit that fuses the two."""
    return bench.train("fusion", "--preset", "bandit")
