"""`mechlab record` of detectors: a row a window, one name a window in every run, and again alike."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from cli.main import mechlab as command_line
from mechlab import recording
from mechlab.errors import MechlabError
from mechlab.runs.folder import RunFolder
from mechlab.runs.request import TrainRequest
from mechlab.train.session import train
from reproductions.can_ids.batching import to_batch
from reproductions.can_ids.finished import finished
from reproductions.can_ids.models import build
from reproductions.can_ids.window_recording import spread

TINY = {
    "vgae": {"hidden": [8, 8, 3], "heads": 2, "decoder_heads": 2, "embedding": 3},
    "gat": {"hidden": 4, "heads": 2, "embedding": 3},
    "fusion": {"width": 8, "size": "teacher"},
}
SITES = (
    "--site",
    "level.*",
    "--quantity",
    "activation",
    "--site",
    "latent",
    "--quantity",
    "latent",
    "--site",
    "window",
    "--quantity",
    "score",
)


def run_command(*words):
    found = CliRunner().invoke(command_line, [str(word) for word in words])
    if isinstance(found.exception, MechlabError):
        raise found.exception
    assert found.exit_code == 0, found.output
    return found


@pytest.fixture(scope="module")
def made(can_folder, tmp_path_factory):
    """What trains a tiny detector on the logs and returns its run."""
    place = tmp_path_factory.mktemp("recorded")

    def make(system, *, root=can_folder, preset="student", **settings):
        words = TINY[system] | {"false_positives": 0.2} | settings
        request = TrainRequest(
            system=system,
            preset=preset,
            root=root,
            epochs=1,
            batch_size=32,
            threads=1,
            settings=words,
            out=place / "runs",
            cache=place / "cache",
        )
        return RunFolder.open(Path(train(request, report=str)["path"]))

    return make


@pytest.fixture(scope="module")
def vgae(made):
    return made("vgae", preset="teacher")


@pytest.fixture(scope="module")
def gat(made, vgae):
    return made("gat", preset="teacher", mode="curriculum", difficulty=vgae.name)


def record(run, *words):
    found = json.loads(run_command("record", run.path, *(words or SITES), "--json", "--quiet").stdout)
    return recording.open(found["recording"])


def scores_of(run):
    (folder,) = run.evaluations()
    with np.load(folder / "windows.npz") as arrays:
        return dict(arrays)


def test_each_test_window_is_a_row_of_every_layer_and_of_the_scores(vgae):
    with record(vgae) as found:
        judged = scores_of(vgae)
        layers = ("activation/level.0", "activation/level.1", "latent/latent")
        assert found.keys() == (*layers, "score/window")
        assert {item.split for item in found.items} == {"test"}
        assert found["activation/level.0"].axes == ("item", "dim")
        assert found["activation/level.0"].shape == (len(judged["scores"]), 8)
        assert found["latent/latent"].shape == (len(judged["scores"]), 3)
        np.testing.assert_array_equal(found["score/window"].exact(slice(None)), judged["scores"])
        np.testing.assert_array_equal([item.label for item in found.items], judged["labels"])
        starts = [float(item.image.rpartition("@")[2]) for item in found.items]
        np.testing.assert_allclose(starts, judged["start"], atol=1e-6)


def test_a_latent_is_what_the_trained_model_makes_of_the_window(vgae):
    seen, taken = finished(vgae, say=str), []
    seen.found.model.latent.register_forward_hook(lambda _module, _inputs, output: taken.append(output))
    with torch.no_grad():
        seen.found.model(to_batch(seen.windows.test.span(0, 20)))
    with record(vgae) as found:
        np.testing.assert_allclose(found["latent/latent"][:20], taken[0].numpy(), rtol=1e-4, atol=1e-6)


def test_the_latent_of_a_gat_is_what_its_linear_layers_read(gat):
    words = ("--site", "pooled", "--quantity", "activation", "--site", "logits", "--quantity", "activation")
    with record(gat, *SITES, *words) as found:
        np.testing.assert_array_equal(found["latent/latent"].read(), found["activation/pooled"].read())
        logits = found["activation/logits"].read()
        np.testing.assert_allclose(found["score/window"].read(), logits[:, 1] - logits[:, 0], atol=1e-5)
        assert found["latent/latent"].shape[1] == sum(
            found[key].shape[1] for key in found.keys("activation/level.*")
        )


def test_a_window_has_one_name_in_the_recordings_of_all_detectors(vgae, gat, made):
    student = made("vgae", distill=vgae.name)
    names = []
    for run in (vgae, student, gat):
        with record(run) as found:
            names.append([item.sha256 for item in found.items])
            assert set(found.facts["groups"].values()) == {
                item.image.partition("/")[0] for item in found.items
            }
    assert names[0] == names[1] == names[2] and len(set(names[0])) == len(names[0])


def test_a_recording_repeats_bit_for_bit(vgae):
    taken = []
    for _ in range(2):
        with record(vgae) as found:
            taken.append({key: found[key].read() for key in found})
            folder = found.path.parent
        shutil.rmtree(folder)
    assert taken[0].keys() == taken[1].keys()
    for key, values in taken[0].items():
        np.testing.assert_array_equal(values, taken[1][key])


def test_a_latent_that_is_drawn_in_evaluation_is_recorded_alike_too(made):
    run, taken = made("vgae", sampling="always"), []
    for number in range(2):
        torch.rand(number)  # what was drawn before must not matter
        with record(run, "--site", "window", "--quantity", "score") as found:
            taken.append(found["score/window"].read())
            folder = found.path.parent
        shutil.rmtree(folder)
    np.testing.assert_array_equal(*taken)
    assert (taken[0] != scores_of(run)["scores"]).any()  # another draw than that of its evaluation


def test_a_recording_that_is_there_is_read_and_not_made_again(vgae):
    with record(vgae) as one:
        before = one.path.stat().st_mtime_ns
    with record(vgae) as other:
        assert other.path == one.path and other.path.stat().st_mtime_ns == before


def test_training_windows_are_those_that_it_was_trained_on(vgae, gat):
    with (
        record(vgae, *SITES, "--split", "train") as normals,
        record(gat, *SITES, "--split", "train") as every,
    ):
        assert {item.label for item in normals.items} == {0} and {item.label for item in every.items} == {
            0,
            1,
        }
        assert len(normals.items) == len(finished(vgae, say=str).windows.train)
        assert {item.split for item in every.items} == {"train"}


def test_fewer_windows_are_spread_over_the_logs(vgae):
    with record(vgae) as whole, record(vgae, *SITES, "--limit", "8", "--normal-only") as some:
        normal = [item.sha256 for item in whole.items if not item.label]
        assert [item.sha256 for item in some.items] == [normal[at] for at in spread(len(normal), 8)]
        assert len({item.image.partition("@")[0] for item in some.items}) > 2
    assert spread(10, 5).tolist() == [0, 2, 4, 6, 8] and spread(7, 7).tolist() == list(range(7))


def test_the_change_of_weights_is_that_of_the_training(vgae):
    seen = finished(vgae, say=str)
    start = build(seen.config, ids=seen.found.vocabulary.size, seed=vgae.spec().seed)
    with record(vgae, "--site", "model.to_mean.weight", "--quantity", "weight_delta") as found:
        change = (seen.found.model.to_mean.weight - start.to_mean.weight).detach().numpy()
        np.testing.assert_allclose(found["weight_delta/model.to_mean"].read()[0], change, atol=1e-7)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--checkpoint", "1"), "has no checkpoint after task 1; it has: 0. A detector has one task"),
        (("--adapter", "1"), "'1' was given by --adapter, and nothing reads it in a recording"),
        (("--loss", "mean"), "'mean' was given by --loss, and nothing reads it"),
        (("--swap", "0,1"), "was given by --ablate, --swap or --patch, and nothing reads it"),
        (("--site", "model.*", "--quantity", "gradient"), "quantity 'gradient' is not recorded of windows"),
        (("--site", "mean", "--quantity", "image"), "quantity 'image' is not recorded of windows"),
        (("--site", "teacher.latent", "--quantity", "latent"), "teacher.latent"),
        (("--site", "windows", "--quantity", "score"), "windows"),
    ],
    ids=["checkpoint", "adapter", "loss", "intervention", "gradient", "image", "teacher", "score"],
)
def test_what_says_nothing_of_windows_is_one_sentence(vgae, words, told):
    before = vgae.recordings()
    with pytest.raises(MechlabError, match=told):
        record(vgae, *SITES, *words)
    assert vgae.recordings() == before


def test_a_fusion_has_no_layer_that_sees_a_window(made, vgae, gat):
    fusion = made("fusion", preset="bandit", vgae=vgae.name, gat=gat.name)
    with pytest.raises(MechlabError, match=r"is of system fusion, .* record the runs of vgae and gat"):
        record(fusion)


def test_logs_that_have_changed_since_are_refused(made, can_folder, tmp_path):
    root = Path(shutil.copytree(can_folder, tmp_path / "car"))
    run = made("vgae", root=root, heads=1)
    file = root / "train_01_attack_free" / "attack-free-kia.csv"
    lines = file.read_text().splitlines()
    at = next(number for number, line in enumerate(lines[1:], 1) if len(line.split(",")[2]) == 16)
    time, name, payload, attack = lines[at].split(",")
    lines[at] = ",".join([time, name, "FF" * 8 if payload != "FF" * 8 else "00" * 8, attack])
    file.write_text("\n".join(lines) + "\n")
    with pytest.raises(MechlabError, match="was trained on other logs than"):
        record(run)
