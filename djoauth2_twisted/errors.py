"""All errors that this server answers with, each with its name and HTTP status.

The names are registered by RFC 6749, section 11.4, and RFC 6750, section 6.2. The code that checks a
rule raises the error; the endpoint turns it into an answer, in one place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from .messages import Message

# RFC 6749, section 5.2: "Values for the "error_description" parameter MUST NOT include characters
# outside the set %x20-21 / %x23-5B / %x5D-7E."
_OUTSIDE_DESCRIPTION = re.compile(r"[^\x20-\x21\x23-\x5b\x5d-\x7e]")


_TAKEN = Message("that name is taken")


class DJOAuthError(Exception):
    """An error of the protocol.

    ``error_name`` is the value of ``error``. ``status_code`` is the HTTP status if the error is not
    sent by a redirect. The description is for the client's developer. It never repeats a value of the
    request.

    :param reason: the same for the operator's log, where more may be said. Without it, the description.
        It has no secret, code or token.
    :param grant_id: the id of the grant that the request was about, for the log.
    """

    error_name = "server_error"
    status_code = 500

    def __init__(self, description: str = "", *, reason: str = "", grant_id: str = "") -> None:
        super().__init__(description)
        self.description = _OUTSIDE_DESCRIPTION.sub("?", description)
        self.reason = reason or self.description
        self.grant_id = grant_id


def get_error_details(error: DJOAuthError) -> dict[str, str]:
    """The ``error`` and ``error_description`` of an answer (RFC 6749, sections 4.1.2.1 and 5.2)."""
    details = {"error": error.error_name}
    if error.description:
        details["error_description"] = error.description
    return details


class InvalidRequest(DJOAuthError):
    """A parameter is missing, repeated or malformed (RFC 6749, sections 4.1.2.1 and 5.2)."""

    error_name = "invalid_request"
    status_code = 400


class MethodNotAllowed(InvalidRequest):
    """The endpoint does not support the request's method (RFC 9110, section 15.5.6)."""

    status_code = 405

    def __init__(self, *allowed: str) -> None:
        super().__init__(f"the method must be {' or '.join(allowed)}")
        self.allowed = allowed


class NothingHere(InvalidRequest):
    """There is nothing at this address (RFC 9110, section 15.5.5)."""

    status_code = 404


class ContentTooLarge(InvalidRequest):
    """The body is larger than the endpoint accepts (RFC 9110, section 15.5.14)."""

    status_code = 413

    def __init__(self, description: str = "the body is too large") -> None:
        super().__init__(description)


class MissingRedirectURI(InvalidRequest):
    """The client or its redirect URI is not valid, so the browser is not redirected.

    RFC 6749, section 4.1.2.1: "If the request fails due to a missing, invalid, or mismatching
    redirection URI, or if the client identifier is missing or invalid, the authorization server
    SHOULD inform the resource owner of the error and MUST NOT automatically redirect the user-agent
    to the invalid redirection URI."
    """


class RequestNotSupported(InvalidRequest):
    """The unsupported parameter ``request`` was sent (OpenID Connect Core 1.0, section 3.1.2.6)."""

    error_name = "request_not_supported"


class RequestURINotSupported(InvalidRequest):
    """The unsupported ``request_uri`` was sent (OpenID Connect Core 1.0, section 3.1.2.6)."""

    error_name = "request_uri_not_supported"


class UnauthorizedClient(DJOAuthError):
    """The client may not use this method (RFC 6749, sections 4.1.2.1 and 5.2)."""

    error_name = "unauthorized_client"
    status_code = 400


class AccessDenied(DJOAuthError):
    """The resource owner refused (RFC 6749, section 4.1.2.1)."""

    error_name = "access_denied"
    status_code = 403


class LoginRequired(DJOAuthError):
    """The user must log in, and no page may ask for that, or another user is logged in.

    OpenID Connect Core 1.0, section 3.1.2.6.
    """

    error_name = "login_required"
    status_code = 400


class ConsentRequired(DJOAuthError):
    """The user must consent, and no page may ask for that (OpenID Connect Core 1.0, section 3.1.2.6)."""

    error_name = "consent_required"
    status_code = 400


class AccountSelectionRequired(DJOAuthError):
    """The user must choose an account, which cannot be done here (OpenID Connect Core 1.0, 3.1.2.6)."""

    error_name = "account_selection_required"
    status_code = 400


class UnsupportedResponseType(DJOAuthError):
    """Only ``code`` is supported (RFC 6749, section 4.1.2.1)."""

    error_name = "unsupported_response_type"
    status_code = 400


class InvalidScope(DJOAuthError):
    """The scope is unknown, malformed or exceeds what was granted (RFC 6749, section 5.2)."""

    error_name = "invalid_scope"
    status_code = 400


class InvalidClient(DJOAuthError):
    """Client authentication failed or is missing (RFC 6749, section 5.2)."""

    error_name = "invalid_client"
    status_code = 401


class InvalidGrant(DJOAuthError):
    """The code or refresh token cannot be used, or not by this client (RFC 6749, section 5.2)."""

    error_name = "invalid_grant"
    status_code = 400


class UnsupportedGrantType(DJOAuthError):
    """The grant type is not supported (RFC 6749, section 5.2)."""

    error_name = "unsupported_grant_type"
    status_code = 400


class MissingCredentials(DJOAuthError):
    """A request to a guarded resource has no bearer token.

    RFC 6750, section 3.1: "If the request lacks any authentication information [...], the resource
    server SHOULD NOT include an error code or other error information."
    """

    error_name = ""
    status_code = 401


class InvalidToken(DJOAuthError):
    """The access token is unknown, expired or revoked (RFC 6750, section 3.1)."""

    error_name = "invalid_token"
    status_code = 401

    def __init__(self, description: str = "the access token is unknown or has expired") -> None:
        super().__init__(description)


class InsufficientScope(DJOAuthError):
    """The access token does not cover ``scopes`` (RFC 6750, section 3.1)."""

    error_name = "insufficient_scope"
    status_code = 403

    def __init__(self, scopes: tuple[str, ...]) -> None:
        super().__init__("the access token does not cover the required scope")
        self.scopes = scopes


class ServerError(DJOAuthError):
    """A fault of the server (RFC 6749, section 4.1.2.1)."""


class TemporarilyUnavailable(DJOAuthError):
    """The store cannot answer now; the same request may succeed later (RFC 6749, section 4.1.2.1).

    :param retry_after: when to try again, in seconds (RFC 9110, section 10.2.3).
    """

    error_name = "temporarily_unavailable"
    status_code = 503

    def __init__(
        self, description: str = "try again later", retry_after: int = 1, *, reason: str = ""
    ) -> None:
        super().__init__(description, reason=reason)
        self.retry_after = retry_after


class TooManyRequests(TemporarilyUnavailable):
    """Too many failed attempts for one throttle key (RFC 6585, section 4)."""

    status_code = 429


class ConfigurationError(Exception):
    """A setting, option or file is wrong. The message is one line: the fault, and how to fix it.

    :param about: the name of the setting or option, with ``_``; the empty string if none is at fault.
    """

    def __init__(self, message: str, about: str = "") -> None:
        super().__init__(message)
        self.about = about


@contextmanager
def concerning(name: str) -> Iterator[None]:
    """Name the option that a `ConfigurationError` is about, if the error names none itself."""
    try:
        yield
    except ConfigurationError as error:
        error.about = error.about or name
        raise


class RegistrationError(Exception):
    """A change to a client, scope, user or grant is not possible.

    :param message: one line for the administrator, without a capital and a full stop. The pages
        translate a `Message`.
    :param field: the name of the field with the wrong value; empty where it is not one field's.

    ``others`` are the errors of further fields of the same object; see `FieldErrors`.
    """

    def __init__(self, message: Message | str, field: str = "") -> None:
        super().__init__(str(message))
        self.message = message
        self.field = field
        self.others: tuple[RegistrationError, ...] = ()


@contextmanager
def at_field(name: str) -> Iterator[None]:
    """Name the field that a `RegistrationError` is about, if the error names none itself."""
    try:
        yield
    except RegistrationError as error:
        error.field = error.field or name
        raise


class FieldErrors:
    """Collects the errors of several checks, so that they are reported together::

    errors = FieldErrors()
    with errors.of("name"):
        check_name(name)
    with errors.of("email"):
        check_email(email)
    errors.raise_all()
    """

    def __init__(self) -> None:
        self._found: list[RegistrationError] = []

    def __bool__(self) -> bool:
        return bool(self._found)

    @contextmanager
    def of(self, field: str = "") -> Iterator[None]:
        """Keep the error of a check, if it raises one.

        :param field: the field that is checked, for an error that names none itself.
        """
        try:
            with at_field(field):
                yield
        except RegistrationError as error:
            self._found += [error, *error.others]
            error.others = ()

    def raise_all(self) -> None:
        """Raise the first error, which has the others with it. Without an error, do nothing."""
        if self._found:
            first, *others = self._found
            first.others = tuple(others)
            raise first


class AlreadyExists(RegistrationError):
    """The name is taken."""

    def __init__(self, message: Message | str = _TAKEN, field: str = "") -> None:
        super().__init__(message, field)


class ChangedMeanwhile(RegistrationError):
    """The same object was changed by another request after it was read."""

    def __init__(self) -> None:
        super().__init__(
            Message(
                "another administrator has changed this meanwhile: check the current values, "
                "and make your change again"
            )
        )


class NotAllEnded(RegistrationError):
    """The change is made, but the token store could not end the grants or tokens that go with it.

    :param done: what is already done, as the first clause of the message.
    """

    def __init__(self, done: Message) -> None:
        super().__init__(
            Message(
                "%(done)s, but the token store does not answer: do this again, so that its tokens end"
            ).filled(done=done)
        )


class LastAdmin(RegistrationError):
    """The change would leave no enabled administrator."""

    def __init__(self) -> None:
        super().__init__(Message("this is the last administrator: make another one first"))


class NotFound(RegistrationError):
    """There is no object with this id or name."""

    def __init__(self, message: Message | str = "there is none of that name") -> None:
        super().__init__(message)
