"""A changed flow, from the command line: what was changed, what that did, and how it may be compared."""

import json
import shutil
from pathlib import Path

import pytest

from mechlab.runs.folder import RunFolder
from mechlab.train.alteration import COMPARABLE


@pytest.fixture(scope="module")
def small_run(small_run, tmp_path_factory):
    """A copy of the small run, since other tests count its evaluations."""
    place = tmp_path_factory.mktemp("altered") / small_run.name
    return RunFolder.open(Path(shutil.copytree(small_run.path, place)))


def evaluated(mechlab, run, *words):
    status, out, err = mechlab("evaluate", run.path, *words, "--json")
    assert status == 0, err
    return json.loads(out)


def test_evaluate_prints_what_was_changed_and_how_it_may_be_compared(mechlab, small_run):
    status, out, err = mechlab("evaluate", small_run.path, "--ablate", "flow.1=zero", "--swap", "0,1")
    assert status == 0, err
    assert "changed by ablate:flow.1:zero: acted" in out
    assert "changed by swap:0,1: acted" in out
    assert COMPARABLE in out


def test_evaluate_carries_them_in_its_document(mechlab, small_run):
    found = evaluated(mechlab, small_run, "--ablate", "adapted=mean", "--ablate", "flow.1.log_det=zero")
    texts = ["ablate:adapted:mean", "ablate:flow.1.log_det:zero"]
    assert found["spec"]["interventions"] == texts
    assert [done["intervention"] for done in found["interventions"]] == texts
    assert found["comparable"] == COMPARABLE


def test_the_order_of_the_words_does_not_matter(mechlab, small_run):
    one = evaluated(mechlab, small_run, "--ablate", "adapted=zero", "--swap", "1,0")
    two = evaluated(mechlab, small_run, "--swap", "0,1", "--ablate", "adapted=zero")
    assert one == two


def test_without_interventions_nothing_is_said_of_them(mechlab, small_run):
    status, out, _ = mechlab("evaluate", small_run.path)
    assert status == 0
    assert "changed by" not in out and "normaliser" not in out


def test_a_patch_of_the_run_s_own_recording_says_that_it_changed_no_bit(mechlab, small_run):
    status, out, err = mechlab(
        "record", small_run.path, "--site", "adapted", "--quantity", "activation", "--json"
    )
    assert status == 0, err
    recording = json.loads(out)["recording"]
    words = ("--router", "oracle", "--patch", f"adapted={recording}")  # the oracle's: rows are of its expert
    status, out, err = mechlab("evaluate", small_run.path, *words)
    assert status == 0, err
    assert "changed no bit" in out
    assert recording not in json.dumps(evaluated(mechlab, small_run, *words)["spec"])


def test_record_records_a_changed_flow(mechlab, small_run):
    words = ("record", small_run.path, "--site", "latent", "--quantity", "latent", "--limit", 2)
    status, out, err = mechlab(*words, "--ablate", "flow.0=mean", "--json")
    assert status == 0, err
    assert json.loads(out)["interventions"] == ["ablate:flow.0:mean"]
    status, out, _ = mechlab(*words, "--ablate", "flow.0=mean")
    assert status == 0
    assert "changed by ablate:flow.0:mean" in out and COMPARABLE in out


def test_train_freezes(mechlab, small_request):
    data = ("--data", "folder", "--root", small_request.root, "--tasks", "bolt", "--image-size", 64)
    size = ("--dim", 16, "--epochs", 1, "--batch-size", 6, "--threads", 1, "--cache", small_request.cache)
    words = ("train", "moleflow", "--preset", "reduced", *data, *size)
    status, out, err = mechlab(*words, "--freeze", "flow.0.*", "--freeze", "flow.1.*", "--json")
    assert status == 0, err
    status, out, _ = mechlab("runs", "show", json.loads(out)["run"], "--json")
    assert "freeze:flow.0.*" in out and "freeze:flow.1.*" in out
    status, out, err = mechlab(*words, "--freeze", "flw.*")
    assert (status, out) == (1, "")
    assert "no parameter to freeze named 'flw.*'" in err


def test_a_configuration_file_may_freeze_one_pattern_or_several(mechlab, tmp_path):
    from mechlab.runs.words import request_of

    for text, expected in (("freeze: flow.*", ("flow.*",)), ("freeze: [a, b]", ("a", "b"))):
        (tmp_path / "c.yaml").write_text(text)
        assert request_of({"settings": ()}, config=tmp_path / "c.yaml", given=()).freeze == expected


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--ablate", "flow.1"), "'flow.1' is no ablation; write SITE=VALUE"),
        (("--ablate", "flw.1=zero"), "Did you mean 'flow.1"),
        (("--swap", "0,9"), "names task 9"),
        (("--patch", "adapted=nowhere"), "'nowhere' does not exist"),
        (("--ablate", "router.1=zero"), "never acted"),
    ],
)
def test_a_mistake_is_one_sentence(mechlab, small_run, words, sentence):
    status, out, err = mechlab("evaluate", small_run.path, *words, "--quiet")
    assert (status, out) == (1, "")
    assert sentence in err
    assert err.count("\n") == 1
