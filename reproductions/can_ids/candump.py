"""Many lines of candump at once, where all of them are plain messages; anything else is read line by line.

`(1436509052.249713) vcan0 044#2A366C2BBA`, perhaps with the direction R or T behind it. Source: can-utils.
"""

import numpy as np
from jaxtyping import Bool, Int64

from reproductions.can_ids.fields import Fields, decimals, hexadecimals, payloads
from reproductions.can_ids.log import ALL_IDS, EXTENDED, STANDARD_IDS, Log
from reproductions.can_ids.text import Block

_SPACE, _OPEN, _CLOSE, _HASH = (ord(letter) for letter in " ()#")


def plain_candump(block: Block) -> Log | None:
    """Return the messages of a block, or None where a line is not plain: the caller finds out which."""
    close, hashes = _each(block, _CLOSE), _each(block, _HASH)
    if close is None or hashes is None or not (close < hashes).all():
        return None
    spaces = np.append(np.flatnonzero(block.text == _SPACE), block.text.size)
    place = np.searchsorted(spaces, hashes)
    before, behind = spaces[np.maximum(place - 1, 0)], np.minimum(spaces[place], block.ends)
    names = Fields(block.text, before + 1, hashes)
    is_extended = names.sizes > 3
    time, *wrong = decimals(Fields(block.text, block.starts + 1, close))
    ids, *wrong_id = hexadecimals(names)
    payload, length, *wrong_data = payloads(Fields(block.text, hashes + 1, behind))
    is_plain = (
        (block.text[block.starts] == _OPEN)
        & (close < before)
        & (before < hashes)
        & (ids < np.where(is_extended, ALL_IDS, STANDARD_IDS))
        & _is_direction(block, behind)
    )
    if [*wrong, *wrong_id, *wrong_data] != [None] * 3 or not is_plain.all():
        return None
    ids = np.where(is_extended & (ids < STANDARD_IDS), ids | EXTENDED, ids).astype(np.uint32)
    return Log(time=time, ids=ids, payload=payload, length=length, attack=None)


def _each(block: Block, letter: int) -> Int64[np.ndarray, " line"] | None:
    """Return the place of a letter that stands once in each line, or None."""
    places = np.flatnonzero(block.text == letter)
    if places.size != block.starts.size or not ((block.starts <= places) & (places < block.ends)).all():
        return None
    return places


def _is_direction(block: Block, behind: Int64[np.ndarray, " line"]) -> Bool[np.ndarray, " line"]:
    """Return whether nothing, or one of ` R` and ` T`, stands behind the payload."""
    letter = block.text[np.minimum(behind + 1, block.ends)]
    has_one = (block.ends - behind == 2) & ((letter == ord("R")) | (letter == ord("T")))
    return (behind == block.ends) | has_one
