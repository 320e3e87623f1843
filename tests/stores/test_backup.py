"""``djoauth2 database backup`` and ``restore``, and the copy before a migration."""

from __future__ import annotations

import json
import os
import pwd
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from database_kit import add_user, names_in, one_line
from twisted.internet import reactor as the_reactor
from twisted.logger import capturedLogs

from djoauth2_twisted.cli import main
from djoauth2_twisted.errors import ConfigurationError
from djoauth2_twisted.stores.contract import new_grant, new_issuance, proof_of
from djoauth2_twisted.stores.sql import schema, token_place, upgrade
from djoauth2_twisted.stores.sql.database import Database
from djoauth2_twisted.stores.sql.engines import sqlite_files
from djoauth2_twisted.stores.sql.engines.sqlite import SQLite
from djoauth2_twisted.stores.sql.tokens import SQLTokenStore

reactor: Any = the_reactor

LETTER = "This is a letter, not a database. " * 100


def done(path: Path, *arguments: str) -> Any:
    result = CliRunner().invoke(
        main,
        ["--database", f"sqlite:///{path}", "database", *arguments, "--json"],
        catch_exceptions=False,
    )
    assert (result.exit_code, result.stderr) == (0, "")
    return json.loads(result.stdout)


def refused(url: str, *arguments: str) -> str:
    result = CliRunner().invoke(
        main, ["--database", url, "database", *arguments], catch_exceptions=False
    )
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.count("\n") == 1
    return result.stderr.removeprefix("djoauth2: ").strip()


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    folder = tmp_path / "backups"
    folder.mkdir()
    return folder / "backup.db"


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@contextmanager
def locked(path: Path) -> Iterator[None]:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


async def test_a_backup_has_what_is_committed_while_the_database_is_in_use(
    database: Database, path: Path, backup: Path
) -> None:
    await database.write(add_user, "alice", key="")
    with locked(path):
        assert done(path, "backup", str(backup)) == {"file": str(backup)}
    assert names_in(backup) == ["alice"]
    assert files_in(backup.parent) == ["backup.db"], "it is one file, without a log"


async def test_the_second_backup_replaces_the_first(
    database: Database, path: Path, backup: Path
) -> None:
    for name in ("alice", "bob"):
        await database.write(add_user, name, key="")
        done(path, "backup", str(backup))
    assert names_in(backup) == ["alice", "bob"]
    assert files_in(backup.parent) == ["backup.db"]


async def test_a_backup_that_fails_leaves_the_one_before(
    database: Database, path: Path, backup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await database.write(add_user, "alice", key="")
    done(path, "backup", str(backup))

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    await database.write(add_user, "bob", key="")
    monkeypatch.setattr(os, "fsync", fail)
    said = refused(f"sqlite:///{path}", "backup", str(backup))
    assert said == f"{backup} cannot be written: No space left on device"
    assert names_in(backup) == ["alice"]
    assert files_in(backup.parent) == ["backup.db"]


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
async def test_backup_and_restore_keep_owner_and_mode(
    database: Database, path: Path, backup: Path
) -> None:
    """What root restores, the server can write."""
    nobody = pwd.getpwnam("nobody")
    await database.write(add_user, "alice", key="")
    os.chown(path, nobody.pw_uid, nobody.pw_gid)
    path.chmod(0o640)
    done(path, "backup", str(backup))
    assert done(path, "restore", str(backup)) == {"file": str(backup), "restart": False}
    path_of_damaged = path.with_name("damaged.db")
    path_of_damaged.write_text(LETTER)
    os.chown(path_of_damaged, nobody.pw_uid, nobody.pw_gid)
    path_of_damaged.chmod(0o660)
    assert done(path_of_damaged, "restore", str(backup))["restart"] is True
    for file, mode in ((path, 0o640), (backup, 0o640), (path_of_damaged, 0o660)):
        status = file.stat()
        assert (status.st_uid, status.st_gid) == (nobody.pw_uid, nobody.pw_gid)
        assert stat.S_IMODE(status.st_mode) == mode


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
async def test_a_file_that_is_missing_is_restored_for_the_folders_owner(
    database: Database, path: Path, backup: Path, tmp_path: Path
) -> None:
    done(path, "backup", str(backup))
    nobody = pwd.getpwnam("nobody")
    folder = tmp_path / "var"
    folder.mkdir()
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    assert done(folder / "new.db", "restore", str(backup))["restart"] is True
    status = (folder / "new.db").stat()
    assert (status.st_uid, stat.S_IMODE(status.st_mode)) == (nobody.pw_uid, 0o600)


async def test_a_restore_reaches_a_server_that_runs(
    database: Database, path: Path, backup: Path
) -> None:
    """It continues with what was restored, reads and writes."""
    await database.write(add_user, "alice", key="")
    done(path, "backup", str(backup))
    await database.write(add_user, "bob", key="")
    identity = path.stat().st_ino
    assert done(path, "restore", str(backup)) == {"file": str(backup), "restart": False}
    assert path.stat().st_ino == identity
    count = sa.select(sa.func.count()).select_from(schema.user)
    assert await database.read(lambda connection: connection.scalar(count)) == 1
    await database.write(add_user, "carol", key="")
    assert names_in(path) == ["alice", "carol"]
    assert files_in(path.parent) == ["backups", "store.db", "store.db-shm", "store.db-wal"]


async def test_a_restore_empties_the_caches_of_access_tokens_and_clients(
    database: Database, path: Path, backup: Path
) -> None:
    """A token that the restored database does not know is not let in from memory."""
    done(path, "backup", str(backup))
    tokens, grant, issuance = SQLTokenStore(database), new_grant(), new_issuance()
    await tokens.add_code(grant)
    await tokens.redeem_code(grant.code_digest, proof_of(grant), issuance)
    await tokens.revoke_grant(grant.id)
    channel = SQLite(path).invalidations
    assert channel is not None
    with SQLite(path).connect(writes=False) as connection:
        assert channel.poll(connection) is None
        connection.rollback()
        assert channel.poll(connection) == set()
        connection.rollback()
        done(path, "restore", str(backup))
        assert channel.poll(connection) is None
    assert await tokens.find_grant(grant.id) is None


async def test_a_restore_keeps_where_the_server_keeps_the_tokens(
    database: Database, path: Path, backup: Path
) -> None:
    """A backup from before the tokens were elsewhere does not say that they are here."""
    await database.record_place("")
    done(path, "backup", str(backup))
    with capturedLogs():
        await database.record_place("redis://host:6379/0")
    done(path, "restore", str(backup))
    assert await database.read(token_place.find) == "redis://host:6379/0"


async def test_a_backup_says_that_the_tokens_are_not_in_it(
    database: Database, path: Path, backup: Path
) -> None:
    await database.record_place("redis://host:6379/0")
    result = CliRunner().invoke(
        main, ["--database", f"sqlite:///{path}", "database", "backup", str(backup)]
    )
    assert result.stdout.endswith("The grants and tokens are in redis://host:6379/0, and not in it.\n")
    assert files_in(backup.parent) == ["backup.db"]


async def test_a_restore_of_a_locked_database_gives_up(
    database: Database, path: Path, backup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done(path, "backup", str(backup))
    await database.write(add_user, "alice", key="")
    monkeypatch.setattr(sqlite_files, "RESTORE_WAIT", 0)
    with locked(path):
        said = refused(f"sqlite:///{path}", "restore", str(backup))
    assert said == f"{path} cannot be written: another process keeps it locked"
    assert names_in(path) == ["alice"]


def test_a_backup_of_an_older_release_is_upgraded_as_it_is_restored(path: Path, backup: Path) -> None:
    plant(backup, "0001")
    assert done(path, "restore", str(backup))["restart"] is True
    assert Database(reactor, f"sqlite:///{path}").version() == schema.HEAD
    assert names_in(path) == ["alice"]
    assert Database(reactor, f"sqlite:///{backup}").version() == "0001"


async def test_a_backup_of_a_newer_release_is_refused(
    database: Database, path: Path, backup: Path
) -> None:
    done(path, "backup", str(backup))
    with closing(sqlite3.connect(backup)) as newer, newer:
        newer.execute("UPDATE djoauth2_alembic_version SET version_num = '9999'")
    await database.write(add_user, "alice", key="")
    assert "schema 9999" in refused(f"sqlite:///{path}", "restore", str(backup))
    assert names_in(path) == ["alice"]


def test_what_is_no_backup_is_refused(path: Path, backup: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{path}"
    assert refused(url, "restore", str(backup)) == f"there is no backup {backup}"
    backup.write_text(LETTER)
    assert "file is not a database" in refused(url, "restore", str(backup))
    backup.write_bytes(b"")
    assert "is not a backup" in refused(url, "restore", str(backup))
    with closing(sqlite3.connect(backup)) as theirs:
        theirs.execute("CREATE TABLE theirs (id)")
    assert "is not a backup" in refused(url, "restore", str(backup))
    assert files_in(tmp_path) == ["backups"]
    assert files_in(backup.parent) == ["backup.db"]


def test_what_cannot_be_backed_up(path: Path, backup: Path) -> None:
    url = f"sqlite:///{path}"
    assert refused(url, "backup", str(backup)) == f"there is no database {path}"
    path.write_text(LETTER)
    assert "file is not a database" in refused(url, "backup", str(backup))
    assert "is the database itself" in refused(url, "backup", str(path))
    assert "is not a file" in refused(url, "backup", os.devnull)
    assert "is not a file" in refused(url, "backup", str(backup.parent))
    assert "No such file" in refused(url, "backup", str(backup.parent / "missing" / "b.db"))
    assert "in memory" in refused("sqlite://", "backup", str(backup))
    assert files_in(backup.parent) == []


@pytest.mark.parametrize(
    ("url", "tools"),
    [
        ("postgresql://u:SECRET@host/name", ("pg_dump", "pg_restore")),
        ("mysql://u:SECRET@host/name", ("mariadb-dump", "mariadb name <")),
    ],
)
def test_servers_have_tools_of_their_own(url: str, tools: tuple[str, str], backup: Path) -> None:
    for verb, tool in zip(("backup", "restore"), tools, strict=True):
        said = refused(url, verb, str(backup))
        assert f"use `{tool}" in said
        assert "SECRET" not in said


# Before a migration.


def plant(path: Path, version: str) -> None:
    """A database of an earlier release, with a user."""
    engine = sa.create_engine(f"sqlite:///{path}", poolclass=sa.pool.NullPool)
    with engine.begin() as connection:
        upgrade.migrate(connection, version)
        connection.exec_driver_sql(
            "INSERT INTO djoauth2_user (username, password_hash, email, first_name, last_name, admin, "
            "disabled) VALUES ('alice', '', '', '', '', 0, 0)"
        )


async def test_an_older_file_is_kept_before_it_is_upgraded(path: Path) -> None:
    plant(path, "0003")
    path.chmod(0o640)
    kept = path.with_name(f"store.db.before-{schema.HEAD}")
    database = Database(reactor, f"sqlite:///{path}")
    with capturedLogs() as logged:
        database.open()
    await database.close()
    [event] = [event for event in logged if "upgraded_from" in event]
    assert (event["upgraded_from"], event["version"], event["kept"]) == ("0003", schema.HEAD, kept)
    assert stat.S_IMODE(kept.stat().st_mode) == 0o640
    assert Database(reactor, f"sqlite:///{path}").version() == schema.HEAD
    assert Database(reactor, f"sqlite:///{kept}").version() == "0003"
    assert names_in(kept) == names_in(path) == ["alice"]


async def test_a_new_file_has_nothing_to_keep(path: Path) -> None:
    database = Database(reactor, f"sqlite:///{path}")
    with capturedLogs() as logged:
        database.open()
    await database.close()
    assert files_in(path.parent) == ["store.db"]
    assert not [event for event in logged if "upgraded_from" in event]


def test_without_room_for_the_copy_nothing_is_upgraded(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(path, "0003")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(ConfigurationError) as raised:
        Database(reactor, f"sqlite:///{path}").open()
    assert "No space left" in one_line(raised)
    assert Database(reactor, f"sqlite:///{path}").version() == "0003"
    assert [name for name in files_in(path.parent) if "before" in name] == []


def test_a_newer_file_is_neither_changed_nor_copied(path: Path) -> None:
    """There is no downgrade."""
    plant(path, schema.HEAD)
    with closing(sqlite3.connect(path)) as newer, newer:
        newer.execute("UPDATE djoauth2_alembic_version SET version_num = '9999'")
    for prepare in (None, True, False):
        with pytest.raises(ConfigurationError, match="schema 9999"):
            Database(reactor, f"sqlite:///{path}").open(prepare)
    assert Database(reactor, f"sqlite:///{path}").version() == "9999"
    assert [name for name in files_in(path.parent) if "before" in name] == []
