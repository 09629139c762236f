"""Laws of ranks: writers in several processes make one recording, and each rank has one writer at a time."""

import numpy as np
import pytest

from mechlab import recording
from mechlab.errors import MechlabError
from mechlab.recording import Writer
from mechlab.recording.manifest import append_line

HEAD = {"run_id": "r", "spec": None}


def check_ranks(folder, *, steps):
    """Assert that rank 0's rows come first, each step once, and rank 1's (1000 more) after them."""
    expected = np.repeat(np.arange(steps), 3)
    with recording.open(folder) as found:
        found.verify()
        assert {segment.rank for segment in found.segments} == {0, 1}
        for key in ("latent/a", "latent/b"):
            assert found[key].coordinates["step"].tolist() == [*expected, *expected]
            assert (found[key].read() == np.concatenate([expected, expected + 1000])[:, None]).all()


def test_two_processes_write_one_recording_that_is_read_and_packed_together(tmp_path, process, other_process):
    folder = tmp_path / "r"
    process.start(folder, rank=0, until=30, every=7, pause=0.001)
    other_process.start(folder, rank=1, until=30, every=4, pause=0.001)
    process.until("gone")
    other_process.until("gone")
    check_ranks(folder, steps=30)
    recording.pack(folder)
    assert [path.name for path in folder.iterdir()] == ["recording.h5"]
    check_ranks(folder, steps=30)


def test_while_a_rank_is_written_it_has_one_writer_and_nobody_packs(tmp_path, process, other_process):
    folder = tmp_path / "r"
    process.start(folder, rank=0, every=1)
    other_process.start(folder, rank=1, every=1)
    process.until("committed")
    other_process.until("committed")
    for rank in (0, 1):
        with pytest.raises(MechlabError, match="another process is writing this recording"):
            Writer.resume(folder, position=0, rank=rank, attributes=HEAD)
    process.kill()
    with pytest.raises(MechlabError, match="another process is writing this recording"):
        Writer.resume(folder, position=0, rank=1, attributes=HEAD)
    with pytest.raises(MechlabError, match="another process is writing this recording"):
        recording.pack(folder)
    position = process.commits[-1][1]
    with Writer.resume(folder, position=position, rank=0, attributes=HEAD) as writer:
        assert writer.position == position
        other_process.kill()


def test_a_killed_rank_goes_on_where_it_was_and_leaves_the_other_alone(tmp_path, process, other_process):
    folder = tmp_path / "r"
    other_process.start(folder, rank=1, until=12, every=3)
    other_process.until("gone")
    process.start(folder, rank=0, stop="rename", count=3, every=2)
    process.until("at")
    process.kill()
    step, position, _ = process.commits[-1]
    process.start(folder, rank=0, position=position, step=step + 1, until=12, every=5)
    process.until("gone")
    check_ranks(folder, steps=12)


def test_costs_of_ranks_are_added_and_of_what_is_longest_the_greatest_counts(tmp_path):
    Writer.create(tmp_path, attributes=HEAD).close(pack=False)
    for rows, longest in ((2, 0.5), (3, 0.25)):
        append_line(
            tmp_path, "statistics", {"statistics": {"rows": rows, "longest_uncommitted_seconds": longest}}
        )
    with recording.open(tmp_path) as found:
        assert found.statistics["rows"] == 5
        assert found.statistics["longest_uncommitted_seconds"] == 0.5


def test_a_reader_follows_all_ranks(tmp_path):
    first = Writer.create(tmp_path, attributes=HEAD)
    second = Writer.create(tmp_path, attributes=HEAD, rank=1)
    with recording.open(tmp_path) as found:
        for step, writer in enumerate((second, first, second)):
            writer.append("a/b", np.full(1, step), axes=("step",), coordinates={}, unit="1")
            writer.commit()
            assert [segment.rank for segment in found.refresh()] == [int(writer is second)]
        assert found["a/b"].read().tolist() == [1, 0, 2], "by rank, then in order"
        second.close()
        first.close()
        assert found.refresh() == ()
        assert found["a/b"].read().tolist() == [1, 0, 2]
