"""`mechlab train vgae` and `gat` on a folder of logs: teachers, students, refusals, resume, recording."""

import json
import shutil

import numpy as np
import pytest
from click.testing import CliRunner

from cli.main import mechlab as command_line
from mechlab import recording
from mechlab.errors import MechlabError


def test_a_teacher_is_trained_judged_and_put_in_its_place(bench, vgae):
    assert vgae["place"] == "automotive/car/unsupervised/vgae/teacher/no-kd/autoencoder"
    assert (bench.out / vgae["place"] / vgae["run"]).resolve() == bench.run(vgae).path.resolve()
    row = vgae["metrics"]["test_01_known_vehicle_known_attack"]
    assert 0 <= row["auroc"] <= 1 and 0 <= row["baseline_auroc"] <= 1
    assert {"test_01_known_vehicle_known_attack/dos", "test_01_known_vehicle_known_attack/fuzzing"} <= set(
        vgae["metrics"]
    )
    again = bench.train("vgae", "--preset", "teacher")
    assert again == vgae


def test_a_student_learns_from_the_teacher_at_its_place(bench, gat):
    found = bench.train(
        "gat", "--preset", "student", "--distill", "auto", "--temperature", "4", "--alpha", "0.7"
    )
    assert found["teacher"] == gat["run"]
    assert found["place"] == "automotive/car/supervised/gat/student/with-kd/curriculum"
    rows = bench.run(found).log()
    assert {"kd_loss", "train_loss", "task_loss"} <= rows[0].keys()
    assert rows[0]["train_loss"] == rows[0]["loss"]
    alone = bench.train("gat", "--preset", "student")
    assert alone["trajectory"] != found["trajectory"] and alone["teacher"] is None


def test_a_vgae_student_logs_both_signals(bench, vgae):
    found = bench.train("vgae", "--preset", "student", "--distill", vgae["run"], "--set", "hidden=[8,8,2]")
    assert {"kd_loss", "kd_latent_loss", "kd_recon_loss", "train_loss"} <= bench.run(found).log()[0].keys()
    prints = json.loads((bench.run(found).path / "fingerprint.json").read_text())["stages"][0]
    assert prints["moved"]["projection.weight"]
    assert not any(moved for name, moved in prints["moved"].items() if name.startswith("teacher."))


def test_scores_and_the_summary_hold_no_teacher(bench, vgae, tmp_path):
    elsewhere = bench.at(bench.root, tmp_path)
    shutil.copytree(bench.out, elsewhere.out, symlinks=True)
    found = elsewhere.train("vgae", "--preset", "student", "--distill", "auto")
    shutil.rmtree(elsewhere.run(vgae).path)
    from reproductions.can_ids.models import trained

    model = trained(elsewhere.run(found)).model
    assert sum(parameter.numel() for parameter in model.parameters()) == found["parameters"]


@pytest.mark.parametrize("killed_at", ["epoch", "evaluation"])
def test_an_interrupted_training_ends_like_one_that_was_not(bench, gat, tmp_path, monkeypatch, killed_at):
    from mechlab.train import tasks
    from reproductions.can_ids import detector_work

    other = bench.at(bench.root, tmp_path)
    monkeypatch.setattr(tasks, "EVERY_SECONDS", 0.0)
    shutil.copytree(bench.out, other.out, symlinks=True)
    shutil.rmtree(other.run(gat).path)

    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        target = (tasks, "run_task") if killed_at == "epoch" else (detector_work, "evaluate")
        broken.setattr(*target, stop_after_one_epoch(tasks.run_task) if killed_at == "epoch" else stop)
        words = [str(word) for word in other.words("gat", "--preset", "teacher")]
        assert CliRunner().invoke(command_line, words).exit_code != 0
    assert not other.run(gat).is_finished
    again = other.train("gat", "--preset", "teacher")
    assert again["trajectory"] == gat["trajectory"]
    assert again["metrics"] == gat["metrics"]
    assert other.run(gat).log() == bench.run(gat).log()


def stop_after_one_epoch(run_task):
    def run(*positional, after_epoch, **named):
        def stopping(progress):
            after_epoch(progress)
            raise KeyboardInterrupt

        return run_task(*positional, after_epoch=stopping, **named)

    return run


def test_a_training_is_recorded_window_by_window(bench, gat):
    plan = []
    for site, quantity in (
        ("level.0", "activation"),
        ("teacher.pooled", "activation"),
        ("model.read.*", "gradient"),
    ):
        plan += ["--site", site, "--quantity", quantity]
    found = bench.train("gat", "--preset", "student", "--mode", "normal", "--distill", "auto", *plan)
    plain = bench.train("gat", "--preset", "student", "--mode", "normal", "--distill", "auto")
    assert plain["trajectory"] == found["trajectory"]
    with recording.open(found["recording"]["path"]) as opened:
        seen = opened["activation/level.0"]
        windows = len(bench.run(found).log()) and seen.shape[0]
        assert seen.axes == ("item", "dim") and windows % 2 == 0
        assert opened["activation/teacher.pooled"].shape[0] == windows
        assert np.abs(opened["gradient/model.read.0"].read()).max() > 0


def test_the_former_mode_is_told_and_taken_for_the_switch(bench, gat):
    found = bench.command(
        *bench.words("gat", "--preset", "student", "--mode", "knowledge_distillation", "--dry-run")
    )
    assert "is deprecated" in found.output and "--distill auto" in found.output
    assert gat["run"]


@pytest.mark.parametrize(
    ("system", "words", "told"),
    [
        ("vgae", ["--mode", "curriculum"], "vgae was asked for in mode 'curriculum'"),
        ("gat", ["--alpha", "0.5"], "'alpha' was given, but nothing reads it without a teacher"),
        ("vgae", ["--temperature", "2"], "no setting named 'temperature'"),
        ("gat", ["--mode", "normal", "--set", "difficulty=auto"], "'difficulty' was given, but nothing"),
        ("gat", ["--distill", "gat-nothing"], "no run in .* named 'gat-nothing'"),
        ("gat", ["--distill", "auto", "--data", "other"], "no finished run is there"),
        ("gat", ["--mode", "normal", "--set", "mode=curriculum"], "'mode' is given as an option"),
        ("fusion", ["--distill", "auto"], "fusion was given --distill, and has no teacher"),
        ("fusion", ["--set", "target_every=5"], "'target_every' was given, but nothing reads it"),
        ("fusion", ["--data", "other"], "a vgae for the fusion was looked for at .*other/"),
        ("gat", ["--tasks", "bottle"], "--tasks was given, and gat reads windows of CAN messages"),
        ("gat", ["--set", "router=oracle"], "'router' was given, which is a setting of images"),
        ("gat", ["--set", "conv=gatv3"], "gat key 'conv' = 'gatv3' is not allowed"),
        ("gat", ["--devices", "2"], "--devices 2 was given"),
        ("vgae", ["--distill", "auto", "--set", "latent_weight=0", "--set", "reconstruction_weight=0"],
         "the teacher would say nothing"),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence(bench, gat, system, words, told):
    assert gat["run"]
    with pytest.raises(MechlabError, match=told):
        bench.command(*bench.words(system, *words))


def test_a_teacher_of_another_kind_data_set_or_vocabulary_is_refused(bench, gat, vgae, write_logs, tmp_path):
    with pytest.raises(MechlabError, match="is a vgae, and a gat is to be taught"):
        bench.train("gat", "--mode", "normal", "--distill", vgae["run"])
    with pytest.raises(MechlabError, match="was trained on data set 'car', and this is 'van'"):
        bench.train("gat", "--mode", "normal", "--distill", gat["run"], "--data", "van")
    with pytest.raises(MechlabError, match="was trained with split published, and this is time"):
        bench.train("gat", "--mode", "normal", "--distill", gat["run"], "--set", "split=time")
    other = write_logs(tmp_path / "car", seconds=2.0)
    log = other / "train_01_attack_free" / "attack-free-kia.csv"
    log.write_text(log.read_text().replace(",100,", ",7FF,"))
    changed = bench.at(other, bench.place)
    with pytest.raises(MechlabError, match=r"teacher 'gat-.*' knows .* ids .* so an id means another thing"):
        changed.train("gat", "--mode", "normal", "--distill", gat["run"])


def test_a_run_is_listed_and_shown(bench, vgae):
    assert vgae["run"] in bench.command("runs", "list", "--out", bench.out).output
    assert "baseline auroc" in bench.command("runs", "show", vgae["run"], "--out", bench.out).output


def test_a_fusion_stands_beside_what_it_has_to_beat(bench, gat, vgae, fusion):
    found = fusion
    assert (found["gat"], found["vgae"]) == (gat["run"], vgae["run"])
    assert found["place"] == "automotive/car/rl_fusion/fusion/teacher/no-kd/fusion"
    row = found["metrics"]["test_01_known_vehicle_known_attack"]
    assert {f"{name}_auroc" for name in ("weighted", "mlp", "gat", "vgae", "baseline")} <= row.keys()
    assert row["gat_auroc"] == gat["metrics"]["test_01_known_vehicle_known_attack"]["auroc"]
    dqn = bench.train("fusion", "--preset", "dqn")
    assert dqn["trajectory"] != found["trajectory"]
    with pytest.raises(MechlabError, match="names a run of gat; name a run of vgae"):
        bench.train("fusion", "--set", f"vgae={gat['run']}")


def test_the_memory_of_a_step_is_told_with_and_without_a_teacher(bench, gat):
    place = ["--root", bench.root, "--out", bench.out, "--cache", bench.place / "cache"]
    words = ["can", "memory", "gat", *place, *bench.tiny["gat"], "--json"]
    taught = json.loads(bench.command(*words, "--distill", gat["run"]).stdout)
    alone = json.loads(bench.command(*words).stdout)
    assert taught["teacher_adds"] > 0 and alone["teacher_adds"] is None
    assert (taught["safety_factor"], alone["safety_factor"]) == (0.38, 0.5)
    assert 0 < taught["batch_size"] < alone["batch_size"]
    with pytest.raises(MechlabError, match="hold no window of this model"):
        bench.command(*words, "--gigabytes", "0.00001")
