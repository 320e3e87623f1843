"""What a file can suffer.

Behaviours F-11, F-15, F-16, F-17, DB-08.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from outage_kit import Kept, Resources, back_to, database_of, error_of, one_outage_is_logged, refused
from reactors import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import capturedLogs

from djoauth2_twisted.stores.contract import new_grant
from djoauth2_twisted.stores.sql.database import Database
from djoauth2_twisted.stores.sql.tokens import SQLTokenStore


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the file is."""
    return tmp_path


@pytest_twisted.async_yield_fixture
async def kept(folder: Path) -> AsyncIterator[Kept]:
    """What is in a file that a store has open."""
    base = Resources.now()
    database = Database(reactor, f"sqlite:///{folder}/store.db")
    database.open()
    with capturedLogs():
        yield await Kept.put_into(SQLTokenStore(database))
        await database.close()
    await back_to(base)


def is_sound(folder: Path) -> bool:
    """Whether SQLite finds no fault with the file."""
    with closing(sqlite3.connect(folder / "store.db")) as other:
        return other.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


async def test_locked(kept: Kept, folder: Path) -> None:
    """F-11: writes are refused in time, reads continue."""
    with closing(sqlite3.connect(folder / "store.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with one_outage_is_logged():
            await refused(*kept.writes())
            assert await kept.find() is not None
            await refused(*kept.writes())
            other.execute("ROLLBACK")
            await kept.is_whole()


async def test_log_removed(kept: Kept, folder: Path) -> None:
    """F-17: all is refused, and what was acknowledged is in the file when all have left it."""
    (folder / "store.db-wal").unlink()
    with one_outage_is_logged(most=2):
        for _ in range(2):
            await refused(*kept.all())
    await database_of(kept.store).close()
    assert is_sound(folder)
    again = Database(reactor, f"sqlite:///{folder}/store.db")
    again.open()
    await Kept(SQLTokenStore(again), *_parts(kept)).is_whole()
    await again.close()


def _parts(kept: Kept) -> tuple[Any, ...]:
    return kept.grant, kept.pair, kept.waiting, kept.revoked, kept.revoked_pair


async def test_log_replaced(kept: Kept, folder: Path) -> None:
    """F-17: another file in its place is not taken for it."""
    log = folder / "store.db-wal"
    log.unlink()
    log.write_bytes(b"nonsense")
    await refused(*kept.all())
    await refused(*kept.all())


async def test_permissions_taken_away(kept: Kept, folder: Path) -> None:
    """F-17: what is open stays open; nothing is refused wrongly, and no other file takes its place."""
    for file in folder.iterdir():
        file.chmod(0)
    await kept.is_whole()
    for file in folder.iterdir():
        file.chmod(0o600)
    assert sorted(file.name for file in folder.iterdir()) == ["store.db", "store.db-shm", "store.db-wal"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of a mebibyte."""
    mounted = tmp_path / "disk"
    mounted.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(mounted)], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip(f"mounting is not permitted here: {done.stderr.decode().strip()}")
    yield mounted
    subprocess.run(["umount", str(mounted)], check=True)


class TestFullDisk:
    """F-15, F-16: no space is left."""

    @pytest.fixture
    def folder(self, small_disk: Path) -> Path:
        """The file is on the small disk."""
        return small_disk

    async def test_full(self, kept: Kept, folder: Path) -> None:
        """Writes are refused and nothing of them is kept; reads continue; with space all is well."""
        filler = folder / "filler"
        _fill(filler)
        with one_outage_is_logged():
            for _ in range(100):
                # What space is left in SQLite's log is used up first.
                steps = [kept.add() for _ in range(20)]
                if not await _all_done(steps):
                    break
            # A small write may still find a place; a large one does not.
            large = "x" * 200_000
            await refused(kept.store.add_code(new_grant(redirect_uri=large)))
            await refused(kept.check_writable())
            assert await kept.find() is not None
        os.unlink(filler)
        await kept.is_whole()
        assert is_sound(folder)


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
        _write_for_ever(file)


def _write_for_ever(file: Any) -> None:
    while True:
        file.write(bytes(4096))


async def _all_done(steps: list[Deferred[Any]]) -> bool:
    return set(await gatherResults([error_of(step) for step in steps])) == {None}
