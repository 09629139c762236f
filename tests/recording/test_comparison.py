"""Laws of comparing recordings: rows are matched by what they are of, differences are those of the values."""

import json

import numpy as np
import pytest

from mechlab import recording
from mechlab.recording import Writer, comparison
from mechlab.specs import Item

HEAD = {"run_id": "r", "spec": None}


def item(name):
    return Item(sha256=name * 64, class_name="gear", split="test", label=0, defect="good", image=name)


def write(folder, *, names="", pack=True, **keys):
    """Record arrays of (values, coordinates), one row at a time in segments of two rows."""
    writer = Writer.create(folder, attributes=HEAD)
    writer.items([item(name) for name in names])
    for key, (values, coordinates) in keys.items():
        axes = ("item", "dim", "row")[: values.ndim]
        for at in range(0, len(values), 2):
            part = {name: column[at : at + 2] for name, column in coordinates.items()}
            writer.append(f"a/{key}", values[at : at + 2], axes=axes, coordinates=part, unit="1")
            writer.commit()
    writer.close(pack=pack)
    return folder


def compared(one, two):
    with recording.open(one) as first, recording.open(two) as second:
        found = comparison.recording_difference(first, second)
    json.dumps(found, allow_nan=False)
    return found, {row["key"].removeprefix("a/"): row for row in found["keys"]}


@pytest.mark.parametrize("pack", [False, True])
def test_a_recording_is_identical_to_itself_however_it_is_stored(tmp_path, rng, pack):
    values = {"x": (rng.standard_normal((7, 3)), {"step": np.arange(7)})}
    found, rows = compared(write(tmp_path / "a", **values), write(tmp_path / "b", pack=pack, **values))
    assert found["identical"]
    assert (rows["x"]["absolute"], rows["x"]["relative"], rows["x"]["differing"]) == (0.0, 0.0, 0)


@pytest.mark.parametrize("block", [1, 100, 10**7])
def test_a_planted_difference_is_found_wherever_its_row_stands(tmp_path, rng, block, monkeypatch):
    monkeypatch.setattr(comparison, "BLOCK_BYTES", block)
    values, steps = rng.standard_normal((9, 3)), np.arange(9)
    order = rng.permutation(9)
    other = values.copy()
    other[4, 1] += 0.5
    one = write(tmp_path / "a", x=(values, {"step": steps}))
    two = write(tmp_path / "b", x=(other[order], {"step": steps[order]}))
    found, rows = compared(one, two)
    size = max(abs(values[4, 1]), abs(other[4, 1]))
    assert rows["x"]["absolute"] == pytest.approx(0.5)
    assert rows["x"]["relative"] == pytest.approx(0.5 / size)
    assert (rows["x"]["differing"], rows["x"]["rows_common"], rows["x"]["steps_common"]) == (1, 9, 9)
    assert not found["identical"]


def test_images_are_matched_by_what_they_are_and_not_by_their_place(tmp_path):
    one = write(tmp_path / "a", names="abc", x=(np.arange(3.0), {"item": np.arange(3)}))
    two = write(tmp_path / "b", names="cdb", x=(np.array([2.0, 9.0, 1.5]), {"item": np.arange(3)}))
    found, rows = compared(one, two)
    assert found["items"] == {"first": 3, "second": 3, "common": 2}
    assert rows["x"]["rows_common"] == 2
    assert rows["x"]["absolute"] == 0.5
    assert rows["x"]["steps_common"] is None


def test_all_places_count_and_other_coordinates_do_not(tmp_path):
    places = {"step": np.array([0, 0, 1, 1]), "loss": np.array(["mean", "tail", "mean", "tail"])}
    values = np.array([1.0, 2.0, 3.0, 4.0])
    note = {"overflow": np.arange(4)}
    one = write(tmp_path / "a", x=(values, places | note))
    two = write(
        tmp_path / "b",
        x=(
            values[[3, 2, 1]],
            {name: column[[3, 2, 1]] for name, column in (places | {"overflow": np.zeros(4, int)}).items()},
        ),
    )
    _, rows = compared(one, two)
    assert (rows["x"]["rows_common"], rows["x"]["steps_common"], rows["x"]["absolute"]) == (3, 2, 0.0)
    assert not rows["x"]["identical"], "the first has a row more"


def test_rows_with_equal_coordinates_are_matched_in_their_order(tmp_path):
    steps = {"step": np.array([0, 0, 0, 1, 1])}
    one = write(tmp_path / "a", x=(np.arange(5.0), steps))
    two = write(tmp_path / "b", x=(np.array([0.0, 1.0, 3.0]), {"step": np.array([0, 0, 1])}))
    _, rows = compared(one, two)
    assert (rows["x"]["rows_common"], rows["x"]["absolute"]) == (3, 0.0)


def test_scaled_halves_are_compared_by_what_they_stand_for(tmp_path):
    values = np.array([[1.0, 2.0], [3.0, 4.0]])
    one = write(
        tmp_path / "a", x=((values * 8).astype(np.float16), {"step": np.arange(2), "scale": np.full(2, 8.0)})
    )
    two = write(
        tmp_path / "b", x=((values * 2).astype(np.float16), {"step": np.arange(2), "scale": np.full(2, 2.0)})
    )
    _, rows = compared(one, two)
    assert rows["x"]["absolute"] == 0.0


def test_what_only_one_has_and_what_does_not_fit_is_named(tmp_path):
    steps = {"step": np.arange(2)}
    one = write(
        tmp_path / "a",
        x=(np.ones((2, 3)), steps),
        gone=(np.ones(2), steps),
        text=(np.array(["a", "b"]), steps),
    )
    two = write(
        tmp_path / "b",
        x=(np.ones((2, 4)), steps),
        new=(np.ones(2), steps),
        text=(np.array(["a", "c"]), steps),
    )
    found, rows = compared(one, two)
    assert [row["key"] for row in found["only_first"]] == ["a/gone"]
    assert [row["key"] for row in found["only_second"]] == ["a/new"]
    assert (rows["x"]["absolute"], rows["x"]["differing"], rows["x"]["shape_second"]) == (None, None, [2, 4])
    assert (rows["text"]["differing"], rows["text"]["absolute"]) == (1, None)


def test_values_that_are_not_finite_are_counted_and_never_reach_the_numbers(tmp_path):
    steps = {"step": np.arange(4)}
    one = write(tmp_path / "a", x=(np.array([np.nan, np.inf, np.nan, 1.0]), steps))
    two = write(tmp_path / "b", x=(np.array([np.nan, np.inf, 1.0, 1.0]), steps))
    _, rows = compared(one, two)
    assert (rows["x"]["differing"], rows["x"]["absolute"]) == (1, 0.0)


def test_the_memory_does_not_grow_with_the_recording(tmp_path):
    import tracemalloc

    values = np.ones((320, 25_000), np.float32)  # 32 MB
    for name in ("a", "b"):
        with Writer.create(tmp_path / name, attributes=HEAD) as writer:
            writer.append("a/x", values, axes=("item", "dim"), coordinates={"item": np.arange(320)}, unit="1")
    tracemalloc.start()
    found, _ = compared(tmp_path / "a", tmp_path / "b")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found["identical"]
    assert peak < 70_000_000  # two blocks of float64 and their differences; all of it would be 130 MB
