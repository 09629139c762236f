"""Model x mode x distillation: what is trained, what is refused, and the word that is gone."""

import pytest

from mechlab.errors import MechlabError
from reproductions.can_ids.modes import MODES, asked

KNOWN = ("autoencoder", "curriculum", "normal", "fusion")
TRAINED = {("vgae", "autoencoder"), ("gat", "curriculum"), ("gat", "normal"), ("fusion", "fusion")}


@pytest.mark.parametrize("distill", [None, "auto"], ids=["no-kd", "with-kd"])
@pytest.mark.parametrize("mode", KNOWN)
@pytest.mark.parametrize("system", sorted(MODES))
def test_the_matrix_is_that_of_the_notes(system, mode, distill):
    if (system, mode) not in TRAINED:
        with pytest.raises(MechlabError, match=f"{system} was asked for in mode '{mode}'"):
            asked(system, mode, distill=distill, size="student")
    elif system == "fusion" and distill:
        with pytest.raises(MechlabError, match="fusion was given --distill, and has no teacher"):
            asked(system, mode, distill=distill, size="student")
    else:
        found = asked(system, mode, distill=distill, size="student")
        assert (found.mode, found.distill, found.warnings) == (mode, distill, ())


@pytest.mark.parametrize("word", ["knowledge_distillation", "knowledge-distillation"])
@pytest.mark.parametrize(("system", "mode"), [("vgae", "autoencoder"), ("gat", "curriculum")])
def test_the_former_mode_is_taken_for_the_switch_with_a_sentence(system, mode, word):
    found = asked(system, word, distill=None, size="student")
    assert (found.mode, found.distill) == (mode, "auto")
    assert "is deprecated" in found.warnings[0] and f"--mode {mode} --distill auto" in found.warnings[0]


def test_a_teacher_that_is_taught_is_told():
    (warning,) = asked("gat", "normal", distill="auto", size="teacher").warnings
    assert "size 'teacher' is distilled" in warning


def test_an_unknown_mode_is_named():
    with pytest.raises(MechlabError, match="Did you mean 'curriculum'"):
        asked("gat", "curiculum", distill=None, size="student")
