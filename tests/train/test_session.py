"""A run from request to summary: kept, repeated, refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mechlab import fingerprint
from mechlab.errors import MechlabError
from mechlab.files import read_json
from mechlab.runs.folder import RunFolder, runs
from mechlab.train import evaluation, session
from mechlab.train.resolution import outline
from mechlab.train.session import plan_of, reevaluate, resolve, train


def same_files(one: Path, two: Path, names):
    return all((one / name).read_bytes() == (two / name).read_bytes() for name in names)


FINAL = ("log.jsonl", "fingerprint.json", "checkpoints/after_task_0/weights.safetensors",
         "checkpoints/after_task_1/weights.safetensors")  # fmt: skip


def test_a_run_leaves_what_the_next_step_needs(small_run, small_summary):
    assert small_run.checkpoints() == (0, 1)
    assert small_run.is_finished
    assert set(small_summary["metrics"]) == {"bolt", "nut"}
    for metrics in small_summary["metrics"].values():
        assert {"image_auroc", "image_ap", "pixel_auroc", "pixel_ap", "aupro", "routing_accuracy",
                "trivial_image_auroc"} <= set(metrics)  # fmt: skip
    assert not list(small_run.path.rglob("*.part"))
    rows = small_run.log()
    assert [row["step"] for row in rows] == list(range(len(rows)))


def test_frozen_experts_keep_earlier_scores_bit_identical(small_summary):
    assert small_summary["scores_identical"] is True
    assert small_summary["forgetting"] == pytest.approx(0.0, abs=1e-12)


def test_a_base_that_trains_on_changes_earlier_scores(small_request, tmp_path):
    request = replace(small_request, preset="reduced-finetune", settings={"dia_blocks": 1}, out=tmp_path)
    assert train(request)["scores_identical"] is False


def test_two_trainings_are_bit_identical(small_request, small_run, tmp_path):
    again = train(replace(small_request, out=tmp_path))
    assert same_files(Path(again["path"]), small_run.path, FINAL)
    assert again["trajectory"] == small_run.summary()["trajectory"]


def test_what_turns_out_not_to_be_buildable_leaves_no_run(small_request, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise MechlabError("cannot be built")

    request = replace(small_request, out=tmp_path)
    with monkeypatch.context() as patch, pytest.raises(MechlabError, match="cannot be built"):
        patch.setattr(session, "build", refuse)
        train(request)
    assert runs(tmp_path) == ()
    assert outline(request)["state"] == "absent"


def test_the_same_spec_is_never_trained_twice(small_request, small_summary):
    heard = []
    assert train(small_request, report=heard.append) == small_summary
    assert any("already trained" in line for line in heard)


def test_the_router_is_evaluated_without_training(small_run):
    before = sorted(path.stat().st_mtime_ns for path in (small_run.path / "checkpoints").rglob("*"))
    known = set(small_run.evaluations())
    found = reevaluate(
        small_run, settings={"router": "oracle", "aggregation": "max", "aggregation_value": None}
    )
    assert found["metrics"]["bolt"]["routing_accuracy"] == 1.0
    assert sorted(path.stat().st_mtime_ns for path in (small_run.path / "checkpoints").rglob("*")) == before
    assert len(set(small_run.evaluations()) - known) == 1


def test_an_unknown_router_is_one_sentence(small_run):
    with pytest.raises(MechlabError, match="Did you mean 'oracle'"):
        reevaluate(small_run, settings={"router": "oracel"})


def test_what_was_let_pass_is_marked_and_trains_nothing_new(small_request, small_run):
    words = {"aggregation": "top_k_percent", "top_k": 3}
    asked = replace(small_request, settings=small_request.settings | words)
    with pytest.raises(MechlabError, match=r"let it pass with --allow top_k\."):
        resolve(asked)
    plain = resolve(
        replace(small_request, settings=small_request.settings | {"aggregation": "top_k_percent"})
    )
    marked = resolve(replace(asked, allow=("top_k",)))
    assert plain.spec.hash == marked.spec.hash == small_run.spec().hash
    specs = [
        evaluation.spec_of(plan.spec, plan.inputs, stage=0, settings=plan.evaluation)
        for plan in (plain, marked)
    ]
    assert specs[0].hash != specs[1].hash
    assert specs[1].allowed == ("top_k",)


def test_an_aggregation_changes_image_scores_and_no_map(small_run):
    found = [
        reevaluate(small_run, settings={"aggregation": mode, "aggregation_value": value})
        for mode, value in (("top_k", 10.0), ("spatial_cluster", 0.0), ("percentile", 0.9))
    ]
    assert found[0]["scores"] == found[1]["scores"] != found[2]["scores"]
    pixels = [{name: metrics["pixel_ap"] for name, metrics in one["metrics"].items()} for one in found]
    assert pixels[0] == pixels[1] == pixels[2]


def test_map_smoothing_never_changes_image_scores(small_run):
    plain = reevaluate(small_run, settings={"sigma": 0.0})
    smooth = reevaluate(small_run, settings={"sigma": 6.0})
    assert plain["scores"] == smooth["scores"]
    assert plain["metrics"]["bolt"]["pixel_auroc"] != smooth["metrics"]["bolt"]["pixel_auroc"]


def test_a_class_of_its_own_width_changes_its_map_alone(small_run):
    found = [reevaluate(small_run, settings={"sigma": words}) for words in ("4", "4,nut=1", "1")]
    pixels = [{name: metrics["pixel_ap"] for name, metrics in one["metrics"].items()} for one in found]
    assert pixels[1] == {"bolt": pixels[0]["bolt"], "nut": pixels[2]["nut"]}
    assert pixels[0]["nut"] != pixels[2]["nut"]
    assert found[0]["scores"] == found[1]["scores"]
    with pytest.raises(MechlabError, match="Did you mean 'nut'"):
        reevaluate(small_run, settings={"sigma": "4,nutt=1"})


def test_images_that_changed_since_training_are_noticed(small_request, small_run, pictures, tmp_path):
    import shutil

    root = tmp_path / "changed"
    shutil.copytree(pictures, root)
    (root / "bolt" / "train" / "good" / "000.png").unlink()
    document = read_json(small_run.path / "run.json")
    document["request"]["root"] = str(root)
    copy = tmp_path / small_run.name
    copy.mkdir()
    (copy / "run.json").write_text(__import__("json").dumps(document))
    with pytest.raises(
        MechlabError, match=r"was trained on something else than is there now \(different: features\)"
    ):
        plan_of(RunFolder.open(copy))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"preset": "minni"}, "Did you mean 'mini'"),
        ({"system": "moleflo"}, "Did you mean 'moleflow'"),
        ({"tasks": "bolt,nutt"}, "Did you mean 'nut'"),
        ({"settings": {"lora_rnk": 3}}, "Did you mean 'lora_rank'"),
        ({"settings": {"tail_weight": 2}}, "tail_weight"),
        ({"settings": {"sigma": "4,nutt=2"}}, "Did you mean 'nut'"),
        ({"settings": {"epochs": 3}}, "'epochs' is given as an option and by --set"),
        ({"data": "mvtecc"}, "Did you mean 'mvtec'"),
        ({"root": Path("nowhere")}, "nowhere"),
        ({"backbone": "resnet1888", "weights": "random-0"}, "resnet18"),
        ({"device": "tpu"}, "device 'tpu' is unknown"),
        ({"devices": 0}, "devices 0 was asked for; give 1 or more"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_wrong_request_is_one_sentence_and_leaves_nothing(small_request, tmp_path, change, sentence):
    with pytest.raises(MechlabError, match=sentence):
        train(replace(small_request, out=tmp_path / "runs", **change))
    assert not list(tmp_path.rglob("*.safetensors"))


def test_a_setting_that_could_not_matter_is_refused(small_request, tmp_path):
    settings = small_request.settings | {"adapter": "none", "adapter_ridge": 0.5}
    with pytest.raises(MechlabError, match="adapter_ridge"):
        train(replace(small_request, out=tmp_path, settings=settings))


def test_a_stream_is_the_tasks_that_it_stands_for(small_request):
    listed = resolve(replace(small_request, tasks="bolt+nut")).spec
    assert resolve(replace(small_request, tasks="all", stream="2-1")).spec.hash == listed.hash
    with pytest.raises(MechlabError, match="--stream 2-1 was given beside the tasks 'bolt,nut'"):
        resolve(replace(small_request, stream="2-1"))


def test_paths_and_threads_do_not_reach_the_hash(small_request, tmp_path):
    one = resolve(small_request).spec
    other = resolve(replace(small_request, out=tmp_path, cache=tmp_path / "c", threads=2, device="cpu")).spec
    assert one.hash == other.hash
    assert (
        resolve(replace(small_request, settings=small_request.settings | {"router": "oracle"})).spec.hash
        == one.hash
    )
    assert resolve(replace(small_request, seed=1)).spec.hash != one.hash


def test_a_second_process_on_the_same_run_is_refused(small_request, tmp_path):
    from mechlab.files import lock

    request = replace(small_request, out=tmp_path, seed=5)
    with (
        lock(resolve(request).run.path / "lock", wait=False),
        pytest.raises(MechlabError, match="another process is writing this run"),
    ):
        train(request)


def test_the_fingerprint_names_what_moved(small_run):
    first, second = fingerprint.load(small_run.path / "fingerprint.json")
    base = next(name for name in second.moved if name.startswith("flow.0") and name.endswith("base.weight"))
    assert first.moved[base] and not second.moved[base]
    assert second.disagreements() == ()


def test_thresholds_come_from_held_out_normals(small_summary):
    metrics = small_summary["metrics"]["bolt"]
    assert metrics["held_out_normals"] == 1
    assert metrics["promised_false_positive_rate"] == 0.5
    assert np.isfinite(metrics["threshold"])
