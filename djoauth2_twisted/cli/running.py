"""Runs a command on a store: one run of the reactor opens, uses and closes the store.

Slow imports are done when a command needs them, so that ``--help`` is quick.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

import click
from attrs import frozen

from ..conf import Settings, gather
from ..errors import TemporarilyUnavailable
from ..models import Actor, Page
from ..paging import entries

if TYPE_CHECKING:
    from ..administration import Administration
    from ..stores.urls import Opened

_T = TypeVar("_T")


@frozen
class Store:
    """The URLs of the stores that the commands use. They are open during one command."""

    url: str
    token_store: str | None = None

    def run(self, action: Callable[[Administration], Awaitable[_T]]) -> _T:
        """Open the store, await the action and close the store.

        :raises ConfigurationError: it cannot be opened, or a setting in the environment is wrong.
        :raises click.ClickException: the store does not answer.
        """
        from twisted.internet import reactor

        _, settings = gather((), os.environ, {})
        with answered(_collect_log_errors()):
            return drive(reactor, administer(reactor, self, settings, action))

    def run_unopened(self, action: Callable[[Opened], Awaitable[_T]]) -> _T:
        """Await an action that opens the store by itself if it needs to.

        :raises click.ClickException: the store does not answer.
        """
        from twisted.internet import reactor

        from ..stores.urls import from_url

        async def act() -> _T:
            return await action(from_url(reactor, self.url)[0])

        with answered(_collect_log_errors()):
            return drive(reactor, act())


async def administer(
    reactor: Any, store: Store, settings: Settings, action: Callable[[Administration], Awaitable[_T]]
) -> _T:
    """Open a store, await an action on it, and close it."""
    from ..administration import Administration
    from ..passwords import PasswordThreads
    from ..stores.urls import from_url

    database, registry, tokens = from_url(reactor, store.url, store.token_store)
    threads = PasswordThreads(reactor)
    database.open()
    threads.start()
    try:
        await database.connect()
        administration = Administration(
            registry, tokens, settings, threads.hash, actor=operator(), clock=reactor
        )
        return await action(administration)
    finally:
        threads.stop()
        await database.close()


def operator() -> Actor:
    """The system user who runs this command, for the audit trail."""
    number = os.getuid()
    try:
        name = pwd.getpwuid(number).pw_name
    except KeyError:
        name = str(number)
    return Actor(name, "command line")


def drive(reactor: Any, work: Coroutine[Any, Any, _T]) -> _T:
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
    """Hide the log. The list that is returned collects its errors, as text."""
    from twisted.logger import ILogObserver, LogLevel, formatEvent, globalLogBeginner
    from zope.interface import implementer

    errors: list[str] = []

    @implementer(ILogObserver)
    def observe(event: Any) -> None:
        if event.get("log_level") is LogLevel.error:
            errors.append(formatEvent(event).rstrip("."))

    globalLogBeginner.beginLoggingTo([observe], discardBuffer=True, redirectStandardIO=False)
    return errors


async def every(read_page: Callable[[Page], Awaitable[list[_T]]]) -> list[_T]:
    """All entries of a list that a store returns in pages."""
    return [entry async for entry in entries(read_page)]
