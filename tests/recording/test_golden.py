"""The golden recording, written once: later versions of mechlab must read it as it was meant.

`tests/data/recording` holds it packed (`mini-0/recording.h5`) and as segments (`mini-1`). They were made by
`record` below; a change of the format gets a new version and new files beside these, which stay.
"""

from pathlib import Path

import numpy as np
import pytest

from mechlab import recording
from mechlab.recording import Recording, Writer
from mechlab.specs import Item

ITEMS = tuple(
    Item(
        sha256=f"{number:064x}",
        class_name="gear",
        split="test",
        label=number % 2,
        defect="hole" if number % 2 else "good",
        image=f"gear/test/{number}.png",
        mask=f"gear/mask/{number}.png" if number % 2 else None,
    )
    for number in range(3)
)
HEAD = {
    "run_id": "mini",
    "spec": {"train": "0a1b2c", "plan": []},
    "provenance": {"git": "0"},
    "losses": ["mean"],
}
LATENT = (np.arange(3 * 2 * 2 * 4) / 8 - 3).reshape(3, 2, 2, 4)


def record(folder: Path, *, pack: bool) -> None:
    writer = Writer.create(folder, attributes=HEAD)
    writer.items(ITEMS)
    for step in range(2):
        own = {"step": np.full(3, step), "item": np.arange(3), "stage": np.full(3, 1, np.int32)}
        latent = (LATENT + step).astype(np.float16)
        writer.append(
            "latent/flow.3", latent, axes=("item", "row", "column", "dim"), coordinates=own, unit="1"
        )
        own |= {"loss": np.array(["mean", "tail:0.5", "µ"]), "is_normal": np.array([True, False, True])}
        score = np.array([0.5, np.inf, -2.25]) + step
        writer.append(
            "score/image", score, axes=("item",), coordinates=own, unit="nats", attributes={"sigma": 4}
        )
        writer.commit()
    writer.close(pack=pack)


def check(found: Recording) -> None:
    assert found.attributes == {"format": "mechlab recording", "version": 1} | {
        name: HEAD[name] for name in ("run_id", "spec", "provenance")
    }
    assert found.facts == {"losses": ["mean"]}
    assert found.items == ITEMS
    assert found.keys() == ("latent/flow.3", "score/image")
    latent, score = found["latent/flow.3"], found["score/image"]
    assert (latent.axes, latent.unit, latent.dtype) == (("item", "row", "column", "dim"), "1", np.float16)
    assert (latent.read() == np.concatenate([LATENT, LATENT + 1])).all()
    assert {name: values.tolist() for name, values in latent.coordinates.items()} == {
        "step": [0, 0, 0, 1, 1, 1],
        "item": [0, 1, 2, 0, 1, 2],
        "stage": [1] * 6,
    }
    assert score.read().tolist() == [0.5, np.inf, -2.25, 1.5, np.inf, -1.25]
    assert score.attributes == {"sigma": 4}
    assert score.coordinates["loss"].tolist() == ["mean", "tail:0.5", "µ"] * 2
    assert score.coordinates["is_normal"].tolist() == [True, False, True] * 2
    found.verify()


@pytest.mark.parametrize("name", ["mini-0", "mini-1"])
def test_the_golden_recording_is_read_as_it_was_meant(repository, name):
    folder = repository / "tests" / "data" / "recording" / name
    assert sum(path.stat().st_size for path in folder.iterdir()) < 40_000
    with recording.open(folder) as found:
        check(found)
        assert found.is_packed == (name == "mini-0")


@pytest.mark.parametrize("pack", [False, True])
def test_what_is_written_today_says_the_same(tmp_path, pack):
    record(tmp_path / "mini", pack=pack)
    with recording.open(tmp_path / "mini") as found:
        check(found)
