"""What the tests of real servers share; the rest of it is in `service_kit`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.register_assert_rewrite("service_kit")

from service_kit import Prepared, Server, prepare  # noqa: E402


@pytest.fixture(scope="session")
def prepared_once(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """A certificate and a database that all tests begin with copies of."""
    return prepare(tmp_path_factory.mktemp("prepared"))


@pytest.fixture
def prepared(prepared_once: Prepared, tmp_path: Path) -> Prepared:
    """The test's own folder with a certificate and a database."""
    return prepared_once.copy_to(tmp_path)


class Starter:
    """Starts servers, and ends at the end of the test those that still run."""

    def __init__(self, prepared: Prepared) -> None:
        self._prepared = prepared
        self._servers: list[Server] = []

    def begin(self, *options: str, **named: Any) -> Server:
        """Start a server, and do not wait for it."""
        server = Server.start(named.pop("prepared", self._prepared), *options, **named)
        self._servers.append(server)
        return server

    def __call__(self, *options: str, **named: Any) -> Server:
        """Start a server, and wait until it serves."""
        return self.begin(*options, **named).wait_until_ready(len(named.get("ports", ("",))))

    def end(self) -> None:
        """End all."""
        for server in self._servers:
            server.kill()


@pytest.fixture
def start(prepared: Prepared) -> Iterator[Starter]:
    """Start servers in the test's folder, which end with the test."""
    starter = Starter(prepared)
    yield starter
    starter.end()
