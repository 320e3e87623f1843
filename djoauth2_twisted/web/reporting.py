"""Publishes each refused request of a client as an event."""

from __future__ import annotations

from attrs import frozen
from twisted.web.iweb import IRequest

from ..errors import DJOAuthError, MissingRedirectURI, TooManyRequests
from ..events import Events, RequestRefused, Throttled
from ..printable import without_secrets
from .error_response import ErrorResponse
from .reading import address_of, client_of, request_id_of
from .respond import Response
from .statistics import MISSING_REDIRECT_URI


def refusal(endpoint: str, request: IRequest, error: DJOAuthError) -> RequestRefused | Throttled:
    """The event of a refused request."""
    client = client_of(request)
    if isinstance(error, TooManyRequests):
        return Throttled(
            endpoint=endpoint,
            client_id=client.client_id if client is not None else "",
            address=address_of(request),
            reason=error.reason,
            retry_after=error.retry_after,
            request_id=request_id_of(request),
        )
    return RequestRefused(
        endpoint=endpoint,
        client_id=client.client_id if client is not None else "",
        client_name=client.name if client is not None else "",
        address=address_of(request),
        request_id=request_id_of(request),
        error=error.error_name,
        # It may repeat a scope or a redirect URI, and a client may have sent a token instead of it.
        reason=without_secrets(error.reason),
        grant_id=error.grant_id,
        counted_as=MISSING_REDIRECT_URI if isinstance(error, MissingRedirectURI) else "",
    )


@frozen
class ReportedErrors:
    """The responses of an endpoint's errors, each of which is also an event."""

    endpoint: str
    errors: ErrorResponse
    events: Events

    def __call__(self, request: IRequest, error: DJOAuthError) -> Response:
        """The response of an error."""
        self.events.publish(refusal(self.endpoint, request, error))
        return self.errors(request, error)
