"""Sends logout tokens, to addresses of the public internet alone."""

from __future__ import annotations

from io import BytesIO
from typing import Any, cast
from urllib.parse import urlencode

import treq
from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.error import ConnectingCancelledError, DNSLookupError
from twisted.internet.interfaces import (
    IHostnameResolver,
    IHostResolution,
    IReactorPluggableNameResolver,
    IReactorTime,
    IResolutionReceiver,
)
from twisted.internet.task import Cooperator
from twisted.python.failure import Failure
from twisted.web.client import Agent, FileBodyProducer
from twisted.web.http_headers import Headers
from zope.interface import directlyProvides, implementer, providedBy

from ..printable import printable
from ..protocol.addresses import is_public
from ..protocol.redirection import as_ascii

#: How long a client may take to answer, in seconds.
DEADLINE = 5


#: The longest answer that is read, in bytes. It is not looked at.
MAX_ANSWER_SIZE = 64 * 1024


_FORM = Headers({b"Content-Type": [b"application/x-www-form-urlencoded"]})


@implementer(IResolutionReceiver)
@frozen
class _PublicAddresses:
    """Passes on the addresses of a name that are public."""

    receiver: Any

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        self.receiver.resolutionBegan(resolutionInProgress)

    def addressResolved(self, address: Any) -> None:
        if is_public(address.host):
            self.receiver.addressResolved(address)

    def resolutionComplete(self) -> None:
        self.receiver.resolutionComplete()


@implementer(IHostnameResolver)
@frozen
class _PublicResolver:
    """Finds only public addresses of a name. An address that is written as such is looked up, too.

    The connection is made to the addresses that were judged, so that a name which gets another address
    meanwhile changes nothing.
    """

    resolver: Any

    def resolveHostName(self, resolutionReceiver: Any, *arguments: Any, **named: Any) -> IHostResolution:
        found: IHostResolution = self.resolver.resolveHostName(
            _PublicAddresses(resolutionReceiver), *arguments, **named
        )
        return found


class _PublicReactor:
    """A reactor that connects to public addresses alone."""

    def __init__(self, reactor: IReactorTime) -> None:
        self._reactor = cast("IReactorPluggableNameResolver", reactor)
        directlyProvides(self, providedBy(reactor), IReactorPluggableNameResolver)

    @property
    def nameResolver(self) -> _PublicResolver:
        return _PublicResolver(self._reactor.nameResolver)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)


def make_agent(reactor: IReactorTime, private: bool) -> Any:
    """An agent that verifies TLS, and whose connections serve one request each.

    :param private: whether it may connect to addresses of private networks and of this machine.
    """
    return Agent(reactor if private else _PublicReactor(reactor), connectTimeout=DEADLINE)


@frozen
class Answer:
    """What came of a logout token.

    :param taken: whether the client has taken it.
    :param final: whether it is of no use to send it again.
    :param reason: why it was not taken.
    """

    taken: bool
    final: bool = True
    reason: str = ""


@frozen
class Sender:
    """Sends logout tokens by POST (Back-Channel Logout 1.0, section 2.5).

    :param clock: provides IReactorTime.
    :param agent: an IAgent.
    :param only_https: whether an address that was registered without TLS gets no token.
    """

    clock: IReactorTime
    agent: Any
    only_https: bool = True

    def send(self, address: str, token: str) -> Deferred[Answer]:
        """Send a token. The Deferred does not fail."""
        sending: Deferred[Answer] = Deferred.fromCoroutine(self._send(address, token))
        return sending.addTimeout(DEADLINE, self.clock).addErrback(_unanswered)

    async def _send(self, address: str, token: str) -> Answer:
        if self.only_https and not address.startswith("https://"):
            # It was registered when ``SSL_ONLY`` was false.
            return Answer(False, True, "its address is not https")
        form = urlencode({"logout_token": token}).encode("ascii")
        # By our own clock, not that of the global reactor.
        turns = Cooperator(scheduler=lambda turn: self.clock.callLater(0, turn))
        body, uri = FileBodyProducer(BytesIO(form), turns), as_ascii(address).encode("ascii")
        response = await self.agent.request(b"POST", uri, _FORM, body)
        length = 0

        def count(data: bytes) -> None:
            nonlocal length
            length += len(data)
            if length > MAX_ANSWER_SIZE:
                raise ValueError("its answer is too long")

        await treq.collect(response, count)
        return judge_status(response.code)


def judge_status(status: int) -> Answer:
    """What a client's status means (Back-Channel Logout 1.0, section 2.8).

    "Note that some Web frameworks will substitute an HTTP 204 No Content response for an HTTP 200 OK".
    """
    if status in (200, 204):
        return Answer(True)
    may_pass = status >= 500 or status in (408, 425, 429)
    return Answer(False, not may_pass, f"it answered {status}")


def _unanswered(failure: Failure) -> Answer:
    return Answer(False, False, _reason_of(failure))


def _reason_of(failure: Failure) -> str:
    # Twisted wraps the reasons in other errors.
    inner = getattr(failure.value, "reasons", None)
    if inner:
        return _reason_of(inner[0])
    if failure.check(DeferredTimeout, CancelledError, ConnectingCancelledError):
        return "it did not answer in time"
    if failure.check(DNSLookupError):
        return "its host is unknown, or has no address that may be reached"
    return printable(failure.getErrorMessage())
