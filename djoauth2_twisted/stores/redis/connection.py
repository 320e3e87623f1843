"""Connections to Redis, and a deadline for each command.

txredisapi keeps and renews the connections. Two things are added here. A command waits for a connection
until its deadline, not without end. And where a command fails, its connection is closed, so that the
server does not execute it later.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import txredisapi
from twisted.internet.defer import Deferred, DeferredList, fail, succeed
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint, wrapClientTLS
from twisted.internet.error import ConnectError, ConnectionClosed
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.internet.ssl import optionsForClientTLS
from twisted.logger import Logger

from ...errors import ConfigurationError, TemporarilyUnavailable
from ...events import write_line
from ...finding import Finding, warning
from ..drift import judge_clock
from ..invalidation import InvalidationFeed
from ..outage import Outage, Report
from ..pool import Pool
from . import scripts
from .txredis import (
    ConnectionQueue,
    MasterFactory,
    MasterSubscriberFactory,
    ServerFactory,
    ServerSubscriberFactory,
    disconnect,
    sentinels,
)
from .url import parse_url

#: The time for one command, in seconds, including the wait for a connection. A connection that is silent
#: for this time is closed: it may be dead, and a command that is still on its way must not be executed
#: after it was reported as failed.
COMMAND_DEADLINE = 0.9

CONNECTIONS = 4

#: The oldest version that has all commands of the scripts.
OLDEST = [6, 2]

#: The beginning of every key and of the channel.
PREFIX = "djoauth2:"


class Redis:
    """A Redis server: connect to it, run scripts, close the connections.

    :param reactor: provides IReactorTime, and what endpoints need.
    :raises ConfigurationError: the URL is not valid.
    """

    _log = Logger()

    def __init__(self, reactor: IReactorTime, url: str) -> None:
        self._reactor = reactor
        self._address = parse_url(url)
        self._factory: Any = None
        self._sentinels: Any = None
        self._subscriber: Any = None
        self._channel = ""
        self._report: Report = write_line
        self._outage = Outage(reactor, "Redis", lambda event: self._report(event))
        #: The grants whose access tokens have ended, by this process's scripts and by others'.
        self.invalidation = InvalidationFeed(reactor, self._watch)

    def report_outages(self, report: Report) -> None:
        """See `stores.urls.Opened`."""
        self._report = report

    @property
    def name(self) -> str:
        """The server and its database, for people, without the login."""
        return str(self._address)

    def open(self, prepare: bool | None = None) -> None:
        """Do nothing: everything here needs the reactor."""

    def version(self) -> str | None:
        """None, since there is no schema."""
        return None

    def connect(self, serves: bool = True) -> Deferred[None]:
        """Connect, and check that the server accepts the login and the commands.

        It is the same for servers and commands. The Deferred fails with `ConfigurationError` where the
        server does not.
        """
        return Deferred.fromCoroutine(self._connect())

    async def _connect(self) -> None:
        try:
            findings = await self._try()
        finally:
            await self.close()
        # The pool reconnects by itself. Each command reports it where there is no connection.
        self._pool(CONNECTIONS, reconnect=True).addErrback(lambda _: None)
        self.invalidation.start()
        for finding in findings:
            self._log.warn("{warning}.", warning=finding.text)

    async def _try(self) -> list[Finding]:
        """Connect, and check the server; see `connect`. What is open is to be closed afterwards.

        :returns: what an operator should change.
        """
        try:
            # First a single connection: where a password is wrong, a pool gives up without an error.
            connected = self._pool(connections=1, reconnect=False)
            await connected.addTimeout(COMMAND_DEADLINE, self._reactor)
            server = _settings_of(await self._call("execute_command", "INFO"))
            _judge(server)
            # A revocation publishes its grant. A user without the right to publish cannot revoke.
            await self._call("publish", self.channel(PREFIX), b"")
            return [*_warnings_of(server), *await self._judge_clock()]
        except ConfigurationError:
            raise
        except Exception as error:
            raise ConfigurationError(f"the token store cannot be used: {self._hint(error)}") from None

    async def _judge_clock(self) -> list[Finding]:
        before = self._reactor.seconds()
        seconds, microseconds = await self._call("execute_command", "TIME")
        theirs = int(seconds) + int(microseconds) / 1e6
        return judge_clock(self.name, theirs, before, self._reactor.seconds())

    def judge(self, place: str | None = None) -> Deferred[list[Finding]]:
        """Judge the server, over a connection that is closed again. The Deferred does not fail.

        :param place: of no meaning here; see `Opened`.
        """
        return Deferred.fromCoroutine(self._look())

    async def _look(self) -> list[Finding]:
        try:
            return await self._try()
        except ConfigurationError as error:
            return [Finding.of(error)]
        finally:
            await self.close()

    def files(self) -> list[Path]:
        """None: what Redis saves is the matter of Redis."""
        return []

    def _hint(self, error: Exception) -> str:
        reason = _reason(error)
        # A TLS handshake that fails looks like any other connection that is lost.
        if self._address.scheme == "rediss" and "Lost connection" in reason:
            reason += "; is its certificate for this host, and of an issuer that is trusted here?"
        return reason

    def _pool(self, connections: int, reconnect: bool) -> Deferred[Any]:
        """Begin to connect. The Deferred fails where there will be no connection."""
        if self._address.scheme == "redis+sentinel":
            self._factory = self._connect_to_master(MasterFactory, connections)
            return succeed(None)
        self._factory = self._connect_to_server(ServerFactory, connections, reconnect)
        connected: Deferred[Any] = self._factory.deferred
        return connected

    def _connect_to_server(self, factory_class: Any, connections: int, reconnect: bool) -> Any:
        factory = factory_class(
            "djoauth2",
            self._address.db,
            connections,
            isLazy=True,
            handler=txredisapi.ConnectionHandler,
            **self._settings(),
        )
        factory.reconnect = reconnect
        factory.connectionQueue = ConnectionQueue()
        factory.startConnecting(self._endpoint())
        return factory

    def _connect_to_master(self, factory_class: Any, connections: int) -> Any:
        if self._sentinels is None:
            self._sentinels = sentinels(self._address.hosts, COMMAND_DEADLINE)
        handler = self._sentinels.master_for(
            self._address.service,
            factory_class=factory_class,
            dbid=self._address.db,
            poolsize=connections,
            **self._settings(),
        )
        handler._factory.connectionQueue = ConnectionQueue()
        handler._factory.deferred.addErrback(lambda _: None)
        return handler._factory

    def _settings(self) -> dict[str, Any]:
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

    def close(self) -> Deferred[None]:
        """Close the connections. Does nothing where there are none."""
        self.invalidation.stop()
        factories = [each for each in (self._factory, self._subscriber) if each is not None]
        self._factory = self._subscriber = None
        leaving = [] if self._sentinels is None else [self._sentinels.disconnect()]
        self._sentinels = None
        leaving += [disconnect(factory) for factory in factories]
        left = DeferredList(leaving, consumeErrors=True).addCallback(lambda _: None)
        return left.addTimeout(COMMAND_DEADLINE, self._reactor, lambda *_: None)

    def check_writable(self) -> Deferred[None]:
        """Write a key. The Deferred fails with `TemporarilyUnavailable` where that is not possible.

        A replica, a server without memory, and one that cannot save its data refuse it.
        """
        return self.eval(scripts.WRITE, [f"{PREFIX}writable"], []).addCallback(lambda _: None)

    def pools(self) -> list[Pool]:
        """The load of the connections. Each is busy while it waits for answers."""
        open_now = list(self._factory.pool) if self._factory is not None else []
        busy = sum(bool(connection.replyQueue.waiting) for connection in open_now)
        waiting = len(self._factory.connectionQueue.peekers) if self._factory is not None else 0
        return [Pool("redis", len(open_now), busy, waiting)]

    def invalidation_lag(self) -> float | None:
        """See `InvalidationFeed.lag`."""
        return self.invalidation.lag()

    def channel(self, prefix: str) -> str:
        """The channel to which the scripts of stores with this prefix publish the grants they end."""
        # All databases of a server share its channels.
        return f"{prefix}ended:{self._address.db}"

    def subscribe(self, prefix: str, invalidate: Callable[..., None]) -> None:
        """Have ``invalidate`` called; see `IInvalidationFeed`."""
        self._channel = self.channel(prefix)
        self.invalidation.subscribe(invalidate)

    def _watch(self) -> Deferred[Any]:
        """Ask over the subscribed connection whether it lives.

        Messages that were published before come over it before the answer. The Deferred fires with no
        partition: `_on_message` publishes them.
        """
        if self._subscriber is None:
            self._subscriber = self._connect_subscriber()
        connection = self._subscriber.subscribed
        if connection is None or not connection.connected:
            return fail(TemporarilyUnavailable())
        asked: Deferred[Any] = connection.execute_command("PING")
        return asked.addCallback(lambda _: ())

    def _connect_subscriber(self) -> Any:
        if self._address.scheme == "redis+sentinel":
            subscriber = self._connect_to_master(MasterSubscriberFactory, 1)
        else:
            subscriber = self._connect_to_server(ServerSubscriberFactory, 1, reconnect=True)
            subscriber.deferred.addErrback(lambda _: None)
        subscriber.channel, subscriber.on_message = self._channel, self._on_message
        return subscriber

    def _on_message(self, message: bytes | None) -> None:
        self.invalidation.publish(
            None if message is None else [message.decode("utf-8", "surrogateescape")]
        )

    def eval(
        self, script: str, keys: Sequence[str], arguments: Sequence[str | int | bytes]
    ) -> Deferred[Any]:
        """Run a Lua script: one atomic step. Fails with `TemporarilyUnavailable` within the deadline.

        The server may have run the script even where the Deferred fails, unless the script itself checks
        the server's time.
        """
        return Deferred.fromCoroutine(self._eval(script, list(keys), _encode(arguments), 1))

    def read(
        self, script: str, keys: Sequence[str], arguments: Sequence[str | int | bytes]
    ) -> Deferred[Any]:
        """Run a Lua script that only reads, and run it again where its connection was lost.

        So the first requests after the server closed its connections are answered, too.
        """
        return Deferred.fromCoroutine(
            self._eval(script, list(keys), _encode(arguments), CONNECTIONS + 1)
        )

    async def _eval(
        self, script: str, keys: list[str], arguments: list[int | bytes], attempts: int
    ) -> Any:
        deadline = self._reactor.seconds() + COMMAND_DEADLINE
        while True:
            attempts -= 1
            try:
                result = await self._call("eval", script, keys, arguments, deadline=deadline)
            except (txredisapi.RedisError, ConnectionClosed, ConnectError, DeferredTimeout) as error:
                if attempts and type(error) is txredisapi.ConnectionError:
                    continue
                self._outage.failed(script, _reason(error))
                raise TemporarilyUnavailable() from None
            self._outage.answered(script)
            return result

    def _call(self, method: str, *arguments: Any, deadline: float | None = None) -> Deferred[Any]:
        """Call a method of a connection.

        :param deadline: in the reactor's seconds; by default one `COMMAND_DEADLINE` from now.
        """
        if self._factory is None:
            raise txredisapi.ConnectionError("not connected")
        left = COMMAND_DEADLINE if deadline is None else max(deadline - self._reactor.seconds(), 0)
        used: list[Any] = []

        def call(connection: Any) -> Deferred[Any]:
            used.append(connection)
            called: Deferred[Any] = getattr(connection, method)(*arguments)
            return called

        def give_up(_: object, seconds: float) -> None:
            for connection in used:
                connection.transport.abortConnection()
            raise DeferredTimeout(seconds, "Deferred")

        waiting: Deferred[Any] = self._factory.getConnection(peek=True)
        return waiting.addCallback(call).addTimeout(left, self._reactor, give_up)


def _settings_of(answer: bytes) -> dict[str, str]:
    """What ``INFO`` says, by name."""
    return dict(line.split(":", 1) for line in answer.decode().splitlines() if ":" in line)


def _judge(server: dict[str, str]) -> None:
    """Raise `ConfigurationError` for a server on which the scripts do not work."""
    version = server.get("redis_version", "")
    numbers = [int(number) for number in re.findall(r"\d+", version)[:2]]
    if numbers < OLDEST:
        raise ConfigurationError(f"this Redis is {version}: 6.2 or newer is needed")
    if server.get("cluster_enabled") == "1":
        raise ConfigurationError(
            "this Redis is a cluster, and a step touches several keys: use a single one"
        )
    if server.get("role") == "slave":
        raise ConfigurationError("this Redis is a replica: name the one that is written to")


def _warnings_of(server: dict[str, str]) -> list[Finding]:
    """The server's settings that lose grants."""
    findings = []
    if server.get("aof_enabled") == "0":
        fault = "Redis does not save its changes on disk (appendonly no). A restart loses every grant"
        findings.append(warning(fault, "Set appendonly yes"))
    policy = server.get("maxmemory_policy", "noeviction")
    if policy != "noeviction" and server.get("maxmemory", "0") != "0":
        fault = (
            f"Redis deletes keys when its memory is full (maxmemory-policy {policy}). "
            "Valid tokens are then lost"
        )
        findings.append(warning(fault, "Set maxmemory-policy noeviction"))
    return findings


def _encode(arguments: Sequence[str | int | bytes]) -> list[int | bytes]:
    return [
        word.encode("utf-8", "surrogateescape") if isinstance(word, str) else word for word in arguments
    ]


def _reason(error: Exception) -> str:
    """Why a command failed, without what was sent. Redis's errors begin with a word for their kind."""
    text = str(error) or type(error).__name__
    if isinstance(error, DeferredTimeout):
        return "it does not answer"
    return text.splitlines()[0][:120]
