"""The access token request and its answer (RFC 6749, sections 4.1.3, 5.1 and 6)."""

from __future__ import annotations

from collections.abc import Collection

from attrs import field, frozen

from ..errors import InvalidGrant, InvalidRequest, InvalidScope, UnsupportedGrantType
from ..models import (
    Client,
    CodeProof,
    Expired,
    Issued,
    Outcome,
    RefreshProof,
    RefreshRetried,
    Refused,
    Replayed,
)
from ..parameters import Parameters
from . import scopes
from .openid_scopes import OPENID

_UNUSABLE = "it is unknown or was used before"

#: The parameters of a token request. They must not be in its URI.
PARAMETERS = frozenset(
    {
        "grant_type",
        "code",
        "redirect_uri",
        "client_id",
        "client_secret",
        "code_verifier",
        "refresh_token",
        "scope",
    }
)


@frozen
class CodeRequest:
    """A request with ``grant_type=authorization_code`` (RFC 6749, section 4.1.3)."""

    code: str = field(repr=False)
    proof: CodeProof


@frozen
class RefreshRequest:
    """A request with ``grant_type=refresh_token`` (RFC 6749, section 6)."""

    refresh_token: str = field(repr=False)
    proof: RefreshProof


def check_client(client: Client) -> None:
    """Refuse a client that cannot have grants.

    :raises InvalidGrant: it is a resource server without a redirect URI.
    """
    if client.resource_server and not client.redirect_uris:
        raise InvalidGrant("no grant was made to this client")


def read_grant_type(form: Parameters, supported: Collection[str]) -> str:
    """The grant type of a token request.

    :raises InvalidRequest: it is missing.
    :raises UnsupportedGrantType: it is not supported.
    """
    grant_type = form.get("grant_type")
    if grant_type is None:
        raise InvalidRequest("grant_type is missing")
    if grant_type not in supported:
        raise UnsupportedGrantType(f"grant_type must be {' or '.join(supported)}")
    return grant_type


def read_code_request(form: Parameters, client: Client) -> CodeRequest:
    """A request of an authenticated client to exchange a code.

    :raises InvalidRequest: the code is missing.
    """
    code = form.get("code")
    if code is None:
        raise InvalidRequest("code is missing")
    # RFC 6749, section 4.1.3: "ensure that the "redirect_uri" parameter is present if the
    # "redirect_uri" parameter was included in the initial authorization request [...], and if included
    # ensure that their values are identical."
    proof = CodeProof(
        client.client_id,
        form.get("redirect_uri"),
        form.get("code_verifier"),
        client.scopes,
        client.redirect_uris,
    )
    return CodeRequest(code, proof)


def read_refresh_request(
    form: Parameters, client: Client, refreshable: bool, openid: bool = False
) -> RefreshRequest:
    """A request of an authenticated client to exchange a refresh token.

    :param refreshable: the setting ``ACCESS_TOKENS_REFRESHABLE``.
    :param openid: the setting ``OPENID``.
    :raises InvalidRequest: the refresh token is missing.
    :raises InvalidScope: the scope is malformed.
    :raises InvalidGrant: tokens are not refreshable.
    """
    refresh_token = form.get("refresh_token")
    if refresh_token is None:
        raise InvalidRequest("refresh_token is missing")
    scope = form.get("scope")
    names = None if scope is None else scopes.split(scope)
    if not refreshable:
        raise InvalidGrant("tokens are not refreshable")
    return RefreshRequest(refresh_token, RefreshProof(client.client_id, names, client.scopes, openid))


def check_outcome(outcome: Outcome, now: int) -> Issued | RefreshRetried:
    """The outcome of an exchange, if it is a success.

    :param now: in seconds since the epoch, for the log.

    :raises InvalidScope: the client requested more than was granted.
    :raises InvalidGrant: the code or refresh token is not valid for this client.
    """
    match outcome:
        case Issued() | RefreshRetried():
            return outcome
        case Refused(reason, invalid_scope=True, grant_id=grant_id):
            raise InvalidScope(reason, grant_id=grant_id)
        case Refused(reason, grant_id=grant_id):
            raise InvalidGrant(reason, grant_id=grant_id)
        case Expired(at, grant_id):
            since = "" if at is None else f" {now - at} seconds ago"
            raise InvalidGrant("it has expired", reason=f"it expired{since}", grant_id=grant_id)
        case Replayed(grant):
            raise InvalidGrant(_UNUSABLE, reason="it was used before", grant_id=grant.id)
        case _:
            raise InvalidGrant(_UNUSABLE, reason="it is unknown, or its grant has ended")


def answer(
    access_token: str,
    refresh_token: str | None,
    scope: tuple[str, ...],
    expires_in: int,
    id_token: str | None = None,
) -> dict[str, str | int]:
    """A successful answer (RFC 6749, section 5.1). ``expires_in`` is in seconds."""
    body: dict[str, str | int] = {
        "access_token": access_token,
        "token_type": "Bearer",
        "expires_in": expires_in,
        "scope": " ".join(scope),
    }
    if refresh_token is not None:
        body["refresh_token"] = refresh_token
    if id_token is not None and OPENID in scope:
        body["id_token"] = id_token
    return body
