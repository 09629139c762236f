"""Every command does what its page says; a mistake is one sentence, exit status 1, and leaves nothing."""

import csv
import json
import re
import shlex
import shutil

import numpy as np
import pytest
from click.testing import CliRunner

from cli.main import mechlab as command_line

VERBS = command_line.list_commands(None)


def example(verb):
    """Return the words of the example on a command's page."""
    text = CliRunner().invoke(command_line, [verb, "--help"]).output
    return shlex.split(re.search(rf"Example:\s+(mechlab {verb}.*)", text).group(1))[1:]


# The examples of patchcore and can run in tests/patchcore and tests/can_ids, where there are a run and logs.
SLOW = {"sweep"}  # trains a whole study


@pytest.mark.parametrize(
    "verb",
    [
        pytest.param(verb, marks=[pytest.mark.slow] * (verb in SLOW))
        for verb in VERBS
        if verb not in {"train", "demo", "patchcore", "can"}
    ],
)
def test_the_example_on_the_page_runs(verb, mechlab, small_run, other_run, small_study, pictures):
    recording = next(path for path in small_run.recordings() if path.is_dir())
    names = {
        "runs/moleflow-0a1b2c3d4e5f/recordings/1a2b3c4d5e6f": recording,
        "runs/moleflow-0a1b2c3d4e5f": small_run.path,
        "runs/moleflow-5f4e3d2c1b0a": other_run.path,
        "studies/shortcut-0a1b2c3d4e5f/result.json": small_study / "result.json",
        "my-data": pictures,
        "my-images": pictures / "bolt" / "test",
    }
    words = [names.get(word, word) for word in example(verb)]
    status, out, err = mechlab(*(words if verb != "data" else words[:3]))  # these are no pictures of mvtec
    assert status == 0, err
    assert out


@pytest.mark.parametrize("verb", ["train", pytest.param("demo", marks=pytest.mark.slow)])
def test_the_example_that_trains_runs(verb, mechlab):
    status, out, err = mechlab(*example(verb))
    assert status == 0, err
    assert "AUROC" in out.upper()


def test_train_prints_exactly_one_json_document(mechlab, small_request, small_summary):
    words = [
        "train",
        "moleflow",
        "--preset",
        "reduced",
        "--data",
        "folder",
        "--root",
        small_request.root,
        "--tasks",
        "bolt,nut",
        "--image-size",
        64,
        "--dim",
        16,
        "--epochs",
        2,
        "--batch-size",
        6,
        "--set",
        "dia_blocks=1",
        "--set",
        "lora_rank=4",
        "--threads",
        1,
        "--out",
        small_request.out,
        "--cache",
        small_request.cache,
        "--json",
    ]
    status, out, err = mechlab(*words)
    assert status == 0, err
    assert json.loads(out) == small_summary
    assert "already trained" in err


def test_quiet_says_nothing_on_stderr(mechlab, small_request, small_run):
    status, _, err = mechlab("evaluate", small_run.path, "--quiet")
    assert (status, err) == (0, "")


@pytest.mark.parametrize(
    "kind",
    [
        "systems",
        "presets",
        "parts",
        "datasets",
        "backbones",
        "quantities",
        "combinations",
        "probes",
        "figures",
        "studies",
    ],
)
def test_list_gives_name_id_summary_source(kind, mechlab):
    status, out, _ = mechlab("list", kind, "--json")
    assert status == 0
    rows = json.loads(out)
    assert rows
    assert all({"name", "id", "summary", "source"} <= set(row) for row in rows)
    assert all(row["id"] is None or re.fullmatch(r"[SMDP]\d+", row["id"]) for row in rows)
    if kind in {"presets", "parts"}:
        assert {row["system"] for row in rows} >= {"moleflow"}


def test_score_writes_a_table_and_one_map_an_image(mechlab, small_run, pictures, tmp_path):
    status, out, err = mechlab(
        "score", small_run.path, pictures / "nut" / "test", "--out", "scored", "--json"
    )
    assert status == 0, err
    found = json.loads(out)
    with (tmp_path / found["scores"]).open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 8
    assert {row["classes"] for row in rows} == {"nut"}
    maps = sorted((tmp_path / found["maps"]).rglob("*.npy"))
    assert len(maps) == 8
    assert np.load(maps[0]).shape == (64, 64)


def test_score_agrees_with_the_run_s_own_evaluation(mechlab, small_run, pictures):
    _, out, _ = mechlab("score", small_run.path, pictures / "nut" / "test", "--out", "scored", "--json")
    mine = sorted(row["score"] for row in json.loads(out)["images"])
    folder = small_run.path / "evals" / small_run.summary()["evaluation"] / "metrics.json"
    theirs = sorted(json.loads(folder.read_text())["scores"]["nut"]["scores"])
    assert mine == pytest.approx(theirs, rel=1e-5)


def test_diff_names_the_key_and_no_op(mechlab, small_run, other_run):
    status, out, _ = mechlab("diff", small_run.path, other_run.path, "--json")
    found = json.loads(out)
    assert status == 0
    assert {"spec", "declared", "observed", "trajectory_equal", "parameters", "metrics"} <= set(found)
    assert [row["key"] for row in found["spec"]] == ["seed"]
    assert found["trajectory_equal"] is False
    assert found["parameters"]["first"] == found["parameters"]["second"] > 0


@pytest.fixture
def no_op(small_run, tmp_path):
    """A run whose spec differs from the small run's while no bit of its training does."""
    copy = tmp_path / "moleflow-000000000000"
    shutil.copytree(small_run.path, copy)
    document = json.loads((copy / "run.json").read_text())
    document["spec"]["parts"]["ewc"] = True
    (copy / "run.json").write_text(json.dumps(document))
    return copy


def test_a_no_op_ablation_is_named_by_diff_and_refused_by_the_report(mechlab, small_run, no_op):
    status, out, _ = mechlab("diff", small_run.path, no_op)
    assert status == 0
    assert "NO-OP" in out and "parts.ewc" in out
    status, _, err = mechlab("report", small_run.path, no_op, "--out", "r.html")
    assert status == 1
    assert "the switch did nothing" in err


def test_runs_are_listed_shown_and_removed(mechlab, small_run, tmp_path):
    shutil.copytree(small_run.path, tmp_path / "runs" / small_run.name)
    status, out, _ = mechlab("runs", "list", "--json")
    assert status == 0
    assert [row["run"] for row in json.loads(out)] == [small_run.name]
    status, out, _ = mechlab("runs", "show", small_run.name[:14])
    assert status == 0, out
    assert "bolt" in out
    status, out, _ = mechlab("runs", "remove", small_run.name, "--yes")
    assert status == 0
    assert not (tmp_path / "runs" / small_run.name).exists()


def test_a_record_is_made_once(mechlab, small_run):
    words = (
        "record",
        small_run.path,
        "--site",
        "type:Linear",
        "--quantity",
        "weight_delta",
        "--checkpoint",
        1,
        "--json",
    )
    first, second = mechlab(*words), mechlab(*words)
    assert first[0] == second[0] == 0, first[2]
    assert json.loads(first[1]) == json.loads(second[1])
    assert "recording" in first[2] and "after task 1" not in second[2]


def test_a_plan_may_come_from_a_file(mechlab, small_run, tmp_path):
    (tmp_path / "plan.yaml").write_text("- {site: latent, quantity: latent, dtype: float16}\n")
    status, out, err = mechlab("record", small_run.path, "--plan", "plan.yaml", "--limit", 2, "--json")
    assert status == 0, err
    status, out, _ = mechlab("inspect", json.loads(out)["recording"])
    assert status == 0
    assert "float16" in out and "latent" in out


@pytest.mark.parametrize("way", [0, 1], ids=["file", "options"])
def test_a_training_can_be_recorded_as_it_runs(mechlab, pictures, tmp_path, way):
    from mechlab.recording import reader

    (tmp_path / "plan.yaml").write_text(
        "- {site: latent, quantity: latent, every: 4, dtype: float16}\n"
        "- {site: 'flow.0.*', quantity: gradient, reduction: norm}\n"
    )
    words = (
        "train",
        "moleflow",
        "--preset",
        "reduced",
        "--data",
        "folder",
        "--root",
        pictures,
        "--tasks",
        "bolt,nut",
        "--image-size",
        64,
        "--dim",
        16,
        "--epochs",
        2,
        "--batch-size",
        6,
        "--threads",
        1,
        "--json",
    )
    plans = [
        ("--record", "plan.yaml"),
        ("--site", "latent", "--quantity", "latent", "--every", 4, "--dtype", "float16", "--site",
         "flow.0.*", "--quantity", "gradient", "--reduction", "norm"),
    ]  # fmt: skip
    status, out, err = mechlab(*words, *plans[way])
    assert status == 0, err
    run = tmp_path / json.loads(out)["path"]
    with reader.open(next((run / "recordings").glob("*"))) as recording:
        steps = recording["latent/latent"].coordinates["step"]
        assert set(steps.tolist()) == {0, 4, 8}
        key = recording.keys("gradient*")[0]
        assert recording[key].coordinates["step"].tolist() == sorted(
            set(recording[key].coordinates["step"].tolist())
        )


MISTAKES = [
    (("train", "moleflow", "--preset", "minni"), "Did you mean 'mini'"),
    (("train", "moleflow", "--data", "folder", "--root", "nowhere"), "nowhere"),
    (
        ("train", "moleflow", "--stream", "2-1", "--tasks", "gear"),
        "--stream 2-1 was given beside the tasks 'gear'",
    ),
    (("train", "moleflow", "--order", "hard-first"), "no order of embedded named 'hard-first'"),
    (("train", "moleflow", "--set", "lora"), "write --set key=value"),
    (("probe", "efective_rank"), "no probe named 'efective_rank'"),
    (("probe", "shortcut"), "was given no run or recording"),
    (("probe", "shortcut", "nowhere"), "no run in 'runs' named 'nowhere'"),
    (("probe", "shortcut", "--seeds", "3", "RUN"), "--seeds was given without --train"),
    (("record", "RUN", "--site", "latnt", "--quantity", "latent"), "Did you mean 'latent'"),
    (("record", "RUN", "--site", "latent", "--quantity", "latents"), "Did you mean 'latent'"),
    (("record", "RUN", "--site", "latent"), "give one a site"),
    (("record", "RUN"), "give either --plan FILE or --site"),
    (
        ("record", "RUN", "--site", "latent", "--quantity", "latent", "--checkpoint", "7"),
        "no checkpoint after task 7",
    ),
    (
        ("record", "RUN", "--site", "latent", "--quantity", "latent", "--adapter", "5"),
        "adapter 5 does not exist",
    ),
    (("record", "RUN", "--site", "type:Linear", "--quantity", "gradient"), "name at least one"),
    (
        ("record", "RUN", "--site", "type:Linear", "--quantity", "gradient", "--loss", "tial:1:1"),
        "no loss is written",
    ),
    (("evaluate", "RUN", "--router", "mahalonobis"), "Did you mean 'mahalanobis'"),
    (("evaluate", "RUN", "--aggregation", "top_k:x"), "no number after the colon"),
    (("score", "RUN", "nowhere", "--out", "x"), "is no folder"),
    (("figure", "gausianity", "RUN", "--out", "x.svg"), "Did you mean 'gaussianity'"),
    (("figure", "shortcut", "RESULT", "--out", "x.gif"), "gif"),
    (("report", "--out", "x.html"), "there is nothing to report"),
    (("report", "RUN", "--out", "x.txt"), "html"),
    (("inspect", "nowhere"), "nowhere"),
    (("diff", "RUN", "nowhere"), "no run in 'runs' named 'nowhere'"),
    (("runs", "show", "zzz"), "no run in 'runs' named 'zzz'"),
]


@pytest.mark.parametrize(("words", "sentence"), MISTAKES, ids=[" ".join(words) for words, _ in MISTAKES])
def test_a_mistake_is_one_sentence_and_exit_status_1(
    words, sentence, mechlab, small_run, small_study, tmp_path
):
    names = {"RUN": small_run.path, "RESULT": small_study / "result.json"}
    status, out, err = mechlab(*[names.get(word, word) for word in words])
    assert status == 1, (out, err)
    assert sentence in err
    assert "Traceback" not in err
    assert out == ""
    assert not [
        path
        for path in tmp_path.rglob("*")
        if path.is_file() and path.suffix != ".lock" and path.name != "lock"
    ]


def test_an_unknown_option_is_a_usage_error(mechlab):
    status, _, err = mechlab("train", "moleflow", "--sed", "3")
    assert status == 2
    assert "--seed" in err


def test_the_help_loads_no_torch():
    import subprocess
    import sys

    code = (
        "import sys; sys.argv=['mechlab', '--help']\nfrom cli.main import main\n"
        "try: main()\nexcept SystemExit: pass\nprint('torch' in sys.modules)"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert found.stdout.strip().endswith("False")
