"""`mechlab data check`: a whole folder has no problem, and each planted one is told."""

import json
import shutil

import pytest
from click.testing import CliRunner
from PIL import Image

from cli.main import mechlab
from mechlab import systems
from mechlab.errors import MechlabError
from reproductions.datasets.check import check
from reproductions.datasets.published import CLASSES, TOTALS


@pytest.fixture
def root(pictures, tmp_path):
    return shutil.copytree(pictures, tmp_path / "data")


def test_a_whole_folder_has_no_problem(root):
    found = CliRunner().invoke(mechlab, ["data", "check", str(root), "--json", "--quiet"])
    assert found.exit_code == 0
    document = json.loads(found.stdout)
    assert document["problems"] == [] and document["absent"] == []
    assert document["classes"]["bolt"] == {"counts": [14, 4, 4], "problems": 0, "published": None}


def spoil(root, what):
    bolt = root / "bolt"
    if what == "unreadable":
        (bolt / "train" / "good" / "000.png").write_bytes(b"nothing")
    elif what == "orphan":
        (bolt / "test" / "spot" / "001.png").unlink()
    elif what == "no mask":
        (bolt / "ground_truth" / "spot" / "001_mask.png").unlink()
    elif what == "empty mask":
        Image.new("L", (64, 64)).save(bolt / "ground_truth" / "spot" / "001_mask.png")
    else:
        shutil.copy(bolt / "train" / "good" / "003.png", bolt / "test" / "good" / "copy.png")


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        ("unreadable", "is no jpg, png or bmp image or is damaged"),
        ("orphan", "001_mask.png' has no image"),
        ("no mask", "001.png' has no mask"),
        ("empty mask", "shows no defect"),
        ("leak", "copy.png' is training image"),
    ],
)
def test_a_planted_problem_is_told_and_the_other_class_is_still_counted(root, what, sentence):
    spoil(root, what)
    found = CliRunner().invoke(mechlab, ["data", "check", str(root), "--quiet"], standalone_mode=True)
    assert found.exit_code == 1
    document = check(root, "folder")
    assert [sentence in problem for problem in document["problems"]] == [True]
    assert sentence in found.output
    assert document["classes"]["nut"] == {"counts": (14, 4, 4), "problems": 0, "published": None}


def test_every_problem_is_told_not_only_the_first(root):
    for what in ("unreadable", "empty mask", "leak"):
        spoil(root, what)
    assert len(check(root, "folder")["problems"]) == 3


def test_counts_stand_beside_the_published_ones(root):
    (root / "bolt").rename(root / "screw")
    document = check(root, "mvtec")
    assert document["classes"]["screw"]["published"]["train"] == 320
    assert document["problems"] == [
        f"class 'screw' has {own} images of {kind}, and {there} were published; complete the folder."
        for kind, own, there in (("train", 14, 320), ("test normal", 4, 41), ("test defective", 4, 119),
                                 ("normal", 18, 361))
    ]  # fmt: skip
    assert "bottle" in document["absent"] and "screw" not in document["absent"]


@pytest.mark.parametrize(
    ("name", "total"),
    [
        ("mvtec", {"train": 3629, "test normal": 467, "test defective": 1258}),
        ("visa", {"normal": 9621, "test defective": 1200}),
        ("autovi", {"train": 1523, "test normal": 1521, "test defective": 878}),
    ],
)
def test_published_counts_add_up_to_the_published_totals(name, total):
    for kind, number in total.items():
        assert sum(counts[kind] for counts in CLASSES[name].values()) == number


def test_of_mpdd_only_the_whole_is_compared_and_only_where_it_is_there(pictures, tmp_path):
    names = systems.dataset("mpdd", spread(pictures, tmp_path)).subsets["all"]
    document = check(tmp_path / "data", "mpdd")
    assert set(document["classes"]) == set(names) and document["absent"] == []
    assert all(row["published"] is None and not row["problems"] for row in document["classes"].values())
    assert document["problems"][0] == (
        f"data set 'mpdd' has {6 * 14} images of train, and {TOTALS['mpdd']['train']} were published; "
        "complete the folder."
    )
    shutil.rmtree(tmp_path / "data" / "tubes")
    document = check(tmp_path / "data", "mpdd")
    assert (document["absent"], document["problems"]) == (["tubes"], [])


def spread(pictures, tmp_path):
    """A folder with one class copied under every name of MPDD."""
    for name in ("bracket_black", "bracket_brown", "bracket_white", "connector", "metal_plate", "tubes"):
        shutil.copytree(pictures / "bolt", tmp_path / "data" / name)
    return tmp_path / "data"


def test_a_folder_that_is_none_is_refused(tmp_path):
    with pytest.raises(MechlabError, match="does not exist"):
        check(tmp_path / "none", "folder")
