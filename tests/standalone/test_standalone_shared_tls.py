"""TLS shares each turn of the reactor between the addresses of clients, by real handshakes in memory.

A turn is one step of the clock. Each piece of work takes a whole share.
"""

from __future__ import annotations

import ssl
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tls_kit import KEYS, Listening, Transport, certificate, key_pem
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import PrivateCertificate
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from djoauth2_twisted.standalone.shared_tls import TLSFactory
from djoauth2_twisted.web.sharing import SHARE

GREEDY, OTHER = "192.0.2.9", "192.0.2.2"


class SlowClock(Clock):
    """Work takes a share: the time moves at each reading."""

    def seconds(self) -> float:
        self.rightNow: float = self.rightNow + SHARE
        return self.rightNow


class Wire(Transport):
    """A server's end in memory, which knows whether it is read."""

    is_read = True

    def pauseProducing(self) -> None:
        self.is_read = False

    def resumeProducing(self) -> None:
        self.is_read = True


class Client:
    """A client in memory, and its connection at the server."""

    def __init__(self, factory: TLSFactory, address: str) -> None:
        peer = IPv4Address("TCP", address, 1)
        self.server: Any = factory.buildProtocol(peer)
        self.wire = Wire(peerAddress=peer)
        self.server.makeConnection(self.wire)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self.tls = context.wrap_bio(self._incoming, self._outgoing)

    def step(self) -> bool:
        """Send the next bytes of the handshake. Returns whether the server has answered."""
        with suppress(ssl.SSLWantReadError):
            self.tls.do_handshake()
        self.server.dataReceived(self._outgoing.read())
        return self.read()

    def say(self, text: bytes) -> None:
        """Send some bytes, encrypted."""
        self.tls.write(text)
        self.server.dataReceived(self._outgoing.read())

    def read(self) -> bool:
        """Take what the server has sent. Returns whether there was anything."""
        sent = self.wire.value()
        self.wire.clear()
        self._incoming.write(sent)
        return bool(sent)


class Bench:
    """A server in memory that keeps what its clients say."""

    def __init__(self, pem: bytes) -> None:
        self.clock = SlowClock()
        self.said: list[bytes] = []
        said = self.said

        class Listener(Protocol):
            def dataReceived(self, data: bytes) -> None:
                said.append(data)

        options = PrivateCertificate.loadPEM(pem).options()
        self.factory = TLSFactory(options, Factory.forProtocol(Listener), self.clock)

    def connect(self, address: str = GREEDY) -> Client:
        """A new connection."""
        return Client(self.factory, address)

    def connected(self, address: str = GREEDY) -> Client:
        """A connection with a complete handshake."""
        client = self.connect(address)
        for _ in range(2):
            client.step()
            self.turn()
            client.read()
        return client

    def turn(self) -> None:
        """Let one turn of the reactor pass."""
        for call in list(self.clock.calls):
            self.clock.calls.remove(call)
            call.called = 1
            call.func(*call.args, **call.kw)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(key_pem(KEYS["ec"]) + certificate("a.example"))


def test_handshakes_beyond_the_share_of_their_address_wait_for_the_next_turns(bench: Bench) -> None:
    clients = [bench.connect() for _ in range(3)]
    assert [client.step() for client in clients] == [True, False, False]
    assert [client.wire.is_read for client in clients] == [True, False, False]
    bench.turn()
    assert [client.read() for client in clients] == [False, True, False]
    assert clients[1].wire.is_read
    bench.turn()
    assert clients[2].read()


def test_waiting_bytes_that_cannot_be_handled_end_their_connection_alone(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, logged_failures: Any
) -> None:
    clients = [bench.connect() for _ in range(3)]
    for client in clients:
        client.step()

    def fail() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(clients[1].server, "_checkHandshakeStatus", fail)
    bench.turn()
    bench.turn()
    assert [client.wire.aborted for client in clients] == [False, True, False]
    assert clients[2].read()
    assert len(logged_failures.take(ZeroDivisionError)) == 1


def test_handshake_of_another_address_does_not_wait(bench: Bench) -> None:
    for _ in range(5):
        bench.connect().step()
    assert bench.connect(OTHER).step()


def test_established_connections_do_not_wait_behind_the_handshakes_of_many_addresses(
    bench: Bench,
) -> None:
    bystander = bench.connected(OTHER)
    clients = [bench.connect(f"198.51.100.{number}") for number in range(5)]
    answered = [client.step() for client in clients]
    assert answered == [True, True, False, False, False]
    bystander.say(b"other")
    assert bench.said == [b"other"]
    bench.turn()
    assert [client.read() for client in clients] == [False, False, True, True, False]


def test_tls_and_the_requests_behind_it_have_one_share(tmp_path: Path) -> None:
    (tmp_path / "server.pem").write_bytes(key_pem(KEYS["ec"]) + certificate("a.example"))
    listening = Listening(f"ssl:443:{tmp_path}/server.pem")
    factory: Any = listening.reactor.tcpServers[0][1]
    assert factory.shares is factory.wrappedFactory.site.shares


def test_bytes_of_established_connections_wait_too(bench: Bench) -> None:
    clients = [bench.connected() for _ in range(2)]
    bystander = bench.connected(OTHER)
    clients[0].say(b"first")
    clients[1].say(b"second")
    bystander.say(b"other")
    assert bench.said == [b"first", b"other"]
    bench.turn()
    assert bench.said == [b"first", b"other", b"second"]


def test_waiting_bytes_are_taken_in_their_order(bench: Bench) -> None:
    first, second = bench.connected(), bench.connected()
    first.say(b"1")
    second.say(b"2")
    second.say(b"3")
    bench.turn()
    assert b"".join(bench.said) == b"123"


def test_turn_does_not_resume_what_the_protocol_has_paused(bench: Bench) -> None:
    """The protocol pauses reading while it holds too many bytes."""
    first, second = bench.connected(), bench.connected()
    first.say(b"1")
    second.say(b"2")
    second.server.pauseProducing()
    bench.turn()
    assert bench.said == [b"1", b"2"]
    assert not second.wire.is_read
    second.server.resumeProducing()
    assert second.wire.is_read


def test_protocol_does_not_resume_reading_before_the_turn(bench: Bench) -> None:
    first, second = bench.connected(), bench.connected()
    first.say(b"1")
    second.say(b"2")
    second.server.resumeProducing()
    assert not second.wire.is_read
    bench.turn()
    assert second.wire.is_read


def test_lost_connection_gives_up_its_turn(bench: Bench) -> None:
    clients = [bench.connected() for _ in range(3)]
    for number, client in enumerate(clients):
        client.say(b"%d" % number)
    clients[1].server.connectionLost(Failure(ConnectionDone()))
    bench.turn()
    assert bench.said == [b"0", b"2"]


def test_failure_of_one_connection_does_not_keep_others_from_their_turn(
    bench: Bench, logged_failures: Any
) -> None:
    clients = [bench.connected(address) for address in (GREEDY, GREEDY, OTHER, OTHER)]
    for number, client in enumerate(clients):
        client.say(b"%d" % number)
    clients[1].server.wrappedProtocol.dataReceived = None
    bench.turn()
    assert bench.said == [b"0", b"2", b"3"]
    assert len(logged_failures.take(TypeError)) == 1
