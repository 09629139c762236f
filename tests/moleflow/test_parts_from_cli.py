"""Positions, turned images, alignment, scorers and margin from the command line, tiny."""

import csv
import json
from pathlib import Path

import pytest

TINY = {"blocks": 2, "lora_rank": 4, "batch_size": 8}
MARGIN = {"margin_weight": 1.0}
# Of each row of the inventory: what is set, and what is let pass.
ROWS: dict[str, tuple[dict, tuple[str, ...]]] = {
    "M24 relative": ({"position": "relative", "relative_distance": 2}, ()),
    "M24 dual": ({"scorer": "dual"} | MARGIN, ()),
    "M24 local": ({"consistency": "local"} | MARGIN, ()),
    "M24 published": ({"scorer": "dual", "consistency": "local"}, ("scorer-behind-the-loss",)),
    "M25 bounded": ({"scorer": "dual-bounded"} | MARGIN, ()),
    "M25 guided": ({"scorer": "dual-guided"} | MARGIN, ()),
    "M25 multi-scale": ({"consistency": "multi-scale", "pseudo_anomaly": "jitter"} | MARGIN, ()),
    "M26 content": ({"position": "content", "content_prototypes": 4}, ()),
    "M26 hybrid": ({"position": "hybrid", "content_prototypes": 4}, ()),
    "M26 four": ({"orientations": "four"}, ()),
    "M26 published": ({"orientations": "four-placed"}, ()),
    "M27": ({"position": "tape"}, ()),
    "M28 published": ({"rotation": 180}, ("rotation-with-fixed-place",)),
    "M28 without position": ({"rotation": 90, "position": "none"}, ()),
    "M28 turned position": ({"rotation": 180, "position_turns": True}, ()),
    "M29": ({"align": "stn", "align_hidden": 8}, ()),
    "M33 adaptive": ({"aggregation": "adaptive"}, ()),
    "M44 jitter": ({"pseudo_anomaly": "jitter", "jitter": 2.0} | MARGIN, ()),
    "M48 gate": ({"router": "gate"}, ()),
    "M48 reject": ({"router": "mahalanobis/reject:0.2"}, ()),
    "M49": ({"mixer": "interaction"}, ()),
}


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    """Features of the embedded images, made once for all rows."""
    return tmp_path_factory.mktemp("cache")


def words_of(settings: dict, *, allow: tuple[str, ...] = ()) -> list[str]:
    words = ["moleflow", "--preset", "main", "--data", "embedded", "--backbone", "embedded"]
    words += ["--tasks", "gear,weave", "--dim", "16", "--image-size", "64", "--epochs", "1", "--threads", "1"]
    words += [
        word for key, value in (TINY | settings).items() for word in ("--set", f"{key}={json.dumps(value)}")
    ]
    return words + [word for name in allow for word in ("--allow", name)]


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS)
def test_each_row_trains_two_tasks_scores_and_loads(row, mechlab, pictures, cache):
    settings, allow = ROWS[row]
    trained = mechlab("train", *words_of(settings, allow=allow), "--cache", str(cache))
    assert trained["scores_identical"] is True
    assert trained.get("allowed", []) == list(allow)
    again = mechlab("evaluate", trained["run"], "--router", "oracle")
    assert again["mean"]["given_image_auroc"] == trained["mean"]["given_image_auroc"]
    mechlab("score", trained["run"], str(pictures / "bolt" / "test" / "good"), "--out", "scored")
    with Path("scored/scores.csv").open() as stream:
        assert len(list(csv.DictReader(stream))) == 4


@pytest.mark.parametrize("row", [row for row, (_, allow) in ROWS.items() if allow])
def test_what_cannot_work_as_sketched_is_refused_by_name(row, mechlab, cache):
    settings, (name,) = ROWS[row]
    assert f"--allow {name}." in mechlab("train", *words_of(settings), "--cache", str(cache), code=1)


def test_the_rows_are_listed_with_their_source(mechlab):
    rows = {part["id"]: part for part in mechlab("list", "parts")}
    for number in (24, 25, 26, 27, 28, 29, 33, 44, 45, 48, 49):
        assert "004 L" in rows[f"M{number}"]["source"]
