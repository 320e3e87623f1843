"""Publishes each refused request of a client as an event."""

from __future__ import annotations

from attrs import frozen
from twisted.web.iweb import IRequest

from ..errors import DJOAuthError
from ..events import Events, RequestRefused
from ..models import Client
from .error_response import ErrorResponse
from .reading import address_of, client_of
from .respond import Response


def refusal(
    endpoint: str, request: IRequest, client: Client | None, error: DJOAuthError
) -> RequestRefused:
    """The event of a refused request.

    :param client: the registered client that the request names, or None.
    """
    return RequestRefused(
        endpoint=endpoint,
        client_id=client.client_id if client is not None else "",
        client_name=client.name if client is not None else "",
        address=address_of(request),
        error=error.error_name,
        reason=error.description,
    )


@frozen
class ReportedErrors:
    """The responses of an endpoint's errors, each of which is also an event."""

    endpoint: str
    errors: ErrorResponse
    events: Events

    def __call__(self, request: IRequest, error: DJOAuthError) -> Response:
        """The response of an error."""
        self.events.publish(refusal(self.endpoint, request, client_of(request), error))
        return self.errors(request, error)
