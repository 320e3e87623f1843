"""Whole copies of SQLite files: for a backup, for its restore, and before a migration."""

from __future__ import annotations

import os
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from ....errors import ConfigurationError

#: How long a restore waits for those that write, in seconds.
RESTORE_WAIT = 10.0

#: What SQLite keeps beside a file.
COMPANIONS = ("-wal", "-shm")

_DAMAGED = {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}


def copy_file(source: Path, target: Path, like: Path | None = None) -> None:
    """Copy a database, as it is at one moment, into a file, which is replaced if there is one.

    Others may read and write the source meanwhile. The target is there whole or not at all.

    :param like: whose owner and mode the target gets; by default the source's.
    :raises ConfigurationError: the source cannot be read, or the target not written.
    """
    with partial_file(target) as partial:
        try:
            with closing(_connect(source, "ro")) as connection:
                connection.execute("VACUUM INTO ?", (str(partial),))
        except sqlite3.Error as error:
            raise ConfigurationError(f"{source} cannot be copied to {target}: {error}") from None
        _put(partial, target, like or source)


@contextmanager
def partial_file(target: Path) -> Iterator[Path]:
    """An empty file beside the target, for its owner alone. At the end, it is removed if still there.

    :raises ConfigurationError: a file of the folder cannot be written.
    """
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        os.close(handle)
        partial = Path(name)
        try:
            yield partial
        finally:
            for ending in ("", *COMPANIONS):
                Path(f"{partial}{ending}").unlink(missing_ok=True)
    except OSError as error:
        raise ConfigurationError(f"{target} cannot be written: {error.strerror or error}") from None


def overwrite(path: Path, source: Path) -> bool:
    """Put the contents of one database into another, in one transaction, while others use that one.

    A database that is damaged cannot be written to: then the file itself is replaced, with the same
    owner and mode.

    :param source: a database that no other process uses. It may be gone afterwards.
    :returns: False where the file was replaced, and every process that has it open must be restarted.
    :raises ConfigurationError: the database is locked, or cannot be written.
    """
    if path.exists():
        try:
            _overwrite_contents(path, source)
            return True
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF not in _DAMAGED:
                raise ConfigurationError(f"{path} cannot be written: {error}") from None
    # They belong to the file that goes, and would damage the one that comes.
    for ending in COMPANIONS:
        Path(f"{path}{ending}").unlink(missing_ok=True)
    _put(source, path, path if path.exists() else path.parent)
    return False


def _overwrite_contents(path: Path, source: Path) -> None:
    give_up = time.monotonic() + RESTORE_WAIT

    def check_time(status: int, *_: int) -> None:
        # Python itself would wait without end.
        if status != sqlite3.SQLITE_DONE and time.monotonic() > give_up:
            raise ConfigurationError(f"{path} cannot be written: another process keeps it locked")

    with closing(_connect(source, "ro")) as reading, closing(_connect(path, "rw")) as writing:
        reading.backup(writing, progress=check_time, sleep=0.05)
        # The log has grown by the whole database. Where others read, it is emptied later.
        with suppress(sqlite3.Error):
            writing.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    address = f"file:{quote(str(path))}?mode={mode}"
    return sqlite3.connect(address, uri=True, isolation_level=None, timeout=1)


def _put(file: Path, target: Path, like: Path) -> None:
    """Give a file the owner and the mode of another, and move it to its place, on the disk too.

    :param like: a file; or a folder, whose owner the file gets, and its owner alone may read it.
    """
    status = like.stat()
    # Only root can give files away.
    with suppress(PermissionError):
        os.chown(file, status.st_uid, status.st_gid)
    os.chmod(file, 0o600 if like.is_dir() else status.st_mode & 0o777)
    _flush(file)
    os.replace(file, target)
    _flush(target.parent)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
