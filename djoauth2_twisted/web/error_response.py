"""Makes the response of an error.

Each route names the form of its errors: `ClientErrors` for a client of the server, `BearerErrors` for a
client of a guarded resource, `Pages.error` for a person.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from attrs import frozen
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest

from ..errors import (
    DJOAuthError,
    MethodNotAllowed,
    MissingCredentials,
    ServerError,
    TemporarilyUnavailable,
    get_error_details,
)
from ..exhaustion import exhausted
from ..protocol import bearer
from . import respond
from .reading import has_hung_up, request_id_of
from .respond import Response

#: Makes the response of an error to a request.
ErrorResponse = Callable[[IRequest, DJOAuthError], Response]

_TEXT: respond.Headers = {"Content-Type": "text/plain; charset=utf-8"}
_NEEDS_TOKEN = b"An access token is needed for this address.\n"

_log = Logger()


#: The header that tells the identifier of a request, by which its lines are found in the log.
REQUEST_ID = "X-Request-ID"


def error_headers(request: IRequest, error: DJOAuthError) -> respond.Headers:
    """The headers of an error's response: the request's identifier, and what the status needs."""
    return {REQUEST_ID: request_id_of(request), **status_headers(error)}


def status_headers(error: DJOAuthError) -> respond.Headers:
    """The headers that an error's status needs, in a response for a client or a person."""
    match error:
        case MethodNotAllowed():
            return {"Allow": ", ".join(error.allowed)}
        case TemporarilyUnavailable():
            return {"Retry-After": str(error.retry_after)}
        case _:
            return {}


@frozen
class ClientErrors:
    """JSON for a client of the server (RFC 6749, section 5.2)."""

    realm: str

    def __call__(self, request: IRequest, error: DJOAuthError) -> Response:
        """The response of an error."""
        headers = {**respond.NO_STORE, **error_headers(request, error)}
        if error.status_code == 401:
            # RFC 6749, section 5.2: "the authorization server MUST respond with an HTTP 401
            # (Unauthorized) status code and include the "WWW-Authenticate" response header field".
            headers["WWW-Authenticate"] = f"Basic realm={bearer.quoted(self.realm)}"
        return respond.as_json(request, error.status_code, get_error_details(error), headers)


@frozen
class BearerErrors:
    """A challenge and JSON for a client of a guarded resource (RFC 6750, section 3).

    Without an access token the body is a short text, because a browser shows it to a person.

    :param metadata_address: the address of the resource's metadata (RFC 9728), or None.
    """

    realm: str
    metadata_address: str | None = None

    def __call__(self, request: IRequest, error: DJOAuthError) -> Response:
        """The response of an error."""
        # Nothing is logged of other errors.
        of_error = error_headers(request, error) if error.status_code >= 500 else status_headers(error)
        headers = {**respond.NO_STORE, **of_error}
        # Other errors do not depend on the credentials, so the response asks for no others.
        if error.status_code in {400, 401, 403}:
            headers["WWW-Authenticate"] = bearer.challenge(error, self.realm, self.metadata_address)
        if isinstance(error, MissingCredentials):
            return respond.respond(request, error.status_code, {**_TEXT, **headers}, _NEEDS_TOKEN)
        return respond.as_json(request, error.status_code, get_error_details(error), headers)


async def response_of(
    answering: Awaitable[Response], request: IRequest, errors: ErrorResponse
) -> Response:
    """The response of an endpoint, or of the error that it raises.

    An unexpected error is logged, and answered as ``server_error``; where the system has run out of
    something, as ``temporarily_unavailable``. Where the client has hung up, it is
    raised again, because there is no client that reads a response.
    """
    try:
        return await answering
    except DJOAuthError as error:
        return errors(request, error)
    except Exception:
        if has_hung_up(request):
            raise
        return errors(request, logged_fault(request, "A request failed", Failure()))


def logged_fault(request: IRequest, what: str, failure: Failure) -> DJOAuthError:
    """Log an unexpected error, and return the error to answer with.

    :param what: what has failed, in one sentence without a full stop.
    """
    identifier = request_id_of(request)
    if lacking := exhausted(failure.value):
        line = "{what}: the system is out of {lacking} [{request_id}]"
        _log.error(line, what=what, lacking=lacking, request_id=identifier)
        return TemporarilyUnavailable()
    _log.failure("{what} [{request_id}]", failure, what=what, request_id=identifier)
    return ServerError()
