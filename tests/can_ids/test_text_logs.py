"""CAN logs as text: one table from every form, whatever the block, the line ends and the lengths."""

import numpy as np
import pytest

from mechlab.errors import MechlabError
from reproductions.can_ids.candump import plain_candump
from reproductions.can_ids.comma_log import read_commas
from reproductions.can_ids.fields import Fields, decimals, padded
from reproductions.can_ids.line_log import read_candump
from reproductions.can_ids.log import EXTENDED
from reproductions.can_ids.reading import read
from reproductions.can_ids.text import blocks


def same(one, two, *, labels=True):
    names = ("time", "ids", "payload", "length", *(("attack",) if labels else ()))
    return all(np.array_equal(getattr(one, name), getattr(two, name)) for name in names)


@pytest.mark.parametrize("form", ["four_columns", "raw"])
@pytest.mark.parametrize("block", [1, 37, 1000, 10**7])
def test_a_written_log_is_read_back_whatever_the_block(bus, texts, tmp_path, form, block):
    log = bus(seconds=0.4, attack="fuzzing")
    path = tmp_path / "drive.csv"
    path.write_text(texts[form](log))
    assert same(read_commas(path, block=block), log)
    assert read(path).digest == log.digest


@pytest.mark.parametrize("block", [1, 50, 10**7])
def test_candump_has_the_messages_and_no_labels(bus, texts, tmp_path, block):
    log = bus(seconds=0.4, attack="dos")
    path = tmp_path / "drive.log"
    path.write_text(texts["candump"](log))
    found = read_candump(path, block=block)
    assert same(found, log, labels=False)
    assert found.attack is None and read(path).attack is None


@pytest.mark.parametrize("form", ["four_columns", "raw"])
@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.rstrip("\n"),
        lambda text: "\ufeff" + text,
        lambda text: text.replace("\n", "\n\n"),
        lambda text: text.lower() if text.startswith("t") else text.replace(",", ",0x", 1),
    ],
    ids=["crlf", "no-last-newline", "byte-order-mark", "empty-lines", "case-or-0x"],
)
def test_what_says_nothing_changes_nothing(bus, texts, tmp_path, form, change):
    log = bus(seconds=0.3, attack="dos")
    path = tmp_path / "drive.csv"
    path.write_text(change(texts[form](log)), encoding="utf-8", newline="")
    assert same(read(path), log)


def test_the_flag_is_last_wherever_a_short_message_puts_it(tmp_path):
    path = tmp_path / "drive.csv"
    path.write_text(
        "1.0,0316,8,05,21,68,09,21,21,00,6f,R\n1.1,018f,2,fe,5b,T\n1.2,0000,0,R\n1.3,0x2A0,1,7,T,,,,,,,\n1.4,3,1,ff,R\n"
    )
    log = read(path)
    assert log.length.tolist() == [8, 2, 0, 1, 1]
    assert log.attack.tolist() == [False, True, False, True, False]
    assert log.ids.tolist() == [0x316, 0x18F, 0, 0x2A0, 3]
    assert log.payload[1].tolist() == [0xFE, 0x5B, 0, 0, 0, 0, 0, 0]
    assert log.payload[3, 0] == 7


def test_a_first_message_without_bytes_is_not_taken_for_four_columns(tmp_path):
    path = tmp_path / "drive.csv"
    path.write_text("1.0,0316,0,T\n1.1,0316,1,ff,R\n")
    assert read(path).attack.tolist() == [True, False]


@pytest.mark.parametrize("tail", ["", " T", "  R", " "])
def test_plain_lines_of_candump_are_read_together_to_what_each_line_says(
    bus, texts, tmp_path, tail, monkeypatch
):
    text = texts["candump"](bus(seconds=0.3, attack="fuzzing")).replace("\n", f"{tail}\n")
    path = tmp_path / "drive.log"
    path.write_text(text + f"(2000.0) can0 00000123#0011{tail}\n")
    one = read(path)
    assert (plain_candump(next(blocks(path))) is not None) == (tail in ("", " T"))
    monkeypatch.setattr("reproductions.can_ids.line_log.plain_candump", lambda block: None)
    assert read(path).digest == one.digest


def test_times_are_rounded_as_python_rounds(rng):
    words = [*map(repr, rng.uniform(0, 2e9, 500).tolist()), "0.1", "7", "1e-3", "1513468793.057761"]
    text = ",".join(words).encode()
    ends = np.cumsum([len(word) + 1 for word in words]) - 1
    starts = np.concatenate([[0], ends[:-1] + 1])
    found, wrong = decimals(Fields(padded(text), starts, ends))
    assert wrong is None
    assert found.tolist() == [float(word) for word in words]


def test_the_labelled_text_of_hcrl_is_read(tmp_path):
    path = tmp_path / "normal_run_data.txt"
    path.write_text(
        "Timestamp: 1479121434.850202        ID: 0350    000    DLC: 8    05 28 84 66 6d 00 00 a2\n"
        "Timestamp: 1479121434.850423        ID: 02c0    100    DLC: 2    14 00\n"
    )
    log = read(path)
    assert log.ids.tolist() == [0x350, 0x2C0] and log.length.tolist() == [8, 2]
    assert log.payload[0].tobytes() == bytes.fromhex("052884666d0000a2")
    assert log.attack is None


def test_an_extended_id_is_another_id_than_the_standard_one_of_its_number(tmp_path):
    path = tmp_path / "drive.log"
    path.write_text("(1.0) can0 123#00\n(1.1) can0 00000123#00\n(1.2) can0 18FEF100#\n(1.3) can0 123#R4\n")
    log = read(path)
    assert log.ids.tolist() == [0x123, 0x123 | EXTENDED, 0x18FEF100, 0x123]
    assert log.length.tolist() == [1, 1, 0, 0]


FOUR = "timestamp,arbitration_id,data_field,attack\n1.0,316,00FF,0\n"
BAD = {
    "truncated": (FOUR + "1.1,316,0", r"line 3: 3 fields, but a message has 4"),
    "too-many": (FOUR + "1.1,316,00,0,0\n", r"line 3: 5 fields"),
    "id": (FOUR + "1.1,3G6,00,0\n", r"line 3: id '3G6' is no hexadecimal number of at most 29 bits"),
    "id-empty": (FOUR + "1.1,,00,0\n", r"line 3: id '' is no hexadecimal"),
    "id-high": (FOUR + "1.1,FFFFFFFF,00,0\n", r"line 3: id 'FFFFFFFF' .* 29 bits"),
    "odd-payload": (FOUR + "1.1,316,00F,0\n", r"line 3: payload '00F' is not 0 to 8 bytes"),
    "long-payload": (FOUR + "1.1,316,001122334455667788,0\n", r"line 3: payload '001122334455667788'"),
    "payload": (FOUR + "1.1,316,0x00,0\n", r"line 3: payload '0x00'"),
    "label": (FOUR + "1.1,316,00,2\n", r"line 3: the label is '2', not 0 or 1"),
    "time": (FOUR + "later,316,00,0\n", r"line 3: time 'later' is no decimal number"),
    "no-time": (FOUR + ",316,00,0\n", r"line 3: time '' is no decimal number"),
    "not-finite": (FOUR + "nan,316,00,0\n", r"line 3: the time is no finite number"),
    "unsorted": (FOUR + "0.5,316,00,0\n1.0,1,00,0\n", r"line 3: time 0.500000 s is before the 1.000000 s"),
    "empty": ("", r"holds no message; give a log"),
    "head-only": ("timestamp,arbitration_id,data_field,attack\n", r"holds no message"),
    "dlc": ("1.0,316,9,00,R\n", r"line 1: the DLC is '9', not 0 to 8"),
    "dlc-bytes": ("1.0,316,1,ff,R\n1.1,316,3,00,11,R\n", r"line 2: 6 fields, but a message of DLC 3 has 7"),
    "dlc-and-more-bytes": ("1.0,316,1,ff,00,R\n", r"line 1: 6 fields, but a message of DLC 1 has 5"),
    "raw-truncated": ("1.0,316,1,ff,R\n1.1,316\n", r"line 2: 2 fields, but a message has at least 4"),
    "byte": ("1.0,316,2,ff,1g,R\n", r"line 1: byte 1 is '1g', not two hexadecimal digits"),
    "wide-byte": ("1.0,316,2,1ff,11,R\n", r"line 1: byte 0 is '1ff'"),
    "flag": ("1.0,316,1,ff,R\n1.1,316,1,ff,X\n", r"line 2: the flag is 'X', not R or T"),
    "candump": ("(1.0) can0 123#00\n(1.1) can0 12\n", r"line 2: this is not '\(seconds\) interface id#byte"),
    "candump-fd": ("(1.0) can0 123##100\n", r"line 1: a CAN FD frame"),
    "candump-error": ("(1.0) can0 20000080#00\n", r"line 1: an error frame"),
    "candump-odd": ("(1.0) can0 123#0\n", r"line 1: the payload is no row of bytes"),
    "candump-long": ("(1.0) can0 123#001122334455667788\n", r"line 1: 9 bytes, but classic CAN has at most"),
    "candump-wide": ("(1.0) can0 12345#00\n(1.0) can0 FFF#00\n", r"line 2: id FFF does not fit the 11 bits"),
    "labelled-dlc": ("Timestamp: 1.0 ID: 0350 000 DLC: 8 05 28\n", r"line 1: 2 bytes, but the DLC is 8"),
    "labelled": ("Timestamp: 1.0 ID: 0350 000\n", r"line 1: this is not 'Timestamp: seconds ID"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "told"), BAD.values(), ids=BAD)
def test_what_cannot_be_read_is_one_sentence_with_its_line(tmp_path, text, told):
    path = tmp_path / "drive.csv"
    path.write_text(text)
    with pytest.raises(MechlabError, match=told) as fault:
        read(path)
    assert "\n" not in str(fault.value) and str(fault.value).endswith(".")


@pytest.mark.parametrize("form", ["four_columns", "raw", "candump"])
def test_whatever_the_damage_a_log_is_read_or_refused_in_one_sentence(bus, texts, tmp_path, form):
    whole = texts[form](bus(seconds=0.1, attack="dos")).encode()
    rng, path, outcomes = np.random.default_rng(0), tmp_path / "drive.csv", []
    for _ in range(150):
        damaged = bytearray(whole[: rng.integers(1, len(whole))])
        for place in rng.integers(0, len(damaged), 2):
            damaged[place] = rng.choice([0, 10, 13, 32, 35, 40, 41, 44, 45, 46, 48, 88, 120, 255])
        path.write_bytes(damaged)
        try:
            outcomes.append(len(read(path)) > 0)
        except MechlabError as fault:
            assert "\n" not in str(fault)
            outcomes.append(None)
    assert None in outcomes and set(outcomes) <= {None, True}


def test_lines_are_counted_from_the_file_not_from_the_block(bus, texts, tmp_path):
    lines = texts["four_columns"](bus(seconds=0.3)).splitlines()
    lines[57] = "1000.1,zz,00,0"
    path = tmp_path / "drive.csv"
    path.write_text("\n".join(lines))
    for block in (11, 300, 10**6):
        with pytest.raises(MechlabError, match=r"line 58: id 'zz'"):
            read_commas(path, block=block)


@pytest.mark.parametrize(
    ("name", "told"), [("drive.pcap", "no known format"), ("none.csv", "does not exist")]
)
def test_other_files_are_refused(tmp_path, name, told):
    (tmp_path / "drive.pcap").write_bytes(b"\0")
    with pytest.raises(MechlabError, match=told):
        read(tmp_path / name)
