"""Every shipped study: each arm of each size is a training, and differs in what it claims."""

import pytest

from mechlab.inventory import entries
from mechlab.sweep.arms import Place, resolved
from mechlab.sweep.file import read, shipped, sweep_of
from mechlab.sweep.jobs import cells, jobs

STUDIES = shipped()
SIZES = [(name, size) for name, path in STUDIES.items() for size in read(path).sizes]


@pytest.mark.parametrize(("name", "size"), SIZES)
def test_every_arm_is_a_training_and_differs_in_what_it_claims(name, size):
    sweep = sweep_of(read(STUDIES[name]), size=size)
    arms = resolved(sweep, place=Place())
    assert arms[0].differs == ()
    assert all(arm.differs for arm in arms[1:])
    assert len({str(sorted(arm.keys.items(), key=str)) for arm in arms}) == len(arms)
    assert jobs(cells(arms, seeds=sweep.seeds))


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_is_named_for_its_file_and_has_both_sizes(name):
    document = read(STUDIES[name])
    assert document.name == name
    assert {"reduced", "full"} <= document.sizes.keys()
    assert document.question.strip().endswith((".", "?"))
    assert document.source


def test_every_study_is_listed_with_the_command_that_runs_it():
    listed = {row["name"]: row for row in entries("studies")}
    for name, path in STUDIES.items():
        row = listed[name]
        assert row["command"] == f"mechlab sweep run {name}"
        assert row["sizes"] == {size: found.seeds for size, found in read(path).sizes.items()}
    assert "gaussianity" in listed  # the plans of probes beside them


LARGE = [(name, size) for name, size in SIZES if size not in ("reduced", "trial")
         and read(STUDIES[name]).train.get("system", "moleflow") == "moleflow"]  # fmt: skip


@pytest.mark.parametrize(("name", "size"), LARGE)
def test_no_size_but_the_reduced_one_makes_the_flow_small(name, size):
    """What two cores need, fewer blocks and channels and a higher rate, is of the reduced size alone."""
    first = resolved(sweep_of(read(STUDIES[name]), size=size), place=Place())[0].keys
    assert first["blocks"] >= 6
    assert first["dim"] == 768
    assert first["learning_rate"] <= 3e-4
    assert "embedded" not in (first["data"], first["backbone"])
