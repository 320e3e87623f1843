"""What happens in a server that its operator, or the application around it, wants to know.

Each event is a value. It becomes a line of the log, and an application can subscribe to its type::

    from djoauth2_twisted.events import LoginRefused

    server.events.subscribe(LoginRefused, lambda event: alarm(event.address))

An event contains no secret, code or token. Clients and grants are named by their ids. A receiver is
called in the reactor's thread.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Protocol, TypeVar

import attrs
from attrs import frozen
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger, LogLevel

from .printable import printable

#: How many events of one type are written to the log in `LOG_INTERVAL`. Further ones are counted.
MAX_LINES = 100

#: In seconds.
LOG_INTERVAL = 10


#: The longest field of a line, in characters. The rest is cut off.
MAX_FIELD_LENGTH = 1000


class Event(Protocol):
    """An event, an attrs class."""

    #: The line of the log, a format string of the fields.
    line: ClassVar[str]
    level: ClassVar[Any]


_E = TypeVar("_E", bound=Event)

_log = Logger()


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
    request_id: str = ""


@frozen(kw_only=True)
class ConsentDenied(_Info):
    """A resource owner has declined."""

    line: ClassVar[str] = "{username!r} denied {client_id} access"
    username: str
    client_id: str
    address: str
    request_id: str = ""


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
    request_id: str = ""


@frozen(kw_only=True)
class RequestRefused(_Info):
    """A request of a client was refused.

    :param endpoint: ``token``, ``revoke``, ``introspect`` or ``authorization``.
    :param client_id: empty if the request names no registered client.
    :param error: the standard's name of the error.
    :param reason: why exactly. The client gets the error's description, which may say less.
    :param grant_id: the grant of the code or token, where there is one. It may be another client's.
    :param counted_as: the name of the error in the statistics, if it is another than ``error``.
    """

    line: ClassVar[str] = (
        "refused {endpoint} request of {client} from {address}: {error}: {reason}{about}"
    )
    endpoint: str
    client_id: str
    client_name: str
    address: str
    error: str
    reason: str
    grant_id: str = ""
    request_id: str = ""
    counted_as: str = ""

    @property
    def client(self) -> str:
        """The client in words."""
        return f"{self.client_id} ({self.client_name})" if self.client_id else "an unknown client"

    @property
    def about(self) -> str:
        """The grant in words."""
        return f" (grant {self.grant_id})" if self.grant_id else ""


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
    request_id: str = ""


@frozen(kw_only=True)
class TokenRevoked(_Info):
    """A client has revoked a token (RFC 7009)."""

    line: ClassVar[str] = "{client_id} revoked a token of grant {grant_id}"
    client_id: str
    grant_id: str
    address: str
    request_id: str = ""


@frozen(kw_only=True)
class ApplicationRemoved(_Info):
    """A resource owner has revoked all grants of a client."""

    line: ClassVar[str] = "{username!r} removed {client_id}, which ended {count} grants"
    username: str
    client_id: str
    count: int
    address: str
    request_id: str = ""


@frozen(kw_only=True)
class AccountChanged(_Info):
    """A user has changed something about the account, or has ended logins.

    :param change: as in the audit trail, such as ``user set-password``.
    """

    line: ClassVar[str] = "{username!r} changed the account from {address}: {change}"
    username: str
    change: str
    address: str
    request_id: str = ""


@frozen(kw_only=True)
class LoggedIn(_Info):
    """A user has logged in."""

    line: ClassVar[str] = "{username!r} logged in from {address}"
    username: str
    address: str
    request_id: str = ""


@frozen(kw_only=True)
class LoginRefused(_Info):
    """A name or a password was wrong.

    :param username: empty if there is no such user here: people type passwords into the wrong field.
    """

    line: ClassVar[str] = "A login{of} from {address} was refused: {reason}"
    username: str
    address: str
    reason: str
    request_id: str = ""

    @property
    def of(self) -> str:
        """The user in words."""
        return f" of {self.username!r}" if self.username else ""


@frozen(kw_only=True)
class Throttled(_Info):
    """A request was refused because too many failed before it (RFC 6585, section 4).

    :param endpoint: ``token``, ``revoke``, ``introspect`` or ``login``.
    :param client_id: empty if the request names no registered client, or if that was not looked up.
    :param reason: which limit.
    :param retry_after: how long its sender has to wait, in seconds.
    """

    line: ClassVar[str] = "throttled a {endpoint} request from {address} for {retry_after} s: {reason}"
    endpoint: str
    client_id: str
    address: str
    reason: str
    retry_after: int
    request_id: str = ""


@frozen(kw_only=True)
class Administered(_Info):
    """An administrator has changed a client, scope, user or grant.

    Changes of the command line are made in another process. They are in the audit trail only.

    :param action: as in the audit trail, such as ``client edit``.
    :param subject: the id or name of what was changed.
    :param details: the changed fields and their new values.
    """

    line: ClassVar[str] = "{actor!r} at {address}: {action} {subject}"
    actor: str
    address: str
    action: str
    subject: str
    details: Mapping[str, str]


@frozen(kw_only=True)
class LogoutSent(_Info):
    """A client has taken a logout token (OpenID Connect Back-Channel Logout 1.0)."""

    line: ClassVar[str] = "{client_id} has taken the logout token of {username!r}"
    username: str
    client_id: str


@frozen(kw_only=True)
class LogoutNotSent:
    """A client has not taken a logout token.

    :param again_in: when the server tries again, in seconds; None: not again.
    """

    level: ClassVar[Any] = LogLevel.warn
    line: ClassVar[str] = "{client_id} has not taken the logout token of {username!r}: {reason}{about}"
    username: str
    client_id: str
    reason: str
    again_in: int | None

    @property
    def about(self) -> str:
        """What comes next, in words."""
        return ". It is not sent again" if self.again_in is None else f". Next in {self.again_in} s"


@frozen(kw_only=True)
class StoreLost:
    """A store does not answer.

    :param store: its name.
    """

    level: ClassVar[Any] = LogLevel.error
    line: ClassVar[str] = "{store} does not answer: {reason}"
    store: str
    reason: str


@frozen(kw_only=True)
class StoreBack(_Info):
    """A store answers again."""

    line: ClassVar[str] = "{store} answers again."
    store: str


@frozen(kw_only=True)
class CertificatesRead(_Info):
    """The certificates of a port were read again."""

    line: ClassVar[str] = "{port}: the certificates were read again."
    port: str


@frozen(kw_only=True)
class CertificatesRefused:
    """The new certificates of a port are not usable. The previous ones stay in use."""

    level: ClassVar[Any] = LogLevel.error
    line: ClassVar[str] = "{reason}. The previous certificates stay in use."
    port: str
    reason: str


def write_line(event: Event) -> None:
    """Write the line of an event to the log."""
    fields = _fields(event)
    line = f"{event.line} [{{request_id}}]" if fields.get("request_id") else event.line
    _log.emit(event.level, line, **fields)


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
            write_line(event)
        for receiver in list(self._receivers.get(kind, ())):
            try:
                receiver(event)
            except Exception:
                self._log.failure("A receiver of events failed")

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
    """The fields of an event for the log, and the words that its line makes of them.

    A client chooses some of them, so that they are made printable and cut.
    """
    fields = {each.name: getattr(event, each.name) for each in attrs.fields(type(event))}
    for name in ("client", "of", "about"):
        if hasattr(event, name):
            fields[name] = getattr(event, name)
    return {"event": type(event).__name__, **{name: _bounded(value) for name, value in fields.items()}}


def _bounded(value: Any) -> Any:
    return printable(value[:MAX_FIELD_LENGTH]) if isinstance(value, str) else value
