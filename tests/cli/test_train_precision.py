"""`--set precision=...` from the command line, on the CPU."""

import json

import numpy as np
import pytest

from mechlab.train import session

# Quantities of modules whose outputs are bfloat16, and of the log-dets, which are not
WATCHED = {
    "flow.0.subnet": "activation",
    "flow.0.subnet.s1.base": "activation",
    "dia.*.0.log_scale.*": "activation",
    "flow.*.log_det": "log_det",
    "flow.0.subnet.s1.*.weight": "gradient",
    "flow.0.subnet.s2.base": "row_contribution",
    "flow.0.subnet.t1.base": "sample_gradient_norm",
    "flow.0.subnet.t2.base": "input_gradient",
}


@pytest.fixture
def words(small_request):
    """The words of the small run, into an empty folder."""
    sizes = ["--image-size", 64, "--dim", 16, "--epochs", 2, "--batch-size", 6, "--threads", 1]
    keys = ["--set", "dia_blocks=1", "--set", "lora_rank=4", "--cache", small_request.cache, "--json"]
    data = ["--data", "folder", "--root", small_request.root, "--tasks", "bolt,nut", "--device", "cpu"]
    return ["train", "moleflow", "--preset", "reduced", *data, *sizes, *keys]


def test_a_run_in_bf16_is_another_one_and_its_scores_are_repeated(mechlab, words, small_summary):
    status, out, err = mechlab(*words, "--set", "precision=bf16")
    assert status == 0, err
    trained = json.loads(out)
    assert trained["trajectory"] != small_summary["trajectory"] and trained["scores_identical"] is True
    status, out, err = mechlab("evaluate", trained["run"], "--router", "oracle", "--json")
    assert status == 0, err
    again = json.loads(out)["metrics"]
    for name, metrics in trained["metrics"].items():
        assert again[name]["given_image_auroc"] == metrics["given_image_auroc"]
        assert metrics["pixel_auroc"] == pytest.approx(
            small_summary["metrics"][name]["pixel_auroc"], abs=0.03
        )


def test_what_is_recorded_in_bf16_changes_nothing_and_is_near_float32(mechlab, words, tmp_path):
    from mechlab import recording

    sites = [word for site, what in WATCHED.items() for word in ("--site", site, "--quantity", what)]
    found = {}
    for precision in ("float32", "bf16"):
        status, out, err = mechlab(*words, "--set", f"precision={precision}", "--out", "watched", *sites)
        assert status == 0, err
        found[precision] = json.loads(out)
    status, out, err = mechlab(*words, "--set", "precision=bf16", "--out", "alone")
    assert status == 0, err
    assert json.loads(out)["trajectory"] == found["bf16"]["trajectory"]
    full, low = (recording.open(tmp_path / found[word]["recording"]["path"]) for word in ("float32", "bf16"))
    assert set(full) == set(low) and len({key.split("/")[0] for key in full}) == len(set(WATCHED.values()))
    for key in full:
        one, other = (np.asarray(each[key][:6], dtype=np.float64) for each in (full, low))
        away = np.linalg.norm(one - other) / max(np.linalg.norm(one), 1e-12)
        assert away < 0.03, key


def test_tf32_is_refused_on_the_cpu_and_scored_there(mechlab, words, small_summary, monkeypatch, tmp_path):
    status, out, err = mechlab(*words, "--set", "precision=tf32")
    assert (status, out) == (1, "")
    assert "changes nothing on the CPU; give --device cuda, or precision=float32 or bf16." in err
    assert not (tmp_path / "runs").exists()
    with monkeypatch.context() as patch:  # stands in for a CUDA device
        patch.setattr(session, "refuse_absent", lambda precision, device: None)
        trained = json.loads(mechlab(*words, "--set", "precision=tf32")[1])
    assert trained["run"] != small_summary["run"] and trained["trajectory"] == small_summary["trajectory"]
    status, out, err = mechlab("evaluate", trained["run"], "--router", "oracle", "--device", "cpu", "--json")
    assert status == 0, err
