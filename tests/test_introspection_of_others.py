"""`IntrospectionClient` and other servers: what they answer, how they close, where they are asked.

The server of these tests is a few lines over real sockets. It knows nothing of ours.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
import pytest_twisted
from attrs import define, field
from twisted.internet import reactor as the_reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.logger import capturedLogs

from djoauth2_twisted import IntrospectionClient, Settings
from djoauth2_twisted.cli.certificate import make_certificate
from djoauth2_twisted.errors import ConfigurationError, InvalidToken, TemporarilyUnavailable
from djoauth2_twisted.models import AccessToken
from djoauth2_twisted.protocol.introspection import UNDATED_SECONDS
from djoauth2_twisted.stores.contract.steps import until

reactor: Any = the_reactor

METADATA = "/.well-known/oauth-authorization-server"
INTROSPECTION = "/connect/introspect"


class Connection(Protocol):
    """Reads requests with a body of known length, and answers them, or closes."""

    factory: OtherServer
    transport: Any

    def __init__(self) -> None:
        self._received = b""
        self._requests = 0

    def connectionMade(self) -> None:
        self.factory.connections.append(self)

    def connectionLost(self, reason: Any = None) -> None:
        self.factory.connections.remove(self)
        if self.factory.closed is not None and not self.factory.connections:
            self.factory.closed.callback(None)

    def dataReceived(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        lengths = [line.split(":")[1] for line in lines if line.lower().startswith("content-length")]
        length = int(lengths[0]) if lengths else 0
        if not end or len(body) < length:
            return
        self._received = body[length:]
        self._requests += 1
        path = lines[0].split(" ")[1]
        self.factory.asked.append(path)
        self.factory.answer(self, self._requests, path, body[:length].decode())

    def say(self, members: object) -> None:
        """Answer with JSON, and keep the connection."""
        content = members if isinstance(members, bytes) else json.dumps(members).encode()
        head = "HTTP/1.1 200 OK", "Content-Type: application/json", f"Content-Length: {len(content)}"
        self.transport.write("\r\n".join([*head, "", ""]).encode() + content)


@define(eq=False)
class OtherServer(Factory):
    """An authorization server that is not ours."""

    protocol: Any = Connection
    address: str = ""
    metadata: dict[str, str] = field(factory=dict)
    asked: list[str] = field(factory=list)
    connections: list[Connection] = field(factory=list)
    closed: Deferred[None] | None = None
    #: What it says of every token.
    members: Any = None
    #: Takes the place of an answer to a request: it gets the connection and the number of the request
    #: there, and says whether it has dealt with it.
    before: Callable[[Connection, int], bool] = lambda connection, number: False

    def answer(self, connection: Connection, number: int, path: str, body: str) -> None:
        if self.before(connection, number):
            return
        if path == METADATA:
            connection.say(self.metadata)
        else:
            assert path == INTROSPECTION
            assert list(parse_qs(body)) == ["token"]
            connection.say(self.members)


class Ahead:
    """The real reactor, with a clock that can be put forward."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def seconds(self) -> float:
        return float(reactor.seconds() + self.ahead)

    def __getattr__(self, name: str) -> Any:
        return getattr(reactor, name)


@define
class World:
    server: OtherServer
    clock: Any  #: an `Ahead`
    clients: list[IntrospectionClient] = field(factory=list)

    def client(self, issuer: str | None = None, **named: Any) -> IntrospectionClient:
        settings = Settings(ssl_only=self.server.address.startswith("https"))
        client = IntrospectionClient(
            self.clock, issuer or self.server.address, "id", "secret", settings=settings, **named
        )
        self.clients.append(client)
        return client

    async def verdict(self, members: object, **named: Any) -> AccessToken:
        self.server.members = members
        return await self.client(**named).verify("a-token", ())


@pytest_twisted.async_yield_fixture(params=["tcp", "ssl"])
async def world(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[World]:
    server = OtherServer()
    description = "tcp:0:interface=127.0.0.1"
    if request.param == "ssl":
        pem = tmp_path / "server.pem"
        pem.write_bytes(make_certificate("localhost"))
        monkeypatch.setenv("SSL_CERT_FILE", str(pem))
        description = f"ssl:0:interface=127.0.0.1:privateKey={pem}"
    listening = await serverFromString(reactor, description).listen(server)
    scheme = "https" if request.param == "ssl" else "http"
    server.address = f"{scheme}://localhost:{listening.getHost().port}"
    server.metadata = {
        "issuer": server.address,
        "introspection_endpoint": server.address + INTROSPECTION,
    }
    world = World(server, Ahead())
    yield world
    for client in world.clients:
        await client.close()
    if server.connections:
        server.closed = Deferred()
        for connection in list(server.connections):
            connection.transport.abortConnection()
        await server.closed
    await listening.stopListening()


def errors(logs: Iterable[Any]) -> list[str]:
    return [event["error"] for event in logs if "error" in event]


# What they answer.


def now() -> int:
    return int(reactor.seconds())


def answers() -> list[Any]:
    """Answers about good tokens, in the ways of several servers."""
    return [
        {"active": True},
        {"active": True, "scope": "read"},
        {"active": True, "exp": None, "iat": None, "username": None, "sub": None, "scope": None},
        {"active": True, "client_id": "a", "token_type": None, "iss": None, "aud": None, "nbf": None},
        {"active": True, "exp": now() + 60.5, "iat": float(now())},
        {
            "active": True,
            "exp": now() + 300,
            "iat": now(),
            "auth_time": now(),
            "jti": "9d4a",
            "aud": ["account", "api"],
            "typ": "Bearer",
            "realm_access": {"roles": ["user"]},
            "scope": "openid profile",
            "preferred_username": "alice",
            "client_id": "app",
            "username": "alice",
            "token_type": "Bearer",
        },
        {
            "active": True,
            "sub": "5f0c",
            "client_id": "app",
            "aud": [],
            "ext": None,
            "exp": now() + 300,
            "token_type": "bearer",
            "token_use": "access_token",
        },
    ]


@pytest.mark.parametrize("number", range(7))
async def test_good_token_of_another_server_is_accepted(world: World, number: int) -> None:
    """RFC 7662, section 2.2: what is optional may be absent or null, and means nothing then."""
    members = answers()[number]
    found = await world.verdict(members)
    assert found.client_id == (members.get("client_id") or "")
    assert found.has_scope(*(members.get("scope") or "").split())
    assert now() < found.expires <= now() + 300


@pytest.mark.parametrize(
    ("members", "name"),
    [
        ({"active": "true"}, "active"),
        ({}, "active"),
        ({"active": True, "exp": "1700000000"}, "exp"),
        ({"active": True, "iat": "now"}, "iat"),
        ({"active": True, "scope": ["read", "write"]}, "scope"),
        ({"active": True, "username": 7}, "username"),
        ({"active": True, "iss": ["https://as.example"]}, "iss"),
        (b'{"active": true, "exp": NaN}', "exp"),
        (b'{"active": true, "exp": 1e999}', "exp"),
    ],
)
async def test_malformed_member_is_named_in_the_log(world: World, members: object, name: str) -> None:
    """503, since the server knows the token; the operator reads which member it is."""
    with capturedLogs() as logs, pytest.raises(TemporarilyUnavailable) as caught:
        await world.verdict(members)
    assert caught.value.status_code == 503
    assert errors(logs) == [f"the member {name} of its answer is malformed"]
    assert name not in caught.value.description.split()


async def test_malformed_answers_between_good_ones_do_not_flood_the_log(world: World) -> None:
    client = world.client()
    with capturedLogs() as logs:
        for minute in range(2):
            for _ in range(5):
                world.server.members = {"active": True, "exp": "x"}
                with pytest.raises(TemporarilyUnavailable):
                    await client.verify("a-token", ())
                world.server.members = {"active": True}
                assert await client.verify("a-token", ())
            world.clock.ahead += 61
            assert len(errors(logs)) == minute + 1


async def test_answer_without_exp_is_kept_for_a_bounded_time(world: World) -> None:
    """However long answers may be kept."""
    world.server.members = {"active": True}
    client = world.client(cache_seconds=10**6)
    for ahead, asked in ((0, 1), (UNDATED_SECONDS - 5, 1), (UNDATED_SECONDS + 1, 2)):
        world.clock.ahead = ahead
        await client.verify("a-token", ())
        assert world.server.asked.count(INTROSPECTION) == asked
    world.server.members = {"active": False}
    world.clock.ahead = 3 * UNDATED_SECONDS
    with pytest.raises(InvalidToken):
        await client.verify("a-token", ())


# How they close.


@pytest.mark.parametrize("how", ["loseConnection", "abortConnection"])
async def test_kept_connection_that_is_closed_as_it_is_used_costs_nothing(
    world: World, how: str
) -> None:
    """The request is repeated once, on a new connection: introspection changes nothing."""

    def close_second(connection: Connection, number: int) -> bool:
        if number > 1:
            getattr(connection.transport, how)()
        return number > 1

    world.server.members = {"active": True}
    client = world.client(introspection_endpoint=world.server.address + INTROSPECTION)
    assert await client.verify("a-token", ())
    world.server.before = close_second
    with capturedLogs() as logs:
        for number in range(2, 5):
            assert await client.verify("a-token", ())
            assert world.server.asked.count(INTROSPECTION) == 2 * number - 1
    assert errors(logs) == []


async def test_kept_connections_that_are_all_closed_cost_nothing(world: World) -> None:
    """As when the server restarts: the repeated request does not use another one of them."""
    held: list[Connection] = []

    def hold(connection: Connection, number: int) -> bool:
        held.append(connection)
        return True

    def close(connection: Connection, number: int) -> bool:
        if connection in held:
            connection.transport.loseConnection()
        return connection in held

    world.server.members = {"active": True}
    client = world.client(introspection_endpoint=world.server.address + INTROSPECTION)
    world.server.before = hold
    verdicts = [client.verify(token, ()) for token in ("a-token", "another")]
    await until(lambda: len(held) == 2)
    for connection in held:
        connection.say(world.server.members)
    await gatherResults(verdicts)
    world.server.before = close
    assert await client.verify("a-token", ())


async def test_server_that_always_closes_is_asked_twice_and_is_unavailable(world: World) -> None:
    def close(connection: Connection, number: int) -> bool:
        connection.transport.loseConnection()
        return True

    world.server.before = close
    client = world.client(introspection_endpoint=world.server.address + INTROSPECTION)
    with pytest.raises(TemporarilyUnavailable):
        await client.verify("a-token", ())
    assert world.server.asked == [INTROSPECTION] * 2


async def test_answer_that_ends_half_way_is_not_asked_for_again(world: World) -> None:
    """It is another fault than that of a kept connection."""

    def break_off(connection: Connection, number: int) -> bool:
        connection.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
        connection.transport.loseConnection()
        return True

    world.server.before = break_off
    client = world.client(introspection_endpoint=world.server.address + INTROSPECTION)
    with pytest.raises(TemporarilyUnavailable):
        await client.verify("a-token", ())
    assert world.server.asked == [INTROSPECTION]


async def test_cancelled_request_is_not_repeated(world: World) -> None:
    """`close` ends it."""
    world.server.before = lambda connection, number: True
    client = world.client(introspection_endpoint=world.server.address + INTROSPECTION)
    asking = client.verify("a-token", ())
    await until(lambda: bool(world.server.asked))
    await client.close()
    with pytest.raises(TemporarilyUnavailable):
        await asking
    for _ in range(10):
        await deferLater(reactor, 0)
    assert world.server.asked == [INTROSPECTION]


# Where they are asked.


async def test_endpoint_of_another_address_than_the_issuers_is_asked(world: World) -> None:
    """As inside a network. There is no discovery, and the issuer of an answer is still checked."""
    issuer = "https://as.example"
    client = world.client(issuer, introspection_endpoint=world.server.address + INTROSPECTION)
    world.server.members = {"active": True, "iss": issuer, "username": "alice"}
    assert (await client.verify("a-token", ())).user.username == "alice"
    assert world.server.asked == [INTROSPECTION]
    world.server.members = {"active": True, "iss": world.server.address}
    with pytest.raises(InvalidToken):
        await client.verify("a-token", ())


async def test_endpoint_that_was_given_stays_after_an_error(world: World) -> None:
    """A discovered one is discovered again, as it may have moved."""
    address = world.server.address + INTROSPECTION
    given, discovering = world.client(introspection_endpoint=address), world.client()
    for client in (given, discovering):
        world.server.members = b"no json"
        with pytest.raises(TemporarilyUnavailable):
            await client.verify("a-token", ())
        world.server.members = {"active": True}
        assert await client.verify("a-token", ())
    assert world.server.asked == [INTROSPECTION] * 2 + [METADATA, INTROSPECTION] * 2


@pytest.mark.parametrize(
    "address",
    ["http://as.internal/i", "as.internal", "https://as.internal/i#x", "https://u@as.internal/", ""],
)
def test_endpoint_that_is_no_https_url_is_refused(address: str) -> None:
    with pytest.raises(ConfigurationError, match="the introspection endpoint is"):
        IntrospectionClient(
            reactor, "https://as.example", "id", "secret", introspection_endpoint=address
        )


def test_endpoint_may_have_a_query() -> None:
    """Also one whose parameter has the name of an authorization response's."""
    address = "https://as.internal/introspect?code=a-key"
    assert IntrospectionClient(
        reactor, "https://as.example", "id", "secret", introspection_endpoint=address
    )
