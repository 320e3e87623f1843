"""Database servers of a test's own, which it may kill and start again."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import hiredis
import pytest
import sqlalchemy as sa
from service_kit import free_port
from waiting import PATIENCE, wait_for


def program(name: str, *places: str) -> str:
    """The path of a program. Without it the test is skipped, but not where everything is tried."""
    found = shutil.which(name)
    for pattern in places:
        found = found or max(map(str, Path("/").glob(pattern)), default=None)
    if found is None:
        assert not os.environ.get("CI"), f"there is no {name} here"
        pytest.skip(f"there is no {name} here")
    return found


class Engine:
    """A server process on a folder of its own, where what it keeps is kept."""

    #: Whom the process runs as where the test is root's, for some refuse to be.
    user: str | None = None

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self._user = self.user if os.geteuid() == 0 else None
        if self._user:
            shutil.chown(folder, self._user)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it is."""
        raise NotImplementedError

    def command(self) -> list[str]:
        """What starts it."""
        raise NotImplementedError

    def create(self) -> None:
        """Make what it keeps its data in."""

    def answers(self) -> bool:
        """Whether it can be used."""
        raise NotImplementedError

    def run(self, *command: str) -> None:
        """Run one of its programs until that ends."""
        done = subprocess.run(
            command, user=self._user, cwd=self.folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def start(self) -> None:
        """Start it, and wait until it answers."""
        wait_for(self._is_up, "an answer", self.text)

    def _is_up(self) -> bool:
        # One that was killed may have left something behind that has not noticed yet.
        if self._process is None or self._process.poll() is not None:
            with (self.folder / "engine.log").open("ab") as log:
                self._process = subprocess.Popen(
                    self.command(), user=self._user, cwd=self.folder, stdout=log, stderr=log
                )
        return self.answers()

    def text(self) -> str:
        """All that it has written."""
        return (self.folder / "engine.log").read_text("utf-8", "replace")

    def kill(self) -> None:
        """End it without warning."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


class SQLServer(Engine):
    """An engine that SQLAlchemy knows."""

    def answers(self) -> bool:
        engine = sa.create_engine(self.url, poolclass=sa.pool.NullPool)
        with suppress(sa.exc.DBAPIError), engine.connect() as connection:
            return bool(connection.scalar(sa.text("SELECT 1")))
        return False


class PostgreSQL(SQLServer):
    """`synchronous_commit` and `fsync` are on, as they are by default."""

    user = "postgres"

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/postgres"

    def create(self) -> None:
        initdb = program("initdb", "usr/lib/postgresql/*/bin/initdb")
        self.run(initdb, "-D", "data", "-U", "postgres", "-A", "trust", "-E", "UTF8")

    def command(self) -> list[str]:
        postgres = program("postgres", "usr/lib/postgresql/*/bin/postgres")
        options = ["-p", str(self.port), "-k", str(self.folder), "-h", "127.0.0.1"]
        return [postgres, "-D", str(self.folder / "data"), *options]


class MariaDB(SQLServer):
    """`innodb_flush_log_at_trx_commit` is 1, as it is by default."""

    user = "mysql"

    @property
    def url(self) -> str:
        return f"mysql+pymysql://root@127.0.0.1:{self.port}/test"

    def create(self) -> None:
        install = program("mariadb-install-db")
        self.run(
            install,
            "--no-defaults",
            "--auth-root-authentication-method=normal",
            f"--datadir={self.folder / 'data'}",
        )

    def command(self) -> list[str]:
        return [
            program("mariadbd", "usr/sbin/mariadbd"),
            "--no-defaults",
            f"--datadir={self.folder / 'data'}",
            f"--socket={self.folder / 'socket'}",
            f"--pid-file={self.folder / 'pid'}",
            f"--port={self.port}",
            "--bind-address=127.0.0.1",
        ]


class Redis(Engine):
    """Each write is on the disk before it is answered."""

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def command(self) -> list[str]:
        options = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "dir": str(self.folder),
            "appendonly": "yes",
            "appendfsync": "always",
            "save": "",
            "maxmemory-policy": "noeviction",
        }
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        return [program("redis-server"), *words]

    def answers(self) -> bool:
        with suppress(OSError):
            return bool(self.ask("PING") == b"PONG")
        return False

    def ask(self, *words: str) -> Any:
        """What it answers to a command."""
        reader = hiredis.Reader()
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE) as connection:
            connection.sendall(hiredis.pack_command(words))  # type: ignore[arg-type]
            while (answer := reader.gets()) is False:
                part = connection.recv(1 << 16)
                if not part:
                    raise ConnectionError("Redis hung up")
                reader.feed(part)
        return answer


@contextmanager
def running(kind: Any) -> Iterator[Any]:
    """An engine that runs, with nothing in it."""
    # Its user must get there, and may not enter the folders of the tests.
    folder = Path(tempfile.mkdtemp(prefix="djoauth2-"))
    folder.chmod(0o755)
    engine = kind(folder)
    try:
        engine.create()
        engine.start()
        yield engine
    finally:
        engine.kill()
        _remove(folder)


def _remove(folder: Path) -> None:
    def is_gone() -> bool:
        # A child of an engine that was killed may still write.
        shutil.rmtree(folder, ignore_errors=True)
        return not folder.exists()

    wait_for(is_gone, "the end of the folder")
