"""Real recordings of made-up numbers, as recording a checkpoint of a run leaves them."""

from contextlib import ExitStack

import numpy as np
import pytest

from mechlab.recording import Writer
from mechlab.recording import open as open_recording
from mechlab.specs import Item


@pytest.fixture
def make_items():
    def make(count, *, class_name="gear", defective=0, split="test"):
        """`count` images of a class; the last `defective` of them have a defect."""
        labels = [int(index >= count - defective) for index in range(count)]
        return [
            Item(
                sha256=f"{index:08x}{class_name.encode().hex():0<56}"[:64],
                class_name=class_name,
                split=split,
                label=label,
                defect="scratch" if label else "good",
                image=f"embedded:{class_name}/{index}",
            )
            for index, label in enumerate(labels)
        ]

    return make


@pytest.fixture
def record(tmp_path):
    """Write a recording and open it: quantities are (key, values, axes, coordinates)."""
    with ExitStack() as stack:

        def write(quantities, *, items=(), train=None, name="run", facts=None):
            attributes = {"run_id": name, "spec": {}, "provenance": {}} | (facts or {})
            attributes |= {"train": train} if train else {}
            folder = tmp_path / name
            with Writer.create(folder, attributes=attributes) as writer:
                writer.items(list(items))
                for key, values, axes, coordinates in quantities:
                    arrays = {axis: np.asarray(value) for axis, value in coordinates.items()}
                    writer.append(key, values, axes=axes, coordinates=arrays, unit="1")
            return stack.enter_context(open_recording(folder))

        yield write


@pytest.fixture
def trained():
    """The TrainSpec of a run, as far as probes read it."""

    def make(tasks=(("gear",),), *, seed=0, **parts):
        return {"system": "moleflow", "parts": parts, "tasks": [list(task) for task in tasks], "seed": seed}

    return make
