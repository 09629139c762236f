"""CAN logs as parquet, asc and blf hold the same messages; without their packages, one sentence."""

import numpy as np
import pytest

from mechlab.errors import MechlabError
from reproductions.can_ids.log import EXTENDED
from reproductions.can_ids.reading import read


@pytest.fixture
def arrow():
    pytest.importorskip("pyarrow.parquet", reason="parquet needs pyarrow, of the extra [can]")
    import pyarrow

    return pyarrow


@pytest.fixture
def can():
    return pytest.importorskip("can", reason="asc and blf need python-can, of the extra [can]")


def columns(log):
    return {
        "timestamp": log.time,
        "id": log.ids,
        "data_field": [row[:size].tobytes().hex() for row, size in zip(log.payload, log.length, strict=True)],
        "label": log.attack.astype(np.int64),
    }


def write(arrow, path, table):
    arrow.parquet.write_table(arrow.table(table), path, row_group_size=100)
    return path


@pytest.mark.parametrize("change", ["numbers", "text", "other-names", "dictionary"])
def test_parquet_holds_the_same_messages(arrow, bus, tmp_path, change):
    log = bus(seconds=0.4, attack="fuzzing")
    table = columns(log)
    if change == "text":
        table["id"] = [f"{number:03X}" for number in log.ids]
    if change == "other-names":
        table = dict(zip(("Timestamp", "arbitration_id", "payload", "attack"), table.values(), strict=True))
    if change == "dictionary":
        table["data_field"] = arrow.array(table["data_field"]).dictionary_encode()
    assert read(write(arrow, tmp_path / "drive.parquet", table)).digest == log.digest


BAD = {
    "id": ({"id": [0x316, 1 << 29]}, r"row 2: id 536870912 does not fit 29 bits"),
    "id-text": ({"id": ["316", "zz"]}, r"row 2: id 'zz' is no hexadecimal number"),
    "id-missing": ({"id": [0x316, None]}, r"row 2: the id is missing"),
    "payload": ({"data_field": ["00", "0"]}, r"row 2: payload '0' is not 0 to 8 bytes"),
    "payload-type": ({"data_field": [1, 2]}, r"the payload is int64, not text"),
    "label": ({"label": [0, 3]}, r"row 2: the label is 3, not 0 or 1"),
    "time": ({"timestamp": [2.0, 1.0]}, r"row 2: time 1.000000 s is before the 2.000000 s"),
    "time-type": ({"timestamp": ["a", "b"]}, r"the time is string, not a number"),
    "twice": ({"attack": [0, 0]}, r"exactly one of label, attack must be among them"),
}


@pytest.mark.parametrize(("change", "told"), BAD.values(), ids=BAD)
def test_a_parquet_file_that_cannot_be_read_is_one_sentence(arrow, tmp_path, change, told):
    table = {"timestamp": [1.0, 2.0], "id": [0x316, 0x18F], "data_field": ["00", "ff"], "label": [0, 1]}
    path = write(arrow, tmp_path / "drive.parquet", table | change)
    with pytest.raises(MechlabError, match=told):
        read(path)


def test_a_damaged_or_columnless_parquet_file_is_one_sentence(arrow, tmp_path):
    path = write(arrow, tmp_path / "drive.parquet", {"time": [1.0], "id": [3]})
    with pytest.raises(
        MechlabError, match=r"has the columns time, id; exactly one of data_field, data, payload"
    ):
        read(path)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(MechlabError, match=r"is no parquet file or is damaged .*; fetch it again"):
        read(path)


@pytest.mark.parametrize("suffix", [".asc", ".blf"])
def test_the_logs_of_vector_tools_hold_the_same_messages(can, bus, tmp_path, suffix):
    log = bus(seconds=0.4, start=1_600_000_000.0)
    path = tmp_path / f"drive{suffix}"
    with can.Logger(path) as writer:
        for time, number, data, size in zip(log.time, log.ids, log.payload, log.length, strict=True):
            writer(can.Message(timestamp=float(time), arbitration_id=int(number), data=data[:size].tobytes(),
                               is_extended_id=False))  # fmt: skip
    found = read(path)
    for name in ("ids", "payload", "length"):
        assert np.array_equal(getattr(found, name), getattr(log, name)), name
    assert np.allclose(np.diff(found.time), np.diff(log.time), atol=2e-6)
    assert found.attack is None


def test_frames_that_are_no_messages_of_classic_can_are_refused(can, tmp_path):
    path = tmp_path / "drive.asc"
    with can.Logger(path) as writer:
        writer(can.Message(timestamp=1.0, arbitration_id=0x123, is_extended_id=True, data=b"\x01"))
        writer(can.Message(timestamp=1.1, arbitration_id=0x123, is_extended_id=False, data=b"\x01"))
    assert read(path).ids.tolist() == [0x123 | EXTENDED, 0x123]
    with can.Logger(path) as writer:
        writer(can.Message(timestamp=1.0, arbitration_id=0x123, is_extended_id=False, data=b"\x01"))
        writer(
            can.Message(timestamp=1.1, arbitration_id=0x1, is_fd=True, is_extended_id=False, data=bytes(12))
        )
    with pytest.raises(MechlabError, match=r"message 2: a CAN FD frame"):
        read(path)


@pytest.mark.parametrize("suffix", [".asc", ".blf"])
def test_an_empty_and_a_damaged_file_are_one_sentence(can, tmp_path, suffix):
    path = tmp_path / f"drive{suffix}"
    path.write_bytes(b"")
    with pytest.raises(MechlabError, match="holds no message"):
        read(path)
    path.write_bytes(b"nothing of the kind\n" * 9)
    with pytest.raises(MechlabError, match=r"holds no message|is damaged"):
        read(path)


@pytest.mark.parametrize(
    ("suffix", "package", "module"),
    [(".parquet", "pyarrow", "pyarrow"), (".asc", "python-can", "can"), (".blf", "python-can", "can")],
)
def test_without_its_package_a_format_is_refused_with_the_command_that_installs_it(
    tmp_path, monkeypatch, suffix, package, module
):
    import builtins

    plain = builtins.__import__

    def refuse(name, *rest, **words):
        if name.split(".")[0] == module:
            raise ModuleNotFoundError(name, name=module)
        return plain(name, *rest, **words)

    (tmp_path / f"drive{suffix}").write_bytes(b"x")
    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(MechlabError, match=rf"needs the package '{package}'.*pip install -e '.\[can\]'"):
        read(tmp_path / f"drive{suffix}")
