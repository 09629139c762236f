"""The grammar of tasks, settings and configuration files."""

from pathlib import Path
from types import MappingProxyType

import pytest

from mechlab.errors import MechlabError
from mechlab.runs.request import TrainRequest, setting, task_stream
from mechlab.runs.settings import split
from mechlab.runs.words import read_yaml, request_of, weights_of
from mechlab.specs import Spec


class Four:
    name = "four"
    subsets = MappingProxyType({"first": ("a", "b"), "more": ("d", "e", "a", "f"), "other": ("x", "y")})

    def classes(self):
        return ("a", "b", "c", "d")

    def items(self, class_name):
        return ()

    def image(self, item, size):
        raise AssertionError("no pixel is needed")

    mask = image


@pytest.mark.parametrize(
    ("text", "tasks"),
    [
        ("a,b", (("a",), ("b",))),
        ("a+b,c", (("a", "b"), ("c",))),
        ("all", (("a",), ("b",), ("c",), ("d",))),
        ("first", (("a",), ("b",))),
        (" a , b ", (("a",), ("b",))),
    ],
)
def test_a_comma_starts_a_task_and_a_plus_joins(text, tasks):
    assert task_stream(text, Four()) == tasks


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a,x", "no class of four named 'x'"),
        ("a,a", "'a' stands twice"),
        ("a,,b", "hold an empty name"),
        ("", "hold an empty name"),
        ("frist", "Did you mean 'first'"),
        ("more", r"tasks 'more' are 4 classes of four, and 2 are not there: e, f; .* or give --tasks d,a\."),
        ("other", r"2 are not there: x, y; add their folders, or name other classes with --tasks\."),
    ],
)
def test_a_wrong_stream_is_one_sentence(text, sentence):
    with pytest.raises(MechlabError, match=sentence):
        task_stream(text, Four())


@pytest.mark.parametrize(
    ("text", "value"), [("a=1", 1), ("a=0.5", 0.5), ("a=true", True), ("a=word", "word"), ("a=null", None)]
)
def test_a_setting_is_read_as_json_where_it_is_json(text, value):
    assert setting(text) == ("a", value)


def test_a_setting_without_a_value_is_refused():
    with pytest.raises(MechlabError, match="write --set key=value"):
        setting("a")


def test_a_request_survives_its_document():
    request = TrainRequest(root=Path("x"), weights="random-3", layers=("layer2",), settings={"a": 1})
    assert TrainRequest.read(request.document()) == request


def test_words_win_over_the_file_and_the_file_over_defaults(tmp_path):
    (tmp_path / "c.yaml").write_text("seed: 3\nbatch-size: 4\n")
    words = {"system": "moleflow", "seed": 7, "batch_size": None, "settings": ("a=1",),
             "layers": "layer2,layer3",
             "out": Path("runs"), "cache": Path("cache"), "root": None, "record": None}  # fmt: skip
    request = request_of(words, config=tmp_path / "c.yaml", given={"seed"})
    assert (request.seed, request.batch_size, request.layers) == (7, 4, ("layer2", "layer3"))


def test_an_unknown_key_of_a_file_gets_a_suggestion(tmp_path):
    (tmp_path / "c.yaml").write_text("epoch: 3\n")
    with pytest.raises(MechlabError, match="Did you mean 'epochs'"):
        request_of({"settings": ()}, config=tmp_path / "c.yaml", given=set())


@pytest.mark.parametrize(("text", "sentence"), [("- 1", "holds no mapping"), ("a: [", "is not valid YAML")])
def test_a_file_that_is_no_mapping_is_one_sentence(tmp_path, text, sentence):
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(MechlabError, match=sentence):
        read_yaml(tmp_path / "c.yaml")


def test_yaml_cannot_make_objects(tmp_path):
    (tmp_path / "c.yaml").write_text("a: !!python/object/apply:os.getcwd []\n")
    with pytest.raises(MechlabError, match="is not valid YAML"):
        read_yaml(tmp_path / "c.yaml")


class Parts(Spec):
    blocks: int = 2


def test_each_setting_belongs_to_one_kind():
    assert split({"blocks": 3, "dim": 16, "sigma": 2.0}, parts=Parts) == (
        {"dim": 16},
        {"blocks": 3},
        {"sigma": 2.0},
    )


def test_an_unknown_setting_gets_a_suggestion_from_all_kinds():
    with pytest.raises(MechlabError, match="Did you mean 'blocks'"):
        split({"blokcs": 3}, parts=Parts)


def test_a_run_remembers_which_file_of_the_weights_folder_it_used(tmp_path, monkeypatch):
    monkeypatch.setenv("MECHLAB_WEIGHTS", str(tmp_path))
    assert weights_of("resnet18") is None
    (tmp_path / "resnet18.safetensors").write_bytes(b"")
    assert weights_of("resnet18") == tmp_path / "resnet18.safetensors"
    monkeypatch.delenv("MECHLAB_WEIGHTS")
    assert weights_of("resnet18") is None


def test_named_weights_stay_names():
    assert TrainRequest.read({"weights": "embedded"}).weights == "embedded"
    assert TrainRequest.read({"weights": "random-1"}).weights == "random-1"
    assert TrainRequest.read({"weights": "a.pth"}).weights == Path("a.pth")
