"""The verifier that a server is: it answers while the store is open, and counts requests in flight."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.web.server import Request
from zope.interface import implementer

from ..errors import TemporarilyUnavailable
from ..interfaces import IRecallingVerifier, IRequestCounter, ITokenVerifier
from ..models import AccessToken
from ..readiness import Readiness
from .local import StoreVerifier


@implementer(ITokenVerifier, IRecallingVerifier, IRequestCounter)
class ServingVerifier:
    """What a server provides to guards besides `IResourceServer`. The server sets the attributes."""

    running: int
    _readiness: Readiness
    _verifier: StoreVerifier
    #: The `InFlight` of the server.
    _in_flight: Any

    def verify(self, token: str, scopes: tuple[str, ...]) -> Deferred[AccessToken]:
        """Judge an access token; see `ITokenVerifier`."""
        if not self._readiness.is_ready:
            return fail(TemporarilyUnavailable())
        return self._verifier.verify(token, scopes)

    def recall(self, token: str) -> AccessToken | None:
        """An access token that the cache knows; see `IRecallingVerifier`."""
        if not (self._readiness.is_ready and self.running):
            return None
        return self._verifier.recall(token)

    def enter(self) -> None:
        """Count a request in flight; see `IRecallingVerifier`."""
        self._in_flight.enter()

    def leave(self, request: Request) -> None:
        """Count it until its answer has ended; see `IRecallingVerifier`."""
        self._in_flight.leave(request)

    def begin_request(self, request: Request) -> bool:
        """Count a request in flight; see `IRequestCounter`."""
        if request in self._in_flight:
            return True
        if not (self._readiness.is_ready and self.running):
            return False
        self._in_flight.add(request)
        return True
