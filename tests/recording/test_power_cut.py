"""Laws of a power cut: bytes that were not fsynced are gone, and every committed step is there all the same.

The disk is simulated: each fsync of a file keeps its bytes of that moment, each fsync of a folder its names.
Before and after any fsync the power may go; what is left is then written to another folder and read.
"""

import os
import random
import stat
from pathlib import Path

import numpy as np
import pytest

from mechlab import recording
from mechlab.errors import MechlabError
from mechlab.recording import Writer, segment

HEAD = {"run_id": "r", "spec": None}
Names = dict[str, int]  # of a folder: name -> inode
Volatile = dict[Path, tuple[int, bytes]]  # of all files: inode and what a running program reads


class Disk:
    """What is durable below a folder, before and after each fsync since the beginning."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.held: list[int] = []  # handles, so that no inode is used again
        self.bytes: dict[int, bytes] = {}
        self.names: dict[int, Names] = {}
        self.moments: list[tuple[dict[int, bytes], dict[int, Names], Volatile]] = []
        self.promised: list[int] = []  # at each moment: the last step that must be there, -1 for none
        self.promise = -1
        monkeypatch.setattr(os, "fsync", self.synced)

    def synced(self, handle: int) -> None:
        self.remember()  # the power may also go just before
        status = os.fstat(handle)
        if stat.S_ISDIR(status.st_mode):
            with os.scandir(handle) as entries:
                self.names[status.st_ino] = {entry.name: entry.inode() for entry in entries}
        else:
            self.held.append(os.open(f"/proc/self/fd/{handle}", os.O_RDONLY))  # a dup would keep its lock
            self.bytes[status.st_ino] = Path(f"/proc/self/fd/{handle}").read_bytes()
        self.remember()

    def remember(self) -> None:
        """Add a moment at which the power may go."""
        files = [path for path in self.root.rglob("*") if path.is_file()]
        volatile = {path: (path.stat().st_ino, path.read_bytes()) for path in files}
        self.moments.append((dict(self.bytes), dict(self.names), volatile))
        self.promised.append(self.promise)

    def keeps(self, step: int) -> None:
        """From now on the steps up to this one must survive."""
        self.promise = step
        if self.promised:
            self.promised[-1] = step

    def may_lose(self, step: int) -> None:
        """From now on only the steps up to this one must survive."""
        self.promise = step

    def restore(self, moment: int, place: Path, *, dice: random.Random | None = None) -> None:
        """Write what the disk holds after a power cut; with `dice` some of what was not fsynced as well."""
        durable, names, volatile = self.moments[moment]

        def write(inode: int, to: Path) -> None:
            to.mkdir()
            for name, child in names.get(inode, {}).items():
                if child in names or (self.root / name).is_dir():
                    write(child, to / name)
                else:
                    (to / name).write_bytes(durable.get(child, b""))

        write(self.root.stat().st_ino, place)
        if dice is None:
            return
        for path in [path for path in place.rglob("*") if path.is_file()]:
            if self.root / path.relative_to(place) not in volatile and dice.random() < 0.5:
                path.unlink()  # it was removed, and the removal need not be fsynced to happen
        for path, (inode, content) in volatile.items():
            target = place / path.relative_to(self.root)
            kept = durable.get(inode, b"")  # of this file, whatever it was called when it was fsynced
            if target.parent.is_dir() and content.startswith(kept) and dice.random() < 0.5:
                length = dice.choice([len(content), dice.randint(len(kept), len(content))])
                target.write_bytes(content[:length])  # what was fsynced of this file is never dropped

    def close(self) -> None:
        for handle in self.held:
            os.close(handle)


@pytest.fixture
def disk(tmp_path, monkeypatch):
    root = tmp_path / "disk"
    root.mkdir()
    made = Disk(root, monkeypatch)
    yield made
    made.close()


def write(writer: Writer, disk: Disk, steps: range) -> None:
    """Commit one step after the other; each must survive from then on."""
    for step in steps:
        coordinates = {"step": np.full(2, step), "item": np.arange(2)}
        for key, size in (("latent/a", 3), ("latent/b", 700)):
            writer.append(
                key, np.full((2, size), step), axes=("item", "dim"), coordinates=coordinates, unit="1"
            )
        writer.commit()
        disk.keeps(step)


def check(place: Path, *, at_least: int) -> None:
    """Assert that the steps from 0 to at least a given one are there, once each and whole."""
    try:
        found = recording.open(place / "r")
    except MechlabError:
        assert at_least == -1, "the recording is unreadable"
        return
    with found:
        found.verify()
        lengths = set()
        for key in found:
            steps = found[key].coordinates["step"]
            assert steps.tolist() == np.repeat(np.arange(len(steps) // 2), 2).tolist()
            assert (found[key].read() == steps[:, None]).all()
            lengths.add(len(steps) // 2)
        assert max(lengths, default=0) > at_least, f"step {at_least} was committed and is lost"
        assert len(lengths) <= 1, "both keys of a step are there or neither"


def survives(disk: Disk, tmp_path: Path, *, seed: int | None = None) -> int:
    """Cut the power at every moment; return how many there were."""
    for moment, promised in enumerate(disk.promised):
        place = tmp_path / f"cut-{seed}-{moment}"
        dice = None if seed is None else random.Random(1000 * seed + moment)
        disk.restore(moment, place, dice=dice)
        check(place, at_least=promised)
    return len(disk.promised)


def whole_life(disk: Disk) -> None:
    """Write, rewind, write on, pack, resume the packed recording, and pack again."""
    folder = disk.root / "r"
    writer = Writer.create(folder, attributes=HEAD, flush_seconds=600.0)
    write(writer, disk, range(4))
    writer.close(pack=False)
    disk.may_lose(1)
    with Writer.resume(folder, position=2, flush_seconds=600.0) as writer:
        write(writer, disk, range(2, 5))
    disk.may_lose(2)
    with Writer.resume(folder, position=3, flush_seconds=600.0) as writer:
        write(writer, disk, range(3, 5))


def test_every_committed_step_survives_a_power_cut_at_any_moment(disk, tmp_path):
    whole_life(disk)
    assert survives(disk, tmp_path) > 80


@pytest.mark.parametrize("seed", range(3))
def test_it_does_so_when_some_of_what_was_not_fsynced_is_there_as_well(disk, tmp_path, seed):
    whole_life(disk)
    assert survives(disk, tmp_path, seed=seed) > 80


def test_a_recording_goes_on_after_a_power_cut(disk, tmp_path):
    writer = Writer.create(disk.root / "r", attributes=HEAD, flush_seconds=600.0)
    write(writer, disk, range(3))
    writer.close(pack=False)
    for moment, promised in enumerate(list(disk.promised)):
        if promised >= 0:
            place = tmp_path / f"cut-{moment}"
            disk.restore(moment, place)
            with Writer.resume(place / "r", position=promised + 1, flush_seconds=600.0) as writer:
                write(writer, disk, range(promised + 1, 5))
            check(place, at_least=4)


@pytest.mark.parametrize("forgotten", ["file", "folder"])
def test_a_writer_that_forgets_to_fsync_is_found_out(disk, tmp_path, monkeypatch, forgotten):
    plain = segment.sync
    monkeypatch.setattr(
        segment, "sync", lambda path: None if path.is_dir() == (forgotten == "folder") else plain(path)
    )
    writer = Writer.create(disk.root / "r", attributes=HEAD, flush_seconds=600.0)
    write(writer, disk, range(3))
    writer.close(pack=False)
    with pytest.raises(AssertionError, match=r"unreadable|is lost"):
        survives(disk, tmp_path)
