"""Runs a command on a store: one run of the reactor opens, uses and closes the store.

Slow imports are done when a command needs them, so that ``--help`` is quick.
"""

from __future__ import annotations

import os
import pwd
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

import click
from attrs import field, frozen

from ..conf import OPTIONS, Settings, gather
from ..errors import TemporarilyUnavailable
from ..models import COMMAND_LINE, Actor, Page
from ..paging import Key, entries
from .output import complain

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorCore, IReactorTime

    from ..administration import Administration
    from ..interfaces import IRegistry
    from ..key_ring import KeyRing
    from ..stores.urls import Opened

_T = TypeVar("_T")


@frozen
class Store:
    """The URLs of the stores that the commands use. They are open during one command.

    :param file: the contents of the server's configuration file.
    """

    url: str
    token_store: str | None = None
    file: Mapping[str, Any] = field(factory=dict)

    def run(self, action: Callable[[Administration], Awaitable[_T]]) -> _T:
        """Open the store, await the action and close the store.

        :raises ConfigurationError: it cannot be opened, or a setting in the environment is wrong.
        :raises click.ClickException: the store does not answer.
        """
        from twisted.internet import reactor

        _, settings = gather(OPTIONS, os.environ, self.file)
        with answered(_collect_log_errors()):
            return drive(reactor, administer(reactor, self, settings, action))

    def key_ring(self, administration: Administration) -> KeyRing:
        """The keys that sign ID tokens, for the time of an action; see `KeyRing.start`."""
        from twisted.internet import reactor

        from ..key_ring import KeyRing
        from ..parts import keys_of
        from ..protocol.key_states import Rules
        from ..stores.urls import from_url

        settings = administration.settings
        files = keys_of(settings, from_url(reactor, self.url)[0])
        rules = Rules(settings.openid_key_rotation, settings.access_token_lifetime)
        return KeyRing(reactor, administration.registry, files, rules, administration.seconds)

    def run_unopened(self, action: Callable[[Opened, IRegistry], Awaitable[_T]]) -> _T:
        """Await an action that opens the database by itself if it needs to.

        :raises click.ClickException: the store does not answer.
        """
        from twisted.internet import reactor

        from ..stores.urls import from_url

        async def act() -> _T:
            database, registry, _ = from_url(reactor, self.url)
            return await action(database, registry)

        with answered(_collect_log_errors()):
            return drive(reactor, act())


async def administer(
    reactor: IReactorTime,
    store: Store,
    settings: Settings,
    action: Callable[[Administration], Awaitable[_T]],
) -> _T:
    """Open a store, await an action on it, and close it."""
    from ..administration import Administration
    from ..clock import worker_reactor
    from ..logouts.notices import Logouts
    from ..logouts.telling import telling
    from ..passwords import PasswordThreads
    from ..stores.urls import from_url

    database, registry, tokens = from_url(reactor, store.url, store.token_store)
    threads = PasswordThreads(worker_reactor(reactor))
    database.open()
    threads.start()
    try:
        await database.connect(serves=False)
        place = await database.tokens_elsewhere()
        logouts = Logouts(registry, tokens, settings.openid, time.time)
        administration = Administration(
            registry,
            telling(tokens, logouts),
            settings,
            threads.hash,
            actor=operator(),
            clock=reactor,
            tokens_elsewhere=None if place is None else _elsewhere(place),
            logouts=logouts,
        )
        return await action(administration)
    finally:
        threads.stop()
        await database.close()


def _elsewhere(place: str) -> str:
    """Why a command cannot reach the tokens."""
    if not place:
        return "the server keeps its tokens in the database: leave --token-store out"
    return (
        f"the server keeps its tokens in {place}: name it by --token-store, "
        "or give the server's file by --config"
    )


def operator() -> Actor:
    """The system user who runs this command, for the audit trail."""
    number = os.getuid()
    try:
        name = pwd.getpwuid(number).pw_name
    except KeyError:
        name = str(number)
    return Actor(name, COMMAND_LINE)


def drive(reactor: IReactorCore, work: Coroutine[Any, Any, _T]) -> _T:
    """Run a reactor until the work is done. The reactor cannot run again.

    :raises click.Abort: a signal ended the work. It could still close what it had opened.
    """
    from twisted.internet.defer import CancelledError, Deferred
    from twisted.internet.error import ReactorNotRunning
    from twisted.python.failure import Failure

    outcomes: list[Any] = []
    finished: Deferred[None] = Deferred()

    def start() -> None:
        working = Deferred.fromCoroutine(work)

        def interrupt() -> Deferred[None]:
            working.cancel()
            return finished

        def done(outcome: object) -> None:
            outcomes.append(outcome)
            finished.callback(None)
            with suppress(ReactorNotRunning):
                reactor.stop()

        reactor.addSystemEventTrigger("before", "shutdown", interrupt)
        working.addBoth(done)

    reactor.callWhenRunning(start)
    reactor.run()
    outcome = outcomes[0]
    if isinstance(outcome, Failure):
        if outcome.check(CancelledError):
            raise click.Abort()
        outcome.raiseException()
    result: _T = outcome
    return result


@contextmanager
def answered(reasons: Sequence[str]) -> Iterator[None]:
    """Report in one line why a store does not answer.

    :param reasons: the errors logged so far, in their order. The last one is reported.
    :raises click.ClickException: the store does not answer.
    """
    try:
        yield
    except TemporarilyUnavailable as error:
        raise click.ClickException("; ".join([*reasons[-1:], str(error)])) from None
    except OSError as error:
        raise click.ClickException(f"the database cannot be used: {error.strerror or error}") from None


def _collect_log_errors() -> list[str]:
    """Hide the log. The list that is returned collects its errors, as text.

    An upgrade of a SQLite file is printed on standard error, since any command may be the first that
    opens the file.
    """
    from twisted.logger import ILogObserver, LogLevel, formatEvent, globalLogBeginner
    from zope.interface import implementer

    errors: list[str] = []

    @implementer(ILogObserver)
    def observe(event: Any) -> None:
        if event.get("log_level") is LogLevel.error:
            errors.append(formatEvent(event).rstrip("."))
        elif "upgraded_from" in event:
            complain(formatEvent(event))

    globalLogBeginner.beginLoggingTo([observe], discardBuffer=True, redirectStandardIO=False)
    return errors


async def every(read_page: Callable[[Page], Awaitable[list[_T]]], key: Callable[[_T], Key]) -> list[_T]:
    """All entries of a list that a store returns in pages; see `entries`."""
    return [entry async for entry in entries(read_page, key)]
