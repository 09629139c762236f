"""`mechlab diff`: two runs, two checkpoints or two recordings; two kinds are refused."""

import json

import pytest


def test_two_checkpoints_of_a_run_by_task_and_by_path(mechlab, small_run):
    status, out, err = mechlab("diff", f"{small_run.path}@0", small_run.checkpoint(1), "--json")
    assert status == 0, err
    found = json.loads(out)
    assert found["kind"] == "checkpoints"
    frozen = [row for row in found["parameters"] if row["name"].endswith("base.weight")]
    assert frozen and all(row["identical"] for row in frozen), "the base is frozen after the first task"
    assert found["only_second"], "the second task has parameters of its own"
    changes = [row["relative"] for row in found["parameters"] if row["relative"] is not None]
    assert changes == sorted(changes, reverse=True)
    status, out, _ = mechlab("diff", f"{small_run.path}@0", f"{small_run.path}@1")
    assert status == 0
    assert "bit-identical" in out and "only in the second: " in out


def test_two_checkpoints_of_two_seeds(mechlab, small_run, other_run):
    status, out, _ = mechlab("diff", f"{small_run.path}@1", f"{other_run.path}@1", "--json")
    found = json.loads(out)
    assert status == 0
    assert not found["identical"]
    assert found["parameters"][0]["relative"] is None or found["parameters"][0]["relative"] > 0
    assert not found["only_first"] and not found["only_second"]


@pytest.fixture(scope="session")
def two_recordings(small_run, other_run):
    from mechlab.instrument.session import record_run

    entry = {"site": "latent", "quantity": "latent", "every": 1, "dtype": "float32", "reduction": None}
    asked = {"plan": [entry], "stages": None, "split": "test", "adapters": [], "losses": [],
             "normal_only": False, "limit": 3}  # fmt: skip
    return [record_run(run.path, asked)["recording"] for run in (small_run, other_run)]


def test_two_recordings(mechlab, two_recordings):
    status, out, err = mechlab("diff", *two_recordings, "--json")
    assert status == 0, err
    found = json.loads(out)
    assert (found["kind"], found["identical"]) == ("recordings", False)
    assert found["items"]["common"] == found["items"]["first"] > 0
    assert found["keys"][0]["key"] == "latent/latent"
    assert found["keys"][0]["rows_common"] == found["items"]["common"]
    assert found["keys"][0]["absolute"] > 0
    status, out, _ = mechlab("diff", two_recordings[0], two_recordings[0])
    assert status == 0
    assert "identical: yes" in out


def test_two_runs_keep_their_document(mechlab, small_run, other_run):
    found = json.loads(mechlab("diff", small_run.path, other_run.path, "--json")[1])
    assert found["kind"] == "runs"
    assert {"spec", "declared", "observed", "trajectory_equal", "parameters", "metrics"} <= set(found)


def test_what_systems_say_of_themselves_is_told_where_it_differs(mechlab, small_run, other_run, monkeypatch):
    from reproductions.moleflow import catalog

    kinds = {"base": "one", "router": "mahalanobis"}
    monkeypatch.setattr(
        catalog, "ASPECTS", lambda parts: kinds | {"rank": str(parts["lora_rank"])}, raising=False
    )
    assert json.loads(mechlab("diff", small_run.path, other_run.path, "--json")[1])["aspects"] == []
    asked = iter([kinds, {"base": "many", "epochs": "two"}])
    monkeypatch.setattr(catalog, "ASPECTS", lambda _: next(asked), raising=False)
    rows = json.loads(mechlab("diff", small_run.path, other_run.path, "--json")[1])["aspects"]
    assert rows == [
        {"aspect": "base", "first": "one", "second": "many"},
        {"aspect": "router", "first": "mahalanobis", "second": None},
        {"aspect": "epochs", "first": None, "second": "two"},
    ]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("RUN", "RUN@1"), "is a run and .* a checkpoint; give two of one kind"),
        (("RECORDING", "RUN"), "is a recording and .* a run; give two of one kind"),
        (("RUN@7", "RUN@1"), "has no checkpoint after task 7; it has: 0, 1"),
        (("RUN@last", "RUN@1"), "has no checkpoint after task last; it has: 0, 1"),
        (("EMPTY", "RUN"), "is no run, checkpoint or recording; give a run, RUN@T"),
        (("TEXT", "RECORDING"), "truncated, damaged or no HDF5 file"),
        (("nothing@1", "RUN"), "no run in 'runs' named 'nothing'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_compared_is_one_sentence(
    mechlab, small_run, two_recordings, tmp_path, words, sentence
):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").write_text("words")
    names = {
        "RUN": small_run.path,
        "RECORDING": two_recordings[0],
        "EMPTY": tmp_path / "empty",
        "TEXT": tmp_path / "text",
    }
    given = [
        str(names.get(word.partition("@")[0], word.partition("@")[0])) + "".join(word.partition("@")[1:])
        for word in words
    ]
    status, out, err = mechlab("diff", *given)
    assert (status, out) == (1, "")
    import re

    assert re.search(sentence, err)
    assert "Traceback" not in err
