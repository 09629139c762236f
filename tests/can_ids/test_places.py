"""The scheme of the notes: where a run stands, and which teacher is found there."""

import pytest

from mechlab.errors import MechlabError
from mechlab.files import write_json
from mechlab.runs.folder import RunFolder
from mechlab.runs.request import TrainRequest
from mechlab.specs import TrainSpec
from reproductions.can_ids.places import Place, discovered, enter, runs_at

TEACHER = Place(dataset="hcrl_sa", model="gat", size="teacher", is_distilled=False, mode="curriculum")


def finished(out, *, seed=0, parts=None):
    spec = TrainSpec(
        system="gat", parts=parts or {}, tasks=(("x",),), features=(), seed=seed, epochs=1, batch_size=1
    )
    run = RunFolder(out / f"gat-{spec.hash}")
    run.create(spec, parts={}, request=TrainRequest(system="gat"), provenance={})
    write_json(run.path / "summary.json", {})
    return run


@pytest.mark.parametrize(
    ("place", "path"),
    [
        (Place(dataset="hcrl_sa", model="vgae", size="teacher", is_distilled=False, mode="autoencoder"),
         "automotive/hcrl_sa/unsupervised/vgae/teacher/no-kd/autoencoder"),
        (Place(dataset="hcrl_sa", model="vgae", size="student", is_distilled=True, mode="autoencoder"),
         "automotive/hcrl_sa/unsupervised/vgae/student/with-kd/autoencoder"),
        (TEACHER, "automotive/hcrl_sa/supervised/gat/teacher/no-kd/curriculum"),
    ],
    ids=["vgae teacher", "vgae student", "gat teacher"],
)  # fmt: skip
def test_places_are_those_of_the_notes(place, path):
    assert str(place.path) == path


def test_a_gat_is_taught_by_one_in_curriculum_mode():
    student = Place(dataset="set_01", model="gat", size="student", is_distilled=True, mode="normal")
    assert str(student.teacher.path) == "automotive/set_01/supervised/gat/teacher/no-kd/curriculum"


def test_a_run_is_found_at_its_place_and_not_when_it_is_gone(tmp_path):
    run = finished(tmp_path)
    link = enter(run, TEACHER)
    enter(run, TEACHER)
    assert link.resolve() == run.path and runs_at(tmp_path, TEACHER) == (run,)
    assert discovered(tmp_path, TEACHER, seed=5, purpose="a teacher") == run
    (run.path / "summary.json").unlink()
    assert runs_at(tmp_path, TEACHER) == ()


def test_of_several_teachers_that_of_the_same_seed_is_taken(tmp_path):
    for seed in (0, 1):
        enter(finished(tmp_path, seed=seed), TEACHER)
    assert discovered(tmp_path, TEACHER, seed=1, purpose="a teacher").spec().seed == 1
    with pytest.raises(
        MechlabError, match=r"a teacher was looked for at .* which has gat-.*, gat-.*; name one"
    ):
        discovered(tmp_path, TEACHER, seed=2, purpose="a teacher")
    enter(finished(tmp_path, seed=1, parts={"hidden": 5}), TEACHER)
    with pytest.raises(MechlabError, match="name one of them"):
        discovered(tmp_path, TEACHER, seed=1, purpose="a teacher")


def test_a_missing_teacher_is_one_sentence(tmp_path):
    with pytest.raises(
        MechlabError, match=r"no finished run is there; train one with 'mechlab train gat --preset teacher"
    ):
        discovered(tmp_path, TEACHER, seed=0, purpose="a teacher")
