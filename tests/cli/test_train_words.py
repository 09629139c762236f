"""Words of `mechlab train` beside a preset: what a run would be, keys of a task, a base from another run."""

import json
from pathlib import Path

import pytest


@pytest.fixture
def words(small_request, tmp_path):
    """The words of the small run, into an empty folder."""
    sizes = ["--image-size", 64, "--dim", 16, "--epochs", 1, "--batch-size", 6, "--threads", 1]
    keys = ["--set", "dia_blocks=1", "--set", "lora_rank=4", "--cache", small_request.cache]
    data = ["--data", "folder", "--root", small_request.root, "--tasks", "bolt,nut"]
    return ["train", "moleflow", "--preset", "reduced", *data, *sizes, *keys]


def test_a_dry_run_names_the_run_and_trains_nothing(mechlab, words, small_request, small_run, tmp_path):
    status, out, err = mechlab(*words, "--dry-run", "--set", "blocks=12", "--json")
    assert status == 0, err
    found = json.loads(out)
    assert found["state"] == "absent" and found["run"].startswith("moleflow-")
    assert found["spec"]["parts"]["blocks"] == 12
    assert "with 12 coupling blocks and DIA 2" in found["warnings"][0]
    assert not (tmp_path / "runs").exists()
    there = [2 if word == 1 and words[at - 1] == "--epochs" else word for at, word in enumerate(words)]
    status, out, _ = mechlab(*there, "--dry-run", "--out", small_request.out)
    assert status == 0
    assert out.splitlines()[1].split() == [small_run.name, "trained"]


def test_keys_of_a_task_and_a_base_of_another_run_from_the_command_line(mechlab, words, tmp_path):
    own = ["--task", "nut:dia_blocks=2", "--task", "nut:sigma=1"]
    status, out, err = mechlab(*words, *own, "--json")
    assert status == 0, err
    first = json.loads(out)
    spec = json.loads((tmp_path / "runs" / first["run"] / "run.json").read_text())["spec"]
    assert spec["parts"]["overrides"] == {"1": {"dia_blocks": 2}}
    evaluation = json.loads(
        (tmp_path / "runs" / first["run"] / "evals" / first["evaluation"] / "metrics.json").read_text()
    )
    assert evaluation["spec"]["sigma"] == "4,nut=1"
    status, out, err = mechlab(*words, "--base-from", first["run"], "--json")
    assert status == 0, err
    assert json.loads(out)["scores_identical"] is True
    status, out, _ = mechlab("runs", "show", json.loads(out)["run"])
    assert status == 0
    assert "base=given" in out and "trained by task" in out
    again = mechlab("evaluate", first["run"], "--router", "oracle", "--json")
    assert again[0] == 0, again[2]
    assert json.loads(again[1])["spec"]["sigma"] == "4,nut=1"


def test_a_task_of_its_own_size_from_the_command_line(mechlab, words, small_request, tmp_path):
    status, out, err = mechlab(*words, "--task", "nut:image_size=96", "--json")
    assert status == 0, err
    run = json.loads(out)["run"]
    spec = json.loads((tmp_path / "runs" / run / "run.json").read_text())["spec"]
    assert [features["image_size"] for features in spec["features"]] == [64, 96]
    status, out, err = mechlab("evaluate", run, "--router", "euclidean", "--json")
    assert status == 0, err
    status, out, err = mechlab("evaluate", run, "--router", "likelihood")
    assert status == 1 and "and that of task 1 sees 96 pixels" in err
    folder = small_request.root / "nut" / "test" / "spot"
    status, out, err = mechlab("score", run, folder, "--out", tmp_path / "scored", "--json")
    assert status == 0, err
    assert len(list((tmp_path / "scored" / "maps").glob("*.npy"))) == len(list(folder.glob("*.png")))
    status, out, err = mechlab("record", run, "--site", "latent", "--quantity", "latent")
    assert status == 1 and "a recording has one grid" in err


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (["--task", "nut"], "write --task CLASS:key=value"),
        (["--task", "nit:dia_blocks=2"], "no class of these tasks named 'nit'"),
        (["--task", "nut:image_size=64"], "--task nut:image_size=64 is what the whole run has"),
        (
            ["--task", "nut:image_size=96", "--set", "branch=sc-lora"],
            "branch=sc-lora, which tasks share, spreads its factors over the run's grid",
        ),
        (["--base-from", "nowhere"], "named 'nowhere'"),
        (["--name", "LoRA64"], "the name 'LoRA64' says lora_rank 64, and lora_rank is 4"),
        (["--set", "context_kernel=4"], "or let it pass, marked, with --allow even-kernel."),
        (["--allow", "even-kernel"], "there is nothing by that name to let pass here"),
        (["--set", "base=given"], "name it with --base-from RUN"),
        (["--dim", 18, "--set", "position=sine"], "a sine position of 18 channels is not possible"),
        (["--dim", 7], "lora_rank 4 is above 3, the least side of a product over 7 channels"),
        (["--set", "branch=linear"], "branch=linear has no rank, but lora_rank is 4"),
        (["--set", "products=fused", "--set", "subnet=gated"], "products=fused merges the Linears of"),
        (["--set", "starts=classes", "--set", "lora_first_task=false"], "makes no task the first one"),
        (["--tasks", ""], "tasks '' hold an empty name"),
        (["--tasks", "bolt,nut+bolt"], "class 'bolt' stands twice"),
        (["--set", "blocks=16"], "or let it pass, marked, with --allow deep-flow."),
        (["--set", "base=shared", "--set", "replay_images=1"], "has none left for some of 2 tasks; raise"),
        (
            ["--set", "top_k=65"],
            "'top_k' was given 65; give a whole number from 1 to 64, the patches of a map",
        ),
    ],
    ids=str,
)
@pytest.mark.parametrize("more", [[], ["--dry-run"]], ids=["train", "dry run"])
def test_words_that_cannot_be_are_one_sentence_and_leave_nothing(
    given, sentence, more, mechlab, words, tmp_path
):
    status, out, err = mechlab(*words, *given, *more)
    assert (status, out) == (1, ""), err
    assert sentence in err and "Traceback" not in err
    assert not (tmp_path / "runs").exists()


def test_a_task_of_a_single_step_says_what_to_do_and_is_no_run_to_score(mechlab, words, small_request):
    one_step = [
        16 if word == 6 and words[at - 1] == "--batch-size" else word for at, word in enumerate(words)
    ]
    status, out, err = mechlab(*one_step, "--set", "subnet=context")
    assert (status, out) == (1, "")
    assert "level' is trainable (scope first-task) but never moved" in err and "give more epochs" in err
    run = next(Path("runs").glob("moleflow-*"))
    folder = small_request.root / "nut" / "test" / "spot"
    for asked in (["score", run, folder, "--out", "scored"], ["evaluate", run]):
        status, out, err = mechlab(*asked)
        assert (status, out) == (1, "")
        assert "train it first" in err
