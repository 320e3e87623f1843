"""How a command works on a store: one run of the reactor, in which it is opened, used and closed.

What takes long to import is imported when a command needs it, so that ``--help`` is quick.
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

if TYPE_CHECKING:
    from ..administration import Administration
    from ..stores.urls import Opened

_T = TypeVar("_T")

PAGE_SIZE = 500


@frozen
class Store:
    """What the commands work on, opened for the length of one command."""

    url: str
    token_store: str | None = None

    def run(self, action: Callable[[Administration], Awaitable[_T]]) -> _T:
        """Open the store, await the action and close it again.

        :raises ConfigurationError: it cannot be opened, or a setting in the environment is wrong.
        :raises click.ClickException: it does not answer.
        """
        from twisted.internet import reactor

        _, settings = gather((), os.environ, {})
        with answered(_listen()):
            return drive(reactor, administer(reactor, self, settings, action))

    def run_unopened(self, action: Callable[[Opened], Awaitable[_T]]) -> _T:
        """Await an action that itself opens the store, or does not."""
        from twisted.internet import reactor

        from ..stores.urls import from_url

        async def act() -> _T:
            return await action(from_url(reactor, self.url)[0])

        with answered(_listen()):
            return drive(reactor, act())


async def administer(
    reactor: Any, store: Store, settings: Settings, action: Callable[[Administration], Awaitable[_T]]
) -> _T:
    """Await an action on an open store, which is then closed."""
    from ..administration import Administration
    from ..resource_owners import PasswordThreads
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
    """Who runs this command, for the audit trail."""
    number = os.getuid()
    try:
        name = pwd.getpwuid(number).pw_name
    except KeyError:
        name = str(number)
    return Actor(name, "command line")


def drive(reactor: Any, work: Coroutine[Any, Any, _T]) -> _T:
    """Run a reactor, which cannot be run again, until the work is done.

    :raises click.Abort: a signal ended it; what was open is closed nevertheless.
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
    """Say why where a store does not answer.

    :param reasons: what has been logged of it so far, the last one last.
    :raises click.ClickException: it does not.
    """
    try:
        yield
    except TemporarilyUnavailable as error:
        raise click.ClickException("; ".join([*reasons[-1:], str(error)])) from None
    except OSError as error:
        raise click.ClickException(f"the database cannot be used: {error.strerror or error}") from None


def _listen() -> list[str]:
    """Keep what is logged from standard error; the list gets the errors among it, as text."""
    from twisted.logger import ILogObserver, LogLevel, formatEvent, globalLogBeginner
    from zope.interface import implementer

    errors: list[str] = []

    @implementer(ILogObserver)
    def observe(event: Any) -> None:
        if event.get("log_level") is LogLevel.error:
            errors.append(formatEvent(event).rstrip("."))

    globalLogBeginner.beginLoggingTo([observe], discardBuffer=True, redirectStandardIO=False)
    return errors


async def every(part: Callable[[Page], Awaitable[list[_T]]]) -> list[_T]:
    """All entries of a list that a store gives by the page."""
    found: list[_T] = []
    while True:
        page = await part(Page(len(found), PAGE_SIZE))
        found += page
        if len(page) < PAGE_SIZE:
            return found
