"""Folders of logs and their splits: cut by time, nothing of a later split in an earlier one, groups."""

from itertools import pairwise

import numpy as np
import pytest

from mechlab.errors import MechlabError
from reproductions.can_ids.folder import open as open_folder
from reproductions.can_ids.folder import source_of
from reproductions.can_ids.prepare import counts, prepared
from reproductions.can_ids.reading import read
from reproductions.can_ids.splits import BY_TIME, cut, stretches, vocabulary_of


@pytest.fixture(scope="module")
def folder(can_folder):
    return open_folder(can_folder)


@pytest.fixture(scope="module")
def logs(folder):
    return [read(file.path) for file in folder.files]


NAMED = {
    "DoS-kia": ("dos", "kia"), "fuzzing-Spark": ("fuzzing", "spark"),
    "attack-free-sonata": ("none", "sonata"),
    "Flooding_dataset_KIA": ("dos", "kia"), "Fuzzy_dataset": ("fuzzing", ""), "gear_dataset": ("gear", ""),
    "force-neutral-2": ("force-neutral", ""), "normal_run_data": ("none", ""),
    "malfunction-soul": ("malfunction", "soul"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "told"), NAMED.items(), ids=NAMED)
def test_the_name_of_a_log_tells_attack_and_vehicle(name, told):
    found = source_of(name)
    assert (found.attack, found.vehicle) == told


def test_a_flat_folder_is_the_same_data_set(can_folder, folder, tmp_path):
    for file in folder.files:
        (tmp_path / f"{file.source.part}__{file.path.name}").write_bytes(file.path.read_bytes())
    flat = open_folder(tmp_path)
    assert [file.source for file in flat.files] == [file.source for file in folder.files]
    assert [file.source.part[:5] for file in flat.training] == ["train"] * 4
    assert len(flat.test) == 4


def test_suppress_and_masquerade_are_left_out_unless_asked_for(write_logs, tmp_path):
    root = write_logs(tmp_path / "car", seconds=1.0)
    (root / "test_05_suppress").mkdir()
    text = next((root / "train_01_attack_free").iterdir()).read_text()
    (root / "test_05_suppress" / "suppress-1.csv").write_text(text)
    assert [path.name for path in open_folder(root).left_out] == ["suppress-1.csv"]
    assert not any("suppress" in file.source.part for file in open_folder(root).files)
    asked = open_folder(root, exclude=())
    assert not asked.left_out and any("suppress" in file.source.part for file in asked.files)


@pytest.mark.parametrize("way", ["published", "time"])
def test_no_message_is_in_two_splits_and_training_comes_first(folder, logs, way):
    found = stretches(folder, logs, way=way)
    for name in {one.source.name for one in found}:
        own = {one.source.split: one.log for one in found if one.source.name == name}
        order = [own[split] for split in ("train", "validation", "test") if split in own]
        for before, after in pairwise(order):
            assert before.time[-1] <= after.time[0]
    assert sum(len(one.log) for one in found) == sum(map(len, logs))
    assert [one.source.split for one in found] == sorted(
        (one.source.split for one in found), key=("train", "validation", "test").index
    )


def test_a_log_is_cut_by_its_seconds(bus):
    log = bus(seconds=10.0, attack="dos", bursts=((0.0, 0.3),))
    pieces = cut(log, BY_TIME)
    assert np.array_equal(np.concatenate([piece.time for piece in pieces]), log.time)
    assert [piece.time[-1] - piece.time[0] for piece in pieces] == pytest.approx([6, 2, 2], abs=0.05)
    assert len(pieces[0]) > 0.7 * len(log)  # the flood is in it: messages are no measure of time


def test_groups_are_the_parts_or_what_training_by_time_knows(folder, logs):
    published = {one.source.group for one in stretches(folder, logs, way="published")}
    assert published == {"", *(file.source.part for file in folder.test)}
    by_time = stretches(folder, logs, way="time")
    assert {one.source.group for one in by_time} == {
        "", "known_vehicle_known_attack", "unknown_vehicle_known_attack",
    }  # fmt: skip
    trained = {one.source.attack for one in by_time if one.source.split == "train"}
    assert trained == {"none", "dos", "fuzzing", "malfunction"}


def test_ids_that_only_an_attack_or_a_later_split_has_stay_unknown(folder, logs):
    known = vocabulary_of(stretches(folder, logs, way="published")).known
    normal = [
        log.ids[~log.attack]
        for file, log in zip(folder.files, logs, strict=True)
        if file.source.part[:5] == "train"
    ]
    assert known == tuple(np.unique(np.concatenate(normal)).tolist())
    assert 0 not in known and max(known) < 0x400


def test_the_same_messages_count_once_in_training_and_never_on_both_sides(can_folder, tmp_path):
    for path in can_folder.rglob("*.csv"):
        (tmp_path / f"{path.parent.name}__{path.name}").write_bytes(path.read_bytes())
    free = tmp_path / "train_01_attack_free__attack-free-kia.csv"
    (tmp_path / "train_02_with_attacks__attack-free-kia.csv").write_bytes(free.read_bytes())
    twice = open_folder(tmp_path)
    found = stretches(twice, [read(file.path) for file in twice.files], way="published")
    assert sum(one.source.name == "attack-free-kia" for one in found) == 2  # its training and validation
    (tmp_path / "test_01_known_vehicle_known_attack__attack-free-kia.csv").write_bytes(free.read_bytes())
    leak = open_folder(tmp_path)
    with pytest.raises(MechlabError, match="hold the same messages, one for training and one for the test"):
        stretches(leak, [read(file.path) for file in leak.files], way="published")


def test_an_attack_free_log_with_attacks_is_refused(write_logs, tmp_path):
    root = write_logs(tmp_path / "car", seconds=1.0)
    file = root / "train_01_attack_free" / "attack-free-kia.csv"
    file.write_text(file.read_text().replace(",0\n", ",1\n", 3))
    opened = open_folder(root)
    with pytest.raises(MechlabError, match="attack-free by its name, but 3 of its messages"):
        stretches(opened, [read(each.path) for each in opened.files], way="published")


@pytest.mark.parametrize(
    ("root", "told"),
    [
        (None, "needs a folder of logs; give it with --root"),
        ("none", "does not exist"),
        ("empty", "has no training log"),
    ],
)
def test_no_folder_of_logs_is_one_sentence(tmp_path, root, told):
    (tmp_path / "empty").mkdir()
    with pytest.raises(MechlabError, match=told):
        open_folder(None if root is None else tmp_path / root)


def test_another_way_to_split_is_refused(folder, logs):
    with pytest.raises(MechlabError, match=r"no split of logs named 'random'\. Known: published, time"):
        stretches(folder, logs, way="random")


def test_windows_of_splits_never_share_a_message(folder, tmp_path):
    graphs, _ = prepared(folder, cache=tmp_path, way="time", stride=10)
    for name in {source.name for source in graphs.sources}:
        own = [number for number, source in enumerate(graphs.sources) if source.name == name]
        spans = [
            (graphs.start[graphs.source == one].min(), graphs.end[graphs.source == one].max()) for one in own
        ]
        assert all(before[1] <= after[0] for before, after in pairwise(spans))
    assert sum(row["windows"] for row in counts(graphs)) == len(graphs)
    assert sum(row["nodes"] for row in counts(graphs)) == len(graphs.x)
