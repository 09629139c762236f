"""`mechlab inspect`: what a recording holds, what it cost, its commits as they come, and what it refuses."""

import numpy as np

from mechlab.recording import Writer


def write(folder, *, steps=3, pack=False):
    writer = Writer.create(folder, attributes={"run_id": "r", "spec": None})
    for step in range(steps):
        coordinates = {"step": np.full(4, step), "item": np.arange(4)}
        writer.append(
            "latent/a",
            np.ones((4, 25), np.float32),
            axes=("item", "dim"),
            coordinates=coordinates,
            unit="1",
        )
        writer.commit()
    writer.close(pack=pack)


def test_follow_prints_one_line_a_commit_and_ends_with_the_writer(mechlab, tmp_path):
    write(tmp_path / "r")
    status, out, err = mechlab("inspect", tmp_path / "r", "--follow")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert [line.split("  ")[:3] for line in lines] == [
        [f"r0-00000{step}", "4 rows", f"steps {step} to {step}"] for step in range(3)
    ]
    assert all(line.endswith("kB") for line in lines)
    write(tmp_path / "packed", pack=True)
    assert mechlab("inspect", tmp_path / "packed", "--follow")[1].splitlines() == lines


def test_follow_and_json_are_not_given_together(mechlab, tmp_path):
    write(tmp_path / "r")
    status, out, err = mechlab("inspect", tmp_path / "r", "--follow", "--json")
    assert (status, out) == (2, "")
    assert "--follow prints lines as they come and --json one document" in err
