"""A run on another data set: its own classes get their own numbers, and what cannot be told is refused."""

from dataclasses import replace

import numpy as np
import pytest

from mechlab.errors import MechlabError
from mechlab.train.asked_evaluation import evaluate_as_asked
from mechlab.train.elsewhere import Elsewhere
from mechlab.train.scoring import Scores
from mechlab.train.session import reevaluate


def asked(run, **words):
    place = {"data": "folder", "root": None, "classes": None} | words
    return evaluate_as_asked([run], settings={}, elsewhere=Elsewhere.of(**place))


def test_a_runs_own_images_named_so_get_the_same_numbers(small_run, pictures):
    found = asked(small_run, root=pictures)
    own = reevaluate(small_run, settings={})
    for name in ("bolt", "nut"):
        for key in ("image_auroc", "image_ap", "pixel_auroc", "pixel_ap", "aupro", "trivial_image_auroc"):
            assert found["metrics"][name][key] == own["metrics"][name][key], key
        assert found["scores"][name]["scores"] == own["scores"][name]["scores"]
    assert found["routes"]["bolt"]["bolt"] == own["metrics"]["bolt"]["routing_accuracy"]
    assert sum(found["routes"]["nut"].values()) == pytest.approx(1.0)
    assert "routing_accuracy" not in found["metrics"]["bolt"]


def test_other_images_are_scored_by_the_experts_that_there_are(small_run):
    found = asked(small_run, data="embedded", classes="gear")
    assert set(found["metrics"]) == {"gear"}
    assert 0 <= found["metrics"]["gear"]["image_auroc"] <= 1
    assert set(found["routes"]["gear"]) == {"bolt", "nut"}
    folder = next((small_run.path / "elsewhere").glob("*/gear.npz")).parent
    assert np.isfinite(Scores.load(folder / "gear.npz").routed).all()
    assert asked(small_run, data="embedded", classes="gear") == found
    assert not any("gear" in path.name for path in (small_run.path / "evals").rglob("*"))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ({"data": "embeded"}, "Did you mean 'embedded'"),
        ({"data": "embedded", "classes": "gearr"}, "Did you mean 'gear'"),
        ({"data": None, "classes": "gear"}, "--tasks was given without --data, so nothing reads it"),
    ],
)
def test_a_wrong_name_is_one_sentence(words, sentence, small_run):
    with pytest.raises(MechlabError, match=sentence):
        asked(small_run, **words)


def test_the_oracle_has_no_task_for_images_from_elsewhere(small_run):
    place = Elsewhere(data="embedded", root=None, classes="gear")
    sentence = r"no task of .* owns images of embedded; give another one, e.g. --router euclidean"
    with pytest.raises(MechlabError, match=sentence):
        evaluate_as_asked([small_run], settings={"router": "oracle"}, elsewhere=place)


def test_several_runs_or_two_wishes_are_refused(small_run):
    place = Elsewhere(data="embedded", root=None, classes="gear")
    with pytest.raises(MechlabError, match="--data is of one run as it is, and 2 runs"):
        evaluate_as_asked([small_run, small_run], settings={}, elsewhere=place)
    with pytest.raises(MechlabError, match="--diagnostics is of one run as it is"):
        evaluate_as_asked([small_run, small_run], settings={}, diagnostics=True)
    with pytest.raises(MechlabError, match="leave one of them out"):
        evaluate_as_asked([small_run], settings={}, elsewhere=place, diagnostics=True)


def test_diagnostics_are_of_the_runs_own_images_and_kept(small_run):
    found = evaluate_as_asked([small_run], settings={}, diagnostics=True)["diagnostics"]
    assert set(found) == {"bolt", "nut"}
    for groups in found.values():
        assert groups["normal"]["log_det_std"] > 0
        assert abs(groups["normal"]["length_log_det_correlation"]) <= 1
        ratio = groups["defective"]["log_det_std"] / groups["normal"]["log_det_std"]
        assert groups["ratio"]["log_det_std"] == pytest.approx(ratio)
    assert (small_run.path / "diagnostics.json").exists()
    assert evaluate_as_asked([small_run], settings={}, diagnostics=True)["diagnostics"] == found


def test_diagnostics_need_a_flow(small_request, tmp_path):
    from mechlab.runs.folder import RunFolder
    from mechlab.train.session import train

    request = replace(
        small_request,
        system="patchcore",
        preset="mini",
        settings={},
        epochs=None,
        batch_size=None,
        out=tmp_path,
    )
    run = RunFolder.open(tmp_path / train(request)["run"])
    with pytest.raises(MechlabError, match="is of patchcore, which has no latents and log-dets"):
        evaluate_as_asked([run], settings={}, diagnostics=True)
