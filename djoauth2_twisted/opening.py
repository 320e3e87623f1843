"""Opens the store of a server, and says what an operator should know of its content."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from .errors import ConfigurationError, TemporarilyUnavailable
from .exhaustion import exhausted
from .interfaces import IRegistry
from .key_file import ServerKeys
from .key_ring import KeyRing
from .protocol.precis import MAX_NAMESAKES, warning_of
from .scope_lookup import find_scopes
from .stores.urls import Opened
from .threads import PoolThread

_log = Logger()


def open_store(
    reactor: IReactorFromThreads, database: Opened | None, keys: ServerKeys
) -> Deferred[None]:
    """Open a store in a separate thread. The Deferred fires when the store answers.

    :param database: None if the store needs no opening.
    :param keys: fails with `ConfigurationError` where the key file that is named cannot be used.
    """
    if database is None:
        return maybeDeferred(keys.check)
    # A host application may keep all threads of the reactor's own pool busy.
    pool = ThreadPool(0, 1, "djoauth2-open")
    pool.threadFactory = PoolThread
    pool.start()

    def end_thread(result: Any) -> Any:
        pool.stop()
        return result

    # It fails at once where the system starts no thread.
    opening = maybeDeferred(deferToThreadPool, reactor, pool, _open, database, keys)
    opening.addBoth(end_thread)
    return opening.addCallback(lambda _: database.connect())


def _open(database: Opened, keys: ServerKeys) -> None:
    keys.check()
    database.open()


def start_ring(_: object, ring: KeyRing) -> Deferred[None]:
    """Read the keys that sign ID tokens, after the store was opened; see `KeyRing.start`."""
    return Deferred.fromCoroutine(ring.start())


def log_failure(failure: Failure) -> None:
    """Log why a server cannot start."""
    if failure.check(ConfigurationError):
        _log.critical("The server cannot start: {error}", error=failure.value)
    elif lacking := exhausted(failure.value):
        _log.critical("The server cannot start: the system is out of {what}", what=lacking)
    else:
        _log.failure("The server cannot start", failure)


async def warn(registry: IRegistry, scopes_asked_for: Collection[str], openid: bool) -> None:
    """Warn of guards whose scope is not registered, and of users whose names are alike.

    No token passes such a guard. Older releases added names that differ only in case or Unicode form.

    :param openid: the setting ``OPENID``.
    """
    asked_for = sorted(scopes_asked_for)
    with suppress(TemporarilyUnavailable):
        known = await find_scopes(registry, tuple(asked_for), openid)
        for scope in asked_for:
            if scope not in known:
                _log.warn("A guard asks for the scope {scope}, which is not registered.", scope=scope)
        for names in await registry.namesakes(MAX_NAMESAKES):
            _log.warn("{line}", line=warning_of(names))
