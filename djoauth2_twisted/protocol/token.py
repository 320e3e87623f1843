"""The access token request and its answer (RFC 6749, sections 4.1.3, 5.1 and 6)."""

from __future__ import annotations

from attrs import field, frozen

from ..errors import DJOAuthError, InvalidGrant, InvalidRequest, InvalidScope, UnsupportedGrantType
from ..models import Client, CodeProof, Expired, Issued, Outcome, RefreshProof, RefreshRetried, Refused
from ..parameters import Parameters
from . import scopes

#: What a token request consists of, and what must therefore not stand in its URI.
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
    """``grant_type=authorization_code``."""

    code: str = field(repr=False)
    proof: CodeProof


@frozen
class RefreshRequest:
    """``grant_type=refresh_token``."""

    refresh_token: str = field(repr=False)
    proof: RefreshProof


def read_request(form: Parameters, client: Client) -> CodeRequest | RefreshRequest:
    """A token request of an authenticated client.

    :raises DJOAuthError: the grant type is not supported or its parameters are wrong.
    """
    match form.get("grant_type"):
        case None:
            raise InvalidRequest("grant_type is missing")
        case "authorization_code":
            code = form.get("code")
            if code is None:
                raise InvalidRequest("code is missing")
            # RFC 6749, section 4.1.3: "ensure that the "redirect_uri" parameter is present if the
            # "redirect_uri" parameter was included in the initial authorization request [...], and
            # if included ensure that their values are identical."
            proof = CodeProof(client.client_id, form.get("redirect_uri"), form.get("code_verifier"))
            return CodeRequest(code, proof)
        case "refresh_token":
            refresh_token = form.get("refresh_token")
            if refresh_token is None:
                raise InvalidRequest("refresh_token is missing")
            scope = form.get("scope")
            names = None if scope is None else scopes.split(scope)
            return RefreshRequest(refresh_token, RefreshProof(client.client_id, names))
        case _:
            raise UnsupportedGrantType("grant_type must be authorization_code or refresh_token")


def refusal(outcome: Outcome) -> DJOAuthError | None:
    """The error that a store's outcome means to the client, or None where it is good."""
    match outcome:
        case Issued() | RefreshRetried():
            return None
        case Refused(reason, invalid_scope=True):
            return InvalidScope(reason)
        case Refused(reason):
            return InvalidGrant(reason)
        case Expired():
            return InvalidGrant("it has expired")
        case _:
            return InvalidGrant("it is unknown or was used before")


def answer(
    access_token: str, refresh_token: str | None, scope: tuple[str, ...], expires_in: int
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
    return body
