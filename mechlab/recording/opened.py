"""HDF5 files opened for reading: what is refused, and what a fault is called.

Only hard links to plain data sets of numbers or UTF-8 text are followed.
Source: docs/recording.md, "What is refused".
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from mechlab.errors import MechlabError
from mechlab.recording.description import Description, get_descriptions
from mechlab.recording.format import FORMAT, check_version, get_text

_OPEN_AT_ONCE = 16


def damaged(path: Path, what: str, fault: Exception) -> MechlabError:
    """Return the sentence for a part of a file that cannot be read."""
    reason = str(fault.args[0] if fault.args else fault).split("\n")[0]
    return MechlabError(
        f"cannot read {what} in '{path}': the file is damaged ({reason}); restore a copy or record again."
    )


def open_hdf5(path: Path) -> h5py.File:
    """Open any HDF5 file for reading; a missing, truncated or foreign file is one sentence."""
    if not path.is_file():
        raise MechlabError(f"'{path}' is no file; give the path of a recording.")
    try:
        return h5py.File(path, "r", locking="best-effort")
    except PermissionError as fault:
        raise MechlabError(f"'{path}' may not be read: permission is denied.") from fault
    except (OSError, RuntimeError) as fault:
        reason = str(fault).split("\n")[0]
        raise MechlabError(
            f"'{path}' is truncated, damaged or no HDF5 file ({reason}); restore a copy or record again."
        ) from fault


def open_recording(path: Path) -> h5py.File:
    """Open a segment or a packed recording; another format or version is refused."""
    file = open_hdf5(path)
    try:
        if get_text(file, "format") != FORMAT:
            raise MechlabError(f"'{path}' is an HDF5 file but no recording; give a file written by mechlab.")
        check_version(_plain(file.attrs.get("version")), path)
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as fault:
        file.close()
        raise damaged(path, "the root attributes", fault) from fault
    except MechlabError:
        file.close()
        raise
    return file


def _plain(value: object) -> object:
    return value.item() if hasattr(value, "item") and getattr(value, "size", 1) == 1 else value


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """Give a segment or a packed recording, and close it."""
    file = open_recording(path)
    try:
        yield file
    finally:
        file.close()


class Files:
    """Files of one recording, opened when first needed; few stay open at once."""

    def __init__(self) -> None:
        self._open: OrderedDict[Path, h5py.File] = OrderedDict()
        self._dropped: set[Path] = set()
        self._descriptions: dict[Path, dict[str, Description]] = {}

    def descriptions(self, path: Path) -> dict[str, Description]:
        """Return what a segment says of its keys; a packed file says nothing here.

        Raises ValueError, KeyError or TypeError when that is damaged.
        """
        file = self[path]
        if path not in self._descriptions:
            self._descriptions[path] = get_descriptions(file)
        return self._descriptions[path]

    def __getitem__(self, path: Path) -> h5py.File:
        """Return the open file; one that is no longer part of the recording is one sentence."""
        if path in self._dropped:
            raise MechlabError(
                f"the rows of '{path}' were dropped by a resume; take the quantity from the recording again."
            )
        if path in self._open:
            self._open.move_to_end(path)
            return self._open[path]
        try:
            file = open_recording(path)
        except MechlabError as fault:
            if path.exists():
                raise
            raise MechlabError(
                f"'{path}' is gone: the recording was packed, resumed or removed since it was opened; "
                "call refresh() and take the quantity again."
            ) from fault
        self._open[path] = file
        if len(self._open) > _OPEN_AT_ONCE:
            self._close(next(iter(self._open)))
        return file

    def drop(self, paths: Iterable[Path]) -> None:
        """Refuse these from now on, also where they are open."""
        for path in paths:
            self._dropped.add(path)
            if path in self._open:
                self._close(path)

    def close(self) -> None:
        """Close all; they open again when needed."""
        for path in tuple(self._open):
            self._close(path)

    def _close(self, path: Path) -> None:
        self._open.pop(path).close()
        self._descriptions.pop(path, None)


def child_names(group: h5py.Group) -> list[str]:
    """Return the names in a group; a link that is not hard is refused."""
    names = []
    for name in group:
        _check_link(group, name)
        names.append(name)
    return names


def child_group(group: h5py.Group, name: str) -> h5py.Group:
    """Return a group inside a group. Raises KeyError when it is absent or no group."""
    _check_link(group, name)
    node = group[name]
    if not isinstance(node, h5py.Group):
        raise KeyError(f"its '{name}' is no group")
    return node


def child_data(group: h5py.Group, name: str) -> h5py.Dataset:
    """Return a data set of numbers or text stored in this very file; anything else is refused."""
    _check_link(group, name)
    node = group[name]
    if not isinstance(node, h5py.Dataset):
        raise KeyError(f"its '{name}' is no data set")
    where = f"'{node.name}' in '{group.file.filename}'"
    is_text = h5py.check_string_dtype(node.dtype) is not None
    if node.dtype.kind not in "iufS" and not is_text:
        raise MechlabError(
            f"{where} holds {node.dtype} ({_kind(node)}); only numbers and UTF-8 text are read."
        )
    if node.external or node.is_virtual:
        raise MechlabError(
            f"{where} keeps its data in other files; recordings are self-contained: record it again."
        )
    return node


def _kind(node: h5py.Dataset) -> str:
    if h5py.check_ref_dtype(node.dtype) is not None:
        return "references"
    return "objects" if node.dtype.kind == "O" else "no plain type"


def _check_link(group: h5py.Group, name: str) -> None:
    link = group.get(name, getlink=True)
    if link is None:
        raise KeyError(f"there is no '{name}' in it")
    if not isinstance(link, h5py.HardLink):
        kind = "external" if isinstance(link, h5py.ExternalLink) else "soft"
        raise MechlabError(
            f"'{group.name.rstrip('/')}/{name}' in '{group.file.filename}' is a link of kind {kind}; "
            "recordings hold data only: copy the data into the file."
        )
