"""Files that are whole or absent: atomic writes, staged folders, locks and hashes."""

import errno
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from mechlab.errors import MechlabError

_BLOCK_BYTES = 1024**2  # hashed at a time; few, so that a thread that hashes seldom asks for the interpreter


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Turn a full disk, a missing permission or a read-only place into one sentence about `path`."""
    try:
        yield
    except OSError as fault:
        reasons = {
            errno.ENOSPC: "the disk is full; free some space and run the command again",
            errno.EDQUOT: "the disk quota is used up; free some space and run the command again",
            errno.EACCES: "permission is denied; choose a folder that you may write to",
            errno.EROFS: "the file system is read-only; choose another folder",
        }
        if fault.errno in reasons:
            raise MechlabError(f"cannot write '{path}': {reasons[fault.errno]}.") from fault
        raise


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` under a temporary name, fsync, and rename it to `path`."""
    with told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            Path(name).chmod(0o644)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: object) -> None:
    """Write a JSON document atomically; NaN and infinity are refused."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:  # noqa: ANN401 - JSON is untyped
    """Read a JSON document; a missing or torn file is a sentence."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError as fault:
        raise MechlabError(f"'{path}' does not exist; give the path of a file written by mechlab.") from fault
    except (json.JSONDecodeError, UnicodeDecodeError) as fault:
        raise MechlabError(
            f"'{path}' is not valid JSON ({fault}); it is damaged or of another kind."
        ) from fault


@contextmanager
def staged_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder that becomes `path` when the body ends well, and is removed otherwise."""
    with told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        stage = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part"))
        stage.chmod(0o755)
        try:
            yield stage
            remove_folder(path)
            stage.replace(path)
        except BaseException:
            shutil.rmtree(stage, ignore_errors=True)
            raise


def remove_folder(path: Path) -> None:
    """Remove a folder so that nobody ever sees half of it: it loses its name first."""
    if path.exists():
        gone = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part"))
        path.replace(gone)
        shutil.rmtree(gone)


def sweep_parts(path: Path) -> None:
    """Remove what a killed process left half-written below a folder; call it under the folder's lock."""
    for part in sorted(path.rglob(".*.part"), reverse=True):
        shutil.rmtree(part, ignore_errors=True) if part.is_dir() else part.unlink(missing_ok=True)


@contextmanager
def lock(path: Path, *, wait: bool = True, what: str = "folder") -> Iterator[None]:
    """Hold an exclusive lock file; without `wait` a second holder is refused with a sentence."""
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with path.open("a") as stream:
            try:
                _claim(stream, wait=wait)
            except BlockingIOError as fault:
                raise MechlabError(
                    f"another process is writing this {what} ('{path.parent}'); "
                    "wait for it to end or stop it."
                ) from fault
            if _is_at(stream, path):  # else the holder before removed the file: the lock is on nothing
                yield
                return


def is_locked(path: Path) -> bool:
    """Return whether a process holds a lock file; looking leaves everything as it is."""
    try:
        with path.open() as stream:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _claim(stream: IO[str], *, wait: bool) -> None:
    """Take the lock. Without `wait` BlockingIOError follows after the instant in which one may only look."""
    for _ in range(0 if wait else 3):
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.02)
        else:
            return
    fcntl.flock(stream, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)


def _is_at(stream: IO[str], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(stream.fileno()), path.stat())
    except FileNotFoundError:
        return False


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes as 64 hex digits."""
    digest, block = hashlib.sha256(), bytearray(_BLOCK_BYTES)
    with path.open("rb", buffering=0) as stream:
        while count := stream.readinto(block):
            digest.update(memoryview(block)[:count])
    return digest.hexdigest()


def sha256_bytes(data: bytes) -> str:
    """Return the SHA-256 of bytes as 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def size(count: int) -> str:
    """Return a number of bytes as a person reads it."""
    for unit, scale in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= scale:
            return f"{count / scale:.1f} {unit}"
    return f"{count} B"


def canonical_json(value: object) -> str:
    """Return the one JSON text of a value: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
