"""A database that starts later than the server, with a service manager that starts the server again."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest
from load_kit import TLS_SOCKET, inheriting
from outage_kit import PostgreSQL
from service_kit import DJOAUTH2, Prepared, Server, run
from waiting import PATIENCE

from djoauth2_twisted.cli.certificate import make_certificate

pytestmark = pytest.mark.outage


@pytest.fixture
def engine() -> Iterator[PostgreSQL]:
    """A PostgreSQL with our tables, which does not run."""
    engine = PostgreSQL()
    try:
        engine.start()
        engine.make()
        done = run(*DJOAUTH2, "--database", engine.url(), "database", "upgrade", folder=engine.folder)
        assert done.returncode == 0, done.stderr
        engine.kill()
        yield engine
    finally:
        engine.remove()


class Manager:
    """What systemd does with the units in ``deploy``, as far as a boot needs it.

    It keeps the socket, passes it to each process, and starts another one after a failure.
    """

    def __init__(self, folder: Path, database: str) -> None:
        self.prepared = Prepared(folder, "", "", "", "")
        self._options = ("--database", database)
        self._kept = socket.create_server(("127.0.0.1", 0))
        self._kept.set_inheritable(True)
        self._told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._told.bind(str(folder / "notify"))
        self._told.settimeout(PATIENCE)
        self.failed: list[str] = []

    def start(self) -> Server:
        """Start a process."""
        server = Server.start(
            self.prepared,
            *self._options,
            ports=(TLS_SOCKET,),
            program=inheriting(self._kept),
            pass_fds=(self._kept.fileno(),),
            variables={"NOTIFY_SOCKET": self._told.getsockname()},
        )
        server.ports = [self._kept.getsockname()[1]]
        return server

    def fail(self) -> Server:
        """Start a process that cannot come up, and wait for its end, which is a failure to systemd."""
        server = self.start()
        assert server.wait() == 1
        self.failed.append(server.errors.read_text("utf-8"))
        return server

    def told(self) -> bytes:
        """The next message of a process."""
        return self._told.recv(100)

    def close(self) -> None:
        """Close the sockets."""
        self._kept.close()
        self._told.close()


def test_a_server_comes_up_once_its_database_does(engine: PostgreSQL, tmp_path: Path) -> None:
    """A client that connected before is answered then, and READY=1 is not sent before."""
    (tmp_path / "server.pem").write_bytes(make_certificate("localhost"))
    manager = Manager(tmp_path, engine.url())
    server = manager.fail()
    healthy: list[bool] = []
    client = Thread(target=lambda: healthy.append(server.is_healthy()))
    client.start()
    try:
        manager.fail()
        assert healthy == []
        engine.start()
        server = manager.start()
        assert manager.told() == b"READY=1", server.text()
        client.join(PATIENCE)
        assert healthy == [True]
        server.stop()
        assert manager.told() == b"STOPPING=1"
    finally:
        server.kill()
        manager.close()
    for errors in manager.failed:
        (line,) = errors.splitlines()
        assert line.startswith("djoauth2: --database: "), errors
