"""The logs of HCRL Survival Analysis: what is in them, and what a few numbers of a window reach."""

import pytest

from reproductions.can_ids.baseline import judge_baseline
from reproductions.can_ids.check import check
from reproductions.can_ids.folder import open as open_folder
from reproductions.can_ids.prepare import prepared

pytestmark = pytest.mark.realdata


@pytest.fixture
def root(shared):
    pytest.importorskip("pyarrow", reason="parquet needs pyarrow, of the extra [can]")
    folder = shared / "data" / "can" / "hcrl_sa"
    if not folder.is_dir():
        pytest.skip("the shared logs are absent (set MECHLAB_SHARED to the folder that has data/can/hcrl_sa)")
    return folder


def test_every_log_is_read_and_the_two_that_stand_twice_are_told(root):
    found = check([root])
    assert len(found["logs"]) == 13
    assert sorted(row["log"] for row in found["logs"] if row["problem"]) == [
        "attack-free-kia",
        "attack-free-sonata",
    ]
    assert all("it counts once" in problem for problem in found["problems"])
    assert {row["vehicle"] for row in found["logs"]} == {"kia", "sonata", "spark"}
    assert sum(row["messages"] for row in found["logs"]) - 192_516 - 117_173 == 1_598_906


@pytest.mark.parametrize("way", ["published", "time"])
def test_a_window_is_made_of_every_hundred_messages(root, tmp_path, way):
    graphs, _ = prepared(open_folder(root), cache=tmp_path, way=way)
    assert 1_598_906 / 100 - 40 < len(graphs) <= 1_598_906 / 100
    assert graphs.vocabulary.size == 51
    attacks = {name: graphs.of_split(name).y.sum() for name in ("train", "validation", "test")}
    assert all(count > 300 for count in attacks.values())


def test_these_attacks_are_found_without_any_model(root, tmp_path):
    graphs, _ = prepared(open_folder(root), cache=tmp_path, way="time")
    known = judge_baseline(graphs)["groups"]["known_vehicle_known_attack"]
    assert set(known["attacks"]) == {"dos", "fuzzing", "malfunction"}
    assert min(row["auroc"] for row in known["attacks"].values()) > 0.999
    assert known["f1"] > 0.97
    assert known["attacks"]["malfunction"]["single_auroc"]["interval"] > 0.999
