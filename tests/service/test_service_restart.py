"""F-34: restarts under load. No request is lost, and none gets 503."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from load_kit import TLS_SOCKET, Load, inheriting, two_behind_haproxy
from service_kit import Prepared, Server, free_port, is_listening
from waiting import wait_for

pytestmark = pytest.mark.process

#: Requests a second, the most that are in flight, and how many are answered between two steps.
RATE, MAX_AT_ONCE, BETWEEN = 50, 10, 25


@pytest.fixture
def kept() -> Iterator[socket.socket]:
    """A socket that outlives the servers."""
    with socket.create_server(("127.0.0.1", 0), backlog=socket.SOMAXCONN) as kept:
        kept.set_inheritable(True)
        yield kept


def begin(start: Any, kept: socket.socket, name: str) -> Server:
    """Start a server at a socket."""
    server: Server = start.begin(
        ports=(TLS_SOCKET,), program=inheriting(kept), pass_fds=(kept.fileno(),), log=name
    )
    server.ports = [kept.getsockname()[1]]
    return server


def serving(server: Server) -> Server:
    """A server, once it accepts connections."""
    wait_for(lambda: "Serving" in server.text(), "the start", server.text)
    return server


def is_asked(server: Server) -> bool:
    """Whether a server has got calls of the API."""
    return "user_info" in server.text()


class Loaded:
    """A server that is under load."""

    def __init__(self, server: Server) -> None:
        self.load = Load(server, RATE, MAX_AT_ONCE)
        self.load.prepare(5)

    def __enter__(self) -> Loaded:
        self.load.start()
        self.wait()
        return self

    def wait(self) -> None:
        """Wait for some more answers."""
        most = len(self.load.waits) + BETWEEN
        wait_for(lambda: len(self.load.waits) >= most, "answers", lambda: self.load.outcomes)

    def __exit__(self, *_: object) -> None:
        self.load.stop()


@pytest.mark.parametrize("overlapping", [False, True], ids=["one after the other", "both at once"])
def test_a_restart_with_a_socket_of_systemd_loses_no_request(start, kept, overlapping: bool) -> None:
    """While no server runs, connections wait at the socket."""
    servers = [serving(begin(start, kept, "first"))]
    with Loaded(servers[0]) as loaded:
        for name in ("second", "third"):
            if overlapping:
                servers.append(serving(begin(start, kept, name)))
                loaded.wait()
                assert servers[-2].stop() == -signal.SIGTERM
            else:
                assert servers[-1].stop() == -signal.SIGTERM
                servers.append(serving(begin(start, kept, name)))
            loaded.wait()
    assert set(loaded.load.outcomes) == {"200"}, loaded.load.outcomes
    assert all(is_asked(server) for server in servers)
    assert servers[-1].stop() == -signal.SIGTERM


def test_a_connection_that_comes_during_the_start_is_answered(start, kept) -> None:
    """It waits, and it is not told 503."""
    server = begin(start, kept, "std")
    assert server.is_healthy()


@pytest.mark.skipif(
    shutil.which("haproxy", path="/usr/sbin:/usr/bin") is None and not os.environ.get("CI"),
    reason="HAProxy is not installed",
)
def test_a_rolling_restart_behind_haproxy_loses_no_request(start, prepared: Prepared) -> None:
    """Each of two servers is stopped and started, with the configuration in deploy."""
    ports = [free_port() for _ in range(3)]

    def start_one(number: int, log: str) -> Server:
        endpoint = f"tcp:{ports[number]}:interface=127.0.0.1"
        return serving(start.begin("--trusted-proxy", "127.0.0.1", ports=(endpoint,), log=log))

    servers = [start_one(1, "one"), start_one(2, "two")]
    haproxy = subprocess.Popen(two_behind_haproxy(prepared.folder, ports[0], ports[1:]), stderr=-3)
    try:
        wait_for(lambda: is_listening(ports[0]), "HAProxy")
        front = Server(prepared, servers[0].process, servers[0].log, servers[0].errors, [ports[0]])
        wait_for(front.is_healthy, "readiness", front.text)
        with Loaded(front) as loaded:
            for number in (0, 1):
                assert servers[number].stop() == -signal.SIGTERM
                loaded.wait()
                started = start_one(number + 1, f"next{number}")
                # HAProxy sends it requests again after two checks.
                wait_for(partial(is_asked, started), "its part", front.text)
    finally:
        haproxy.terminate()
        haproxy.wait()
    assert set(loaded.load.outcomes) == {"200"}, loaded.load.outcomes
