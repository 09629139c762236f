"""Arms that take the run of another arm wait for it; earlier plans are written as before."""

from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
from click.testing import CliRunner

from cli.main import mechlab as command_line
from mechlab import systems
from mechlab.errors import MechlabError
from mechlab.result import Evidence
from mechlab.study.answer import Place, jobs, measured
from mechlab.study.plan import Arm


@pytest.fixture
def study():
    arms = (
        Arm(name="teacher", preset="teacher"),
        Arm(name="pupil", preset="student", settings={"alpha": 0.5}, runs={"distill": "teacher"}),
        Arm(name="gat teacher", preset="teacher", system="gat", runs={"difficulty": "teacher"}),
        Arm(name="other", preset="student", system="gat",
            runs={"distill": "gat teacher", "difficulty": "teacher"}),
    )  # fmt: skip
    return replace(systems.probe("shortcut").plan(), system="vgae", arms=arms, seeds=2)


def test_an_arm_waits_for_the_run_of_its_own_seed(study):
    made = {job.name: job for job in jobs(study, place=Place(root=Path("logs")))}
    assert len(made) == 8
    for seed in (0, 1):
        vgae, gat = made[f"teacher, seed {seed}"], made[f"gat teacher, seed {seed}"]
        assert vgae.after == {}
        assert made[f"pupil, seed {seed}"].after == {"distill": vgae.hash}
        assert made[f"other, seed {seed}"].after == {"distill": gat.hash, "difficulty": vgae.hash}
        assert gat.request["system"] == "gat" and vgae.request["system"] == "vgae"
        assert made[f"pupil, seed {seed}"].request["settings"] == {"alpha": 0.5}
        assert vgae.request["root"] == "logs"


@pytest.mark.parametrize("name", ["nobody", "teacher", "later"], ids=["absent", "itself", "later"])
def test_an_arm_takes_the_run_of_an_earlier_arm_alone(study, name):
    arms = (Arm(name="teacher", preset="a", runs={"distill": name}), Arm(name="later", preset="a"))
    with pytest.raises(ValueError, match=f"arm 'teacher' takes the run of '{name}', which is no earlier arm"):
        replace(study, arms=arms)


def test_a_plan_that_names_no_run_is_written_as_before(study):
    plan = systems.probe("tail_training").plan()
    assert all(set(arm) == {"name", "preset", "settings"} for arm in plan.document()["arms"])
    assert study.document()["arms"][1]["runs"] == {"distill": "teacher"}
    assert "system" not in study.document()["arms"][1]


def test_recordings_are_measured_one_by_one_or_together(small_run):
    from mechlab.instrument.session import record_run
    from mechlab.study.plan import document_of

    document = document_of(systems.probe("shortcut").plan().record[0])
    path = Path(record_run(small_run.path, document)["recording"])

    def one(recording, *, sites=None):
        return Evidence(probe="x", replication="seed", columns={"given": (1,)}, inputs=(recording.name,))

    def together(recordings, *, sites=None):
        assert all(len(recording.keys()) for recording in recordings)  # all are open at once
        return Evidence(probe="x", replication="seed", columns={"given": (len(recordings), sites["role"])})

    module = ModuleType("made_up")
    module.measure = one
    alone = measured(module, [path, path], report=str, sites=None)
    module.measure_together = together
    joint = measured(module, [path, path], report=str, sites={"role": "key"})
    assert (alone.columns["given"], joint.columns["given"]) == ((1, 1), (2, "key"))


def test_a_root_is_read_by_trainings_alone(tmp_path):
    found = CliRunner().invoke(command_line, ["probe", "shortcut", "some-run", "--root", str(tmp_path)])
    assert isinstance(found.exception, MechlabError)
    assert "--root was given without --train" in str(found.exception)
