"""A CAN log from a file of any known format, found by suffix and, for text, by the first line."""

from pathlib import Path

from mechlab.errors import MechlabError
from reproductions.can_ids.comma_log import read_commas
from reproductions.can_ids.line_log import kind_of
from reproductions.can_ids.log import Log
from reproductions.can_ids.parquet_log import read_parquet
from reproductions.can_ids.vector_log import read_vector

TEXT = (".csv", ".txt", ".log")
SUFFIXES = (*TEXT, ".parquet", ".asc", ".blf")


def read(path: Path) -> Log:
    """Read one log.

    Raises:
        MechlabError: no such file, an unknown suffix, and whatever the reader of the format refuses.
    """
    if not path.is_file():
        raise MechlabError(f"log '{path}' does not exist; give a file that ends with {', '.join(SUFFIXES)}.")
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise MechlabError(f"'{path}' is of no known format; a log ends with {', '.join(SUFFIXES)}.")
    if suffix == ".parquet":
        return read_parquet(path)
    if suffix not in TEXT:
        return read_vector(path)
    with path.open("rb") as stream:
        line = stream.readline(200)
    return (kind_of(line) or read_commas)(path)
