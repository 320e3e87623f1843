"""What happens in a server that its operator, or the application around it, wants to know.

Each event is a value. It becomes a line of the log, and an application can subscribe to its type::

    from djoauth2_twisted.events import LoginRefused

    server.events.subscribe(LoginRefused, lambda event: alarm(event.address))

An event contains no secret, code or token. Clients and grants are named by their ids. A receiver is
called in the reactor's thread.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any, ClassVar, Protocol, TypeVar

import attrs
from attrs import frozen
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger, LogLevel

#: How many events of one type are written to the log in `LOG_INTERVAL`. Further ones are counted.
MAX_LINES = 100

#: In seconds.
LOG_INTERVAL = 10


class Event(Protocol):
    """An event, an attrs class."""

    #: The line of the log, a format string of the fields.
    line: ClassVar[str]
    level: ClassVar[Any]


_E = TypeVar("_E", bound=Event)


@frozen(kw_only=True)
class _Info:
    level: ClassVar[Any] = LogLevel.info


@frozen(kw_only=True)
class CodeIssued(_Info):
    """A resource owner has consented, and the client gets a code."""

    line: ClassVar[str] = "{username!r} allowed {client_id} the scopes {scopes}: grant {grant_id}"
    username: str
    client_id: str
    scopes: tuple[str, ...]
    grant_id: str
    address: str


@frozen(kw_only=True)
class ConsentDenied(_Info):
    """A resource owner has declined."""

    line: ClassVar[str] = "{username!r} denied {client_id} access"
    username: str
    client_id: str
    address: str


@frozen(kw_only=True)
class TokensIssued(_Info):
    """A client has exchanged a code or a refresh token."""

    line: ClassVar[str] = (
        "{client_id} ({client_name}) got tokens of {username!r} by {grant_type} from {address}: "
        "grant {grant_id}"
    )
    client_id: str
    client_name: str
    username: str
    grant_type: str
    grant_id: str
    scopes: tuple[str, ...]
    address: str


@frozen(kw_only=True)
class RequestRefused(_Info):
    """A request of a client was refused.

    :param endpoint: ``token``, ``revoke``, ``introspect`` or ``authorization``.
    :param client_id: empty if the request names no registered client.
    :param error: the standard's name of the error.
    :param reason: the error's description.
    """

    line: ClassVar[str] = "refused {endpoint} request of {client} from {address}: {error}: {reason}"
    endpoint: str
    client_id: str
    client_name: str
    address: str
    error: str
    reason: str

    @property
    def client(self) -> str:
        """The client in words."""
        return f"{self.client_id} ({self.client_name})" if self.client_id else "an unknown client"


@frozen(kw_only=True)
class ReuseDetected:
    """A code or a refresh token was used a second time, so its grant is revoked."""

    level: ClassVar[Any] = LogLevel.warn
    line: ClassVar[str] = (
        "{what} of client {client_id} was used again: grant {grant_id} of {username!r} is revoked"
    )
    what: str
    client_id: str
    grant_id: str
    username: str
    address: str


@frozen(kw_only=True)
class TokenRevoked(_Info):
    """A client has revoked a token (RFC 7009)."""

    line: ClassVar[str] = "{client_id} revoked a token of grant {grant_id}"
    client_id: str
    grant_id: str
    address: str


@frozen(kw_only=True)
class ApplicationRemoved(_Info):
    """A resource owner has revoked all grants of a client."""

    line: ClassVar[str] = "{username!r} removed {client_id}, which ended {count} grants"
    username: str
    client_id: str
    count: int
    address: str


@frozen(kw_only=True)
class LoggedIn(_Info):
    """A user has logged in."""

    line: ClassVar[str] = "{username!r} logged in from {address}"
    username: str
    address: str


@frozen(kw_only=True)
class LoginRefused(_Info):
    """A name or a password was wrong, or there were too many attempts.

    :param username: empty if there is no such user here: people type passwords into the wrong field.
    """

    line: ClassVar[str] = "A login{of} from {address} was refused: {reason}"
    username: str
    address: str
    reason: str

    @property
    def of(self) -> str:
        """The user in words."""
        return f" of {self.username!r}" if self.username else ""


class Events:
    """Writes events to the log, and passes them to their subscribers."""

    _log = Logger()

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._receivers: defaultdict[type[Any], list[Callable[[Any], object]]] = defaultdict(list)
        #: For each type: the begin of the interval, and the number of events in it.
        self._written: dict[type[Any], tuple[float, int]] = {}

    def subscribe(self, kind: type[_E], receiver: Callable[[_E], object]) -> None:
        """Call a receiver with each event of a type. An error of the receiver is logged."""
        self._receivers[kind].append(receiver)

    def unsubscribe(self, kind: type[_E], receiver: Callable[[_E], object]) -> None:
        """Call the receiver no more.

        :raises ValueError: it is not subscribed.
        """
        self._receivers[kind].remove(receiver)

    def publish(self, event: Event) -> None:
        """Write an event to the log, and pass it to its subscribers."""
        kind = type(event)
        if self._may_write(kind):
            self._log.emit(event.level, event.line, **_fields(event))
        for receiver in list(self._receivers.get(kind, ())):
            with self._log.failuresHandled("A receiver of events failed"):
                receiver(event)

    def _may_write(self, kind: type[Any]) -> bool:
        """Whether there is room for one more line. The first event after a flood logs its size."""
        now = self._clock.seconds()
        begun, count = self._written.get(kind, (now, 0))
        if not 0 <= now - begun < LOG_INTERVAL:
            if count > MAX_LINES:
                self._log.warn(
                    "{count} more events {kind} were not written.",
                    count=count - MAX_LINES,
                    kind=kind.__name__,
                )
            begun, count = now, 0
        self._written[kind] = begun, count + 1
        return count < MAX_LINES


def _fields(event: Any) -> dict[str, Any]:
    """The fields of an event, and the words that its line makes of them."""
    fields = {each.name: getattr(event, each.name) for each in attrs.fields(type(event))}
    for name in ("client", "of"):
        if hasattr(event, name):
            fields[name] = getattr(event, name)
    return {"event": type(event).__name__, **fields}
