"""Connections to Redis: by address, with a deadline on whatever is asked.

txredisapi keeps and renews the connections. What it leaves open is closed here: a command waits for a
connection for ever where there is none, and one that was refused may still be executed later.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

import txredisapi
from attrs import field, frozen
from twisted.internet.defer import Deferred, DeferredList, fail, succeed
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint, wrapClientTLS
from twisted.internet.error import ConnectError, ConnectionClosed
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.ssl import optionsForClientTLS
from twisted.logger import Logger

from ...errors import ConfigurationError, TemporarilyUnavailable
from ..invalidation import InvalidationFeed
from ..outage import Outage

#: How long one command may take, its wait for a connection included, in seconds. A connection that is
#: silent as long is broken off: it may lead nowhere any more, and what is still on its way over it is
#: not to arrive when nobody expects it.
COMMAND_DEADLINE = 0.9

#: Between two attempts to connect, in seconds; an outage should end soon after its cause has.
FIRST_DELAY = 0.1
MAX_DELAY = 1.0

CONNECTIONS = 4

#: What every key, and the channel, begins with.
PREFIX = "djoauth2:"

_EXAMPLE = "write it like redis://user:password@host:6379/0"


class _Persistent:
    """A factory that never ceases to connect.

    txredisapi's own ceases for good where a server lets nobody in, or falls silent before it has: when
    its password is changed, while it starts, when it hangs.
    """

    def stopTrying(self) -> Deferred[None]:
        """Try on, where `reconnect` says so."""
        if self.reconnect:  # type: ignore[attr-defined]
            return succeed(None)
        stopping: Deferred[None] = super().stopTrying()  # type: ignore[misc]
        return stopping


class _Queue(txredisapi.PeekableQueue):  # type: ignore[misc]
    """Connections, and who waits for one. Who has given up does not wait on in memory."""

    def peek(self) -> Deferred[Any]:
        if self.pending:
            peeked: Deferred[Any] = super().peek()
            return peeked
        waiting: Deferred[Any] = Deferred(self.peekers.remove)
        self.peekers.append(waiting)
        return waiting


class _Factory(_Persistent, txredisapi.RedisFactory):  # type: ignore[misc]
    """To one server."""

    initialDelay, maxDelay = FIRST_DELAY, MAX_DELAY


class _SentinelProtocol(txredisapi.SentinelRedisProtocol):  # type: ignore[misc]
    """txredisapi compares the server's role with text, and is given bytes where nothing is decoded."""

    def role(self) -> Deferred[Any]:
        asked: Deferred[Any] = super().role()
        return asked.addCallback(lambda answer: [answer[0].decode("ascii"), *answer[1:]])


class _SentinelFactory(_Persistent, txredisapi.SentinelConnectionFactory):  # type: ignore[misc]
    """To the one that the Sentinels name."""

    protocol = _SentinelProtocol
    initialDelay, maxDelay = FIRST_DELAY, MAX_DELAY


class _Subscriber:
    """A connection that is told what is published, and asked nothing but whether it lives.

    txredisapi's own would cut short a server's role, which Sentinel's connections ask for.
    """

    def replyReceived(self, reply: Any) -> None:
        if isinstance(reply, list) and reply[:1] == [b"message"]:
            self.factory.published(reply[2])  # type: ignore[attr-defined]
        else:
            super().replyReceived(reply)  # type: ignore[misc]


class _Subscribing:
    """A factory whose connection is subscribed to a channel before it is used."""

    channel: str
    #: What to call with each message; and with None where messages may have been missed.
    published: Callable[[bytes | None], None]
    subscribed: Any = None

    def addConnection(self, connection: Any) -> None:
        super().addConnection(connection)  # type: ignore[misc]
        if connection.connected:
            asked = connection.execute_command("SUBSCRIBE", self.channel)
            asked.addCallbacks(
                lambda _: self._begin(connection), lambda _: connection.transport.abortConnection()
            )

    def _begin(self, connection: Any) -> None:
        self.published(None)
        self.subscribed = connection


class _SubscriberProtocol(_Subscriber, txredisapi.RedisProtocol):  # type: ignore[misc]
    """To one server."""


class _SubscriberFactory(_Subscribing, _Factory):
    protocol = _SubscriberProtocol


class _SentinelSubscriberProtocol(_Subscriber, _SentinelProtocol):
    """To the one that the Sentinels name."""


class _SentinelSubscriberFactory(_Subscribing, _SentinelFactory):
    protocol = _SentinelSubscriberProtocol


@frozen
class Address:
    """Where a Redis server is, and how it is entered."""

    scheme: str
    hosts: tuple[tuple[str, int], ...]
    path: str
    service: str
    db: int
    username: str | None
    password: str | None = field(repr=False)


def parse_url(url: str) -> Address:
    """Read ``redis://``, ``rediss://``, ``unix://`` or ``redis+sentinel://``.

    :raises ConfigurationError: it is none of them. The message never has the password in it.
    """
    try:
        parts = urlsplit(url)
        query = dict(pair.split("=", 1) for pair in parts.query.split("&") if pair)
        entrance, _, hosts = parts.netloc.rpartition("@")
        username, _, password = entrance.partition(":")
        segments = [segment for segment in parts.path.split("/") if segment]
        found, path, service, db = (
            _unix(parts, query)
            if parts.scheme == "unix"
            else _network(parts.scheme, hosts, segments, query)
        )
    except ValueError:
        raise ConfigurationError(f"the token store's URL cannot be read: {_EXAMPLE}") from None
    name, secret = unquote(username) or None, unquote(password) or None
    return Address(parts.scheme, found, path, service, db, name, secret)


_Place = tuple[tuple[tuple[str, int], ...], str, str, int]


def _unix(parts: SplitResult, query: dict[str, str]) -> _Place:
    if set(query) - {"db"} or not parts.path:
        raise ValueError
    return (), unquote(parts.path), "", _db(query.get("db", "0"))


def _network(scheme: str, hosts: str, segments: list[str], query: dict[str, str]) -> _Place:
    sentinel = scheme == "redis+sentinel"
    usual = 26379 if sentinel else 6379
    found = tuple(_host(host, usual) for host in hosts.split(","))
    service = segments.pop(0) if sentinel else ""
    if query or len(segments) > 1 or (len(found) > 1 and not sentinel):
        raise ValueError
    return found, "", service, _db(segments[0] if segments else "0")


def _host(text: str, usual: int) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        raise ValueError
    return parts.hostname, parts.port or usual


def _db(text: str) -> int:
    if not text.isdecimal():
        raise ValueError
    return int(text)


class Redis:
    """A Redis server, to be connected to, asked and left.

    :param reactor: provides IReactorTime and what endpoints need.
    :raises ConfigurationError: the URL cannot be read.
    """

    _log = Logger()

    def __init__(self, reactor: Any, url: str) -> None:
        self._reactor = reactor
        self._address = parse_url(url)
        self._factory: Any = None
        self._sentinel: Any = None
        self._subscriber: Any = None
        self._channel = ""
        self._outage = Outage(reactor, "Redis")
        #: What has ended, by this process's scripts and by others'.
        self.invalidation = InvalidationFeed(reactor, self._watch)

    def open(self, prepare: bool | None = None) -> None:
        """Nothing that could be done before the reactor runs."""

    def version(self) -> str | None:
        """There is no schema."""
        return None

    def connect(self) -> Deferred[None]:
        """Connect, and see that the server lets us in and keeps what it is given.

        The Deferred fails with `ConfigurationError` where it does not.
        """
        return Deferred.fromCoroutine(self._connect())

    async def _connect(self) -> None:
        try:
            # A first connection of its own: where a password is wrong, a pool gives up without a word.
            connected = self._pool(connections=1, reconnect=False)
            await connected.addTimeout(COMMAND_DEADLINE, self._reactor)
            answer = await self._ask("execute_command", "INFO")
            # Who may not tell of revocations may not revoke.
            await self._ask("publish", self.channel(PREFIX), b"")
        except Exception as error:
            raise ConfigurationError(f"the token store cannot be used: {self._hint(error)}") from None
        finally:
            await self.close()
        # It tries on where it fails, and each command says so that is not answered.
        self._pool(CONNECTIONS, reconnect=True).addErrback(lambda _: None)
        self.invalidation.start()
        self._warn(dict(line.split(":", 1) for line in answer.decode().splitlines() if ":" in line))

    def _warn(self, server: dict[str, str]) -> None:
        """Say aloud where a promise rests on sand."""
        if server.get("aof_enabled") == "0":
            self._log.warn(
                "Redis does not keep its log on disk (appendonly no): a restart forgets every grant."
            )
        policy = server.get("maxmemory_policy", "noeviction")
        if policy != "noeviction" and server.get("maxmemory", "0") != "0":
            self._log.warn(
                "Redis throws away keys when memory is short (maxmemory-policy {policy}): "
                "clients and users lose good tokens then.",
                policy=policy,
            )

    def _hint(self, error: Exception) -> str:
        reason = _reason(error)
        # A handshake that fails is told of as no more than a connection that is lost.
        if self._address.scheme == "rediss" and "Lost connection" in reason:
            reason += "; is its certificate for this host, and of an issuer that is trusted here?"
        return reason

    def _pool(self, connections: int, reconnect: bool) -> Deferred[Any]:
        """Begin to connect. The Deferred fails where there will be no connection."""
        if self._address.scheme == "redis+sentinel":
            self._factory = self._behind_sentinels(_SentinelFactory, connections)
            return succeed(None)
        self._factory = self._to_server(_Factory, connections, reconnect)
        connected: Deferred[Any] = self._factory.deferred
        return connected

    def _to_server(self, kind: Any, connections: int, reconnect: bool) -> Any:
        factory = kind(
            "djoauth2",
            self._address.db,
            connections,
            isLazy=True,
            handler=txredisapi.ConnectionHandler,
            **self._entrance(),
        )
        factory.reconnect = reconnect
        factory.connectionQueue = _Queue()
        factory.startConnecting(self._endpoint())
        return factory

    def _entrance(self) -> dict[str, Any]:
        return {
            "charset": None,
            "password": self._address.password,
            "replyTimeout": COMMAND_DEADLINE,
            "convertNumbers": False,
            "username": self._address.username,
        }

    def _endpoint(self) -> IStreamClientEndpoint:
        address = self._address
        if address.scheme == "unix":
            return UNIXClientEndpoint(self._reactor, address.path)
        host, port = address.hosts[0]
        endpoint = HostnameEndpoint(self._reactor, host, port, timeout=COMMAND_DEADLINE)
        if address.scheme == "rediss":
            return wrapClientTLS(optionsForClientTLS(host), endpoint)
        return endpoint

    def _behind_sentinels(self, kind: Any, connections: int) -> Any:
        if self._sentinel is None:
            self._sentinel = self._sentinels()
        commands = self._sentinel.master_for(
            self._address.service,
            factory_class=kind,
            dbid=self._address.db,
            poolsize=connections,
            **self._entrance(),
        )
        commands._factory.connectionQueue = _Queue()
        commands._factory.deferred.addErrback(lambda _: None)
        return commands._factory

    def _sentinels(self) -> Any:
        sentinel = txredisapi.Sentinel(
            list(self._address.hosts), connectTimeout=COMMAND_DEADLINE, replyTimeout=COMMAND_DEADLINE
        )
        sentinel.discovery_timeout = COMMAND_DEADLINE
        for asked in sentinel.sentinels:
            asked._factory.initialDelay, asked._factory.maxDelay = FIRST_DELAY, MAX_DELAY
        return sentinel

    def close(self) -> Deferred[None]:
        """Leave. Does nothing where it is not connected."""
        self.invalidation.stop()
        factories = [each for each in (self._factory, self._subscriber) if each is not None]
        self._factory = self._subscriber = None
        sentinel, self._sentinel = self._sentinel, None
        leaving: list[Deferred[Any]] = []
        if sentinel is not None:
            leaving.append(sentinel.disconnect())
        for factory in factories:
            leaving.append(factory.disconnect())
            # A server that hangs says no farewell.
            for connection in list(factory.pool):
                connection.transport.abortConnection()
        left = DeferredList(leaving, consumeErrors=True).addCallback(lambda _: None)
        return left.addTimeout(COMMAND_DEADLINE, self._reactor, lambda *_: None)

    def channel(self, prefix: str) -> str:
        """Where the scripts of stores with this prefix tell what they end."""
        # Channels are not a database's own.
        return f"{prefix}ended:{self._address.db}"

    def subscribe(self, prefix: str, invalidate: Callable[..., None]) -> None:
        """Have ``invalidate`` called; see `IInvalidationFeed`."""
        self._channel = self.channel(prefix)
        self.invalidation.subscribe(invalidate)

    def _watch(self) -> Deferred[Any]:
        """Whether the subscription lives. What is published comes over it before the answer."""
        if self._subscriber is None:
            self._subscriber = self._subscribe()
        connection = self._subscriber.subscribed
        if connection is None or not connection.connected:
            return fail(TemporarilyUnavailable())
        asked: Deferred[Any] = connection.execute_command("PING")
        return asked.addCallback(lambda _: ())

    def _subscribe(self) -> Any:
        if self._address.scheme == "redis+sentinel":
            subscriber = self._behind_sentinels(_SentinelSubscriberFactory, 1)
        else:
            subscriber = self._to_server(_SubscriberFactory, 1, reconnect=True)
            subscriber.deferred.addErrback(lambda _: None)
        subscriber.channel, subscriber.published = self._channel, self._published
        return subscriber

    def _published(self, message: bytes | None) -> None:
        self.invalidation.publish(
            None if message is None else [message.decode("utf-8", "surrogateescape")]
        )

    def eval(
        self, script: str, keys: Sequence[str], arguments: Sequence[str | int | bytes]
    ) -> Deferred[Any]:
        """Run a Lua script: one atomic step. Fails with `TemporarilyUnavailable` within the deadline.

        It may have been taken all the same, unless the script itself looks at the server's time.
        """
        return Deferred.fromCoroutine(self._eval(script, list(keys), _encode(arguments), 1))

    def read(
        self, script: str, keys: Sequence[str], arguments: Sequence[str | int | bytes]
    ) -> Deferred[Any]:
        """Run a Lua script that only reads, and again where its connection was broken.

        So whoever comes first after connections were dropped is served all the same.
        """
        return Deferred.fromCoroutine(
            self._eval(script, list(keys), _encode(arguments), CONNECTIONS + 1)
        )

    async def _eval(self, script: str, keys: list[str], words: list[int | bytes], tries: int) -> Any:
        deadline = self._reactor.seconds() + COMMAND_DEADLINE
        while True:
            tries -= 1
            try:
                result = await self._ask("eval", script, keys, words, deadline=deadline)
            except (txredisapi.RedisError, ConnectionClosed, ConnectError, DeferredTimeout) as error:
                if tries and type(error) is txredisapi.ConnectionError:
                    continue
                self._outage.failed(script, _reason(error))
                raise TemporarilyUnavailable() from None
            self._outage.answered(script)
            return result

    def _ask(self, command: str, *arguments: Any, deadline: float | None = None) -> Deferred[Any]:
        if self._factory is None:
            raise txredisapi.ConnectionError("not connected")
        left = COMMAND_DEADLINE if deadline is None else max(deadline - self._reactor.seconds(), 0)
        asked_over: list[Any] = []

        def ask(connection: Any) -> Deferred[Any]:
            asked_over.append(connection)
            asked: Deferred[Any] = getattr(connection, command)(*arguments)
            return asked

        def give_up(_: object, seconds: float) -> None:
            for connection in asked_over:
                connection.transport.abortConnection()
            raise DeferredTimeout(seconds, "Deferred")

        waiting: Deferred[Any] = self._factory.getConnection(peek=True)
        return waiting.addCallback(ask).addTimeout(left, self._reactor, give_up)


def _encode(arguments: Sequence[str | int | bytes]) -> list[int | bytes]:
    return [
        word.encode("utf-8", "surrogateescape") if isinstance(word, str) else word for word in arguments
    ]


def _reason(error: Exception) -> str:
    """Why, without what was sent. Redis's errors begin with a word that tells their kind."""
    text = str(error) or type(error).__name__
    if isinstance(error, DeferredTimeout):
        return "it does not answer"
    return text.splitlines()[0][:120]
