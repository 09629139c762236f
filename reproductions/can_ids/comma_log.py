"""Logs of comma-separated lines: four columns by position, or the raw lines of HCRL with a byte a column.

Four columns (can-train-and-test, arXiv:2308.04972): time in seconds, hexadecimal id, hexadecimal payload
without spaces, 0 or 1 for an attack. Raw (HCRL Car-Hacking and Survival Analysis data sets): time, id, DLC,
DLC bytes, R or T (T: injected); a message of fewer than eight bytes has fewer columns, so the flag is the
last one wherever that is. A first line with column names is left out.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from reproductions.can_ids.fields import Fields, decimals, flags, hexadecimals, payloads
from reproductions.can_ids.log import ALL_IDS, PAYLOAD, Log, Piece, refused, whole
from reproductions.can_ids.text import BLOCK_BYTES, Block, blocks

_COMMA = ord(",")
Parse = Callable[[Block, str], Log]


def read_commas(path: Path, *, block: int = BLOCK_BYTES) -> Log:
    """Read a log of comma-separated lines; its first message tells which of the two forms it has.

    Raises:
        MechlabError: an empty file, or a line that is cut or not what it should be, told by its number.
    """
    pieces: list[Piece] = []
    parse: Parse | None = None
    has_begun = False
    for found in blocks(path, size=block):
        lines = found
        if found.rows.size and not has_begun:
            lines, has_begun = found.after(int(_is_head(found.first()))), True
        if lines.rows.size:
            parse = parse or _form(lines.first())
            pieces.append(Piece(log=parse(lines, str(path)), rows=lines.rows))
    return whole(pieces, where=str(path))


def _is_head(line: bytes) -> bool:
    return b"time" in line.split(b",")[0].lower()


def _form(line: bytes) -> Parse:
    fields = line.rstrip(b",").split(b",")
    return _raw if len(fields) > 4 or fields[-1] in (b"R", b"T") else _four_columns


def _four_columns(block: Block, where: str) -> Log:
    commas, begins = _commas(block)
    counts = np.diff(begins)
    _require(counts == 3, block, where, lambda line: (
        f"{counts[line] + 1} fields, but a message has 4 (time, id, payload, 0 or 1)"
    ))  # fmt: skip
    first, second, third = commas.reshape(-1, 3).T
    time, ids = _time_and_id(block, where, first, second)
    data = Fields(block.text, second + 1, third)
    payload, length, wrong = payloads(data)
    if wrong is not None:
        what = f"payload '{data.letters(wrong)}' is not 0 to 8 bytes of two hexadecimal digits"
        raise refused(where, int(block.rows[wrong]), what)
    flag = Fields(block.text, third + 1, block.ends)
    attack, wrong = flags(flag, normal="0", attack="1")
    if wrong is not None:
        raise refused(where, int(block.rows[wrong]), f"the label is '{flag.letters(wrong)}', not 0 or 1")
    return Log(time=time, ids=ids, payload=payload, length=length, attack=attack)


def _raw(block: Block, where: str) -> Log:
    block = _trimmed(block)
    commas, begins = _commas(block)
    counts = np.diff(begins)
    _require(counts >= 3, block, where, lambda line: (
        f"{counts[line] + 1} fields, but a message has at least 4 (time, id, DLC, R or T)"
    ))  # fmt: skip
    first, second, third = (commas[begins[:-1] + place] for place in range(3))
    time, ids = _time_and_id(block, where, first, second)
    length = (block.text[second + 1] - ord("0")).astype(np.uint8)
    _require((third == second + 2) & (length <= PAYLOAD), block, where, lambda line: (
        f"the DLC is '{Fields(block.text, second + 1, third).letters(line)}', not 0 to 8"
    ))  # fmt: skip
    _require(counts == length + 3, block, where, lambda line: (
        f"{counts[line] + 1} fields, but a message of DLC {length[line]} has {length[line] + 4} "
        "(time, id, DLC, its bytes, R or T)"
    ))  # fmt: skip
    payload = _bytes(block, where, commas, begins[:-1] + 2, length)
    flag = Fields(block.text, commas[begins[1:] - 1] + 1, block.ends)
    attack, wrong = flags(flag, normal="R", attack="T")
    if wrong is not None:
        raise refused(where, int(block.rows[wrong]), f"the flag is '{flag.letters(wrong)}', not R or T")
    return Log(time=time, ids=ids, payload=payload, length=length, attack=attack)


def _bytes(block: Block, where: str, commas: np.ndarray, third: np.ndarray, length: np.ndarray) -> np.ndarray:
    """Return the payloads of raw lines; `third` is the number of the comma before the first byte."""
    payload = np.zeros((length.size, PAYLOAD), dtype=np.uint8)
    for place in range(PAYLOAD):
        lines = np.flatnonzero(length > place)
        at = third[lines] + place
        field = Fields(block.text, commas[at] + 1, commas[at + 1])
        number, wrong = hexadecimals(field)
        if wrong is None and (number > 255).any():
            wrong = int(np.argmax(number > 255))
        if wrong is not None:
            what = f"byte {place} is '{field.letters(wrong)}', not two hexadecimal digits"
            raise refused(where, int(block.rows[lines[wrong]]), what)
        payload[lines, place] = number
    return payload


def _time_and_id(
    block: Block, where: str, first: Int64[np.ndarray, " line"], second: Int64[np.ndarray, " line"]
) -> tuple[np.ndarray, np.ndarray]:
    times, names = Fields(block.text, block.starts, first), Fields(block.text, first + 1, second)
    time, wrong = decimals(times)
    if wrong is not None:
        raise refused(where, int(block.rows[wrong]), f"time '{times.letters(wrong)}' is no decimal number")
    ids, wrong = hexadecimals(names)
    if wrong is None and (ids >= ALL_IDS).any():
        wrong = int(np.argmax(ids >= ALL_IDS))
    if wrong is not None:
        what = f"id '{names.letters(wrong)}' is no hexadecimal number of at most 29 bits"
        raise refused(where, int(block.rows[wrong]), what)
    return time, ids


def _commas(block: Block) -> tuple[Int64[np.ndarray, " comma"], Int64[np.ndarray, " _"]]:
    """Return the places of commas inside the lines, and which of them is the first of each line."""
    commas = np.flatnonzero(block.text == _COMMA)
    begins = np.append(np.searchsorted(commas, block.starts), 0)
    ends = np.searchsorted(commas, block.ends)
    begins[-1] = ends[-1]
    if np.array_equal(begins[1:], ends):
        return commas[begins[0] : begins[-1]], begins - begins[0]
    inside = np.zeros(commas.size + 1, dtype=np.int64)  # else commas lie behind the ends of trimmed lines
    np.add.at(inside, begins[:-1], 1)
    np.add.at(inside, ends, -1)
    kept = commas[np.cumsum(inside[:-1]) > 0]
    return kept, np.append(np.searchsorted(kept, block.starts), kept.size)


def _trimmed(block: Block) -> Block:
    """Leave out empty columns behind the flag, which a table of fixed width has."""
    ends = block.ends.copy()
    while (behind := block.text[ends - 1] == _COMMA).any():
        ends -= behind
    return Block(block.text, block.starts, ends, block.rows)


def _require(is_right: np.ndarray, block: Block, where: str, told: Callable[[int], str]) -> None:
    wrong = np.flatnonzero(~is_right)
    if wrong.size:
        raise refused(where, int(block.rows[wrong[0]]), told(int(wrong[0])))
