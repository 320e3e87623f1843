"""Sockets that systemd has opened: how they are named, their TLS, and their files."""

from __future__ import annotations

import errno
import os
import select
import socket
import ssl
import stat
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import pytest_twisted
from reactors import reactor
from twisted.internet.endpoints import _SystemdParser
from twisted.internet.threads import deferToThread
from twisted.python.systemd import ListenFDs
from twisted.python.usage import UsageError
from twisted.web.resource import Resource
from waiting import PATIENCE

from djoauth2_twisted.cli.certificate import make_certificate
from djoauth2_twisted.conf import Settings
from djoauth2_twisted.errors import ConfigurationError
from djoauth2_twisted.protocol.forwarding import TrustedProxies
from djoauth2_twisted.standalone.connections import Connections
from djoauth2_twisted.standalone.endpoint_strings import HardenedEndpoint, check_reachable
from djoauth2_twisted.standalone.inherited import split
from djoauth2_twisted.standalone.ports import Port
from djoauth2_twisted.web.site import LimitedSite

PLAIN = "systemd:domain=INET:name=https"
TLS = "systemd:domain=INET:name=https:privateKey=server.pem"


@pytest.mark.parametrize(
    ("description", "expected"),
    [
        ("ssl:443:privateKey=k.pem", ("ssl:443:privateKey=k.pem", "")),
        (PLAIN, (PLAIN, "")),
        ("systemd:INET:0", ("systemd:INET:0", "")),
        (TLS, (PLAIN, "ssl:0:privateKey=server.pem")),
        (
            r"systemd:privateKey=C\:k.pem:domain=INET6:certKey=c.pem:index=0",
            ("systemd:domain=INET6:index=0", r"ssl:0:privateKey=C\:k.pem:certKey=c.pem"),
        ),
    ],
)
def test_certificates_are_split_off(description: str, expected: tuple[str, str]) -> None:
    assert split(description) == expected


@pytest.mark.parametrize(
    ("port", "proxies", "serves"),
    [
        (PLAIN, (), False),
        (PLAIN, ("127.0.0.1",), True),
        (TLS, (), True),
        (f"haproxy:{TLS}", ("127.0.0.1",), True),
        (f"haproxy:{PLAIN}", ("127.0.0.1",), False),
    ],
)
def test_a_socket_without_tls_needs_a_proxy(port: str, proxies: tuple[str, ...], serves: bool) -> None:
    settings = Settings(trusted_proxies=proxies)
    if serves:
        check_reachable([port], settings)
    else:
        with pytest.raises(ConfigurationError, match="it has no TLS"):
            check_reachable([port], settings)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, which has a certificate."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "server.pem").write_bytes(make_certificate("localhost"))
    return tmp_path


@pytest.fixture
def listening(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A socket that a service manager keeps, and passes to this process with the name "https"."""
    with socket.create_server(("127.0.0.1", 0)) as kept:
        _pass(kept, monkeypatch)
        yield kept


def _pass(kept: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_SystemdParser, "_sddaemon", ListenFDs([os.dup(kept.fileno())], ["https"]))


class Served:
    """A site at an endpoint."""

    def __init__(self, description: str, proxies: tuple[str, ...] = ()) -> None:
        endpoint = HardenedEndpoint(reactor, description, TrustedProxies.of(proxies))
        connections = Connections(LimitedSite(Resource(), reactor))
        self.port = Port(description, endpoint, connections, endpoint)

    async def __aenter__(self) -> Port:
        self.port.listen()
        self.port.accept()
        return self.port

    async def __aexit__(self, *_: object) -> None:
        await self.port.stop()


def shown(kept: socket.socket, before: bytes = b"") -> str:
    """The certificate that a client is shown.

    :param before: what is sent before the handshake.
    """
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(kept.getsockname(), PATIENCE) as plain:
        plain.sendall(before)
        with context.wrap_socket(plain, server_hostname="localhost") as client:
            found = client.getpeercert(binary_form=True)
    assert found
    return ssl.DER_cert_to_PEM_cert(found)


@pytest_twisted.ensureDeferred
async def test_tls_at_a_socket_of_systemd(listening: socket.socket, folder: Path):
    """Its certificates are read again, and the socket lives on after the server."""
    async with Served(TLS) as port:
        assert await deferToThread(shown, listening) in (folder / "server.pem").read_text()
        (folder / "server.pem").write_bytes(make_certificate("localhost"))
        port.look()
        assert await deferToThread(shown, listening) in (folder / "server.pem").read_text()
    with socket.create_connection(listening.getsockname()):
        listening.accept()[0].close()


@pytest_twisted.ensureDeferred
async def test_the_proxy_protocol_comes_before_tls(listening: socket.socket, folder: Path):
    before = b"PROXY TCP4 192.0.2.1 192.0.2.2 1 443\r\n"
    async with Served(f"haproxy:{TLS}", ("127.0.0.1",)):
        certificate = await deferToThread(shown, listening, before)
    assert certificate in (folder / "server.pem").read_text()


@pytest_twisted.ensureDeferred
async def test_more_connections_than_twisted_allows_wait_to_be_accepted():
    served = Served("tcp:0:interface=127.0.0.1", ("127.0.0.1",))
    served.port.listen()
    address = ("127.0.0.1", int(served.port.number))
    waiting = [socket.create_connection(address, PATIENCE) for _ in range(200)]
    for client in waiting:
        client.close()
    served.port.accept()
    await served.port.stop()


@pytest_twisted.ensureDeferred
async def test_the_service_manager_says_how_many_may_wait_at_its_socket(listening: socket.socket):
    listening.listen(1)
    served = Served(PLAIN, ("127.0.0.1",))
    served.port.listen()
    with ExitStack() as waiting:
        for _ in range(2):
            waiting.enter_context(socket.create_connection(listening.getsockname(), PATIENCE))
        with socket.socket() as further:
            further.setblocking(False)
            # The system ignores it for now.
            assert further.connect_ex(listening.getsockname()) == errno.EINPROGRESS
            assert not select.select([], [further], [], 0)[1]
    served.port.accept()
    await served.port.stop()


@pytest.mark.parametrize(
    ("description", "words"),
    [
        ("systemd:domain=INET:name=http:privateKey=server.pem", "systemd has not passed such a socket"),
        ("systemd:domain=INET:name=https:privateKey=gone.pem", "there is no file"),
        ("systemd:domain=INET:name=https:orange=1", "unexpected keyword argument 'orange'"),
        ("systemd:domain=ORANGE:name=https:privateKey=server.pem", "AF_ORANGE"),
    ],
)
def test_mistakes_are_told(listening: socket.socket, description: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        HardenedEndpoint(reactor, description)


@pytest_twisted.ensureDeferred
async def test_the_file_of_a_unix_socket_stays_as_it_is(folder: Path, monkeypatch: pytest.MonkeyPatch):
    """Twisted would open it for everyone, and delete it at the end."""
    path = folder / "its.socket"
    with socket.socket(socket.AF_UNIX) as kept:
        kept.bind(str(path))
        kept.listen(200)
        path.chmod(0o660)
        _pass(kept, monkeypatch)
        async with Served("systemd:domain=UNIX:name=https", ("unix",)):
            assert stat.S_IMODE(path.stat().st_mode) == 0o660
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            kept.accept()[0].close()
