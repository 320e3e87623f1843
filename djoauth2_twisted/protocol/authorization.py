"""The checks of an authorization request (RFC 6749, section 4.1.1; RFC 7636, section 4.3)."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from ..errors import (
    InvalidRequest,
    InvalidScope,
    MissingRedirectURI,
    RequestNotSupported,
    RequestURINotSupported,
    UnsupportedResponseType,
)
from ..models import Client, Grant, ResourceOwner, Scope
from ..parameters import Parameters
from . import authentication_request, pkce, scopes
from .authentication_request import AuthenticationRequest
from .redirection import choose_redirect_uri, update_parameters

#: The longest client identifier, in characters.
MAX_CLIENT_ID_LENGTH = 255

# The parameters that determine the redirect URI.
_REDIRECTION_PARAMETERS = frozenset({"client_id", "redirect_uri"})


@frozen
class Redirection:
    """Where the answer to an authorization request goes: a valid redirect URI."""

    redirect_uri: str
    state: str | None
    issuer: str

    def address(self, parameters: dict[str, str]) -> str:
        """The URI of an authorization response (RFC 6749, sections 4.1.2 and 4.1.2.1)."""
        answer = dict(parameters)
        if self.state is not None:
            # RFC 6749, section 4.1.2: "REQUIRED if the "state" parameter was present in the client
            # authorization request. The exact value received from the client."
            answer["state"] = self.state
        # RFC 9207, section 2: "an authorization server MUST include the iss parameter in the
        # authorization response", errors included.
        answer["iss"] = self.issuer
        return update_parameters(self.redirect_uri, answer)


@frozen
class AuthorizationRequest:
    """A valid authorization request, for which consent can be requested."""

    client: Client
    scopes: tuple[Scope, ...]
    redirect_uri: str
    redirect_uri_sent: bool
    state: str | None
    code_challenge: str | None
    #: What makes it an authentication request of OpenID Connect; None if it is none.
    authentication: AuthenticationRequest | None = None

    @property
    def is_silent(self) -> bool:
        """Whether no page may be shown (``prompt=none``)."""
        return self.authentication is not None and self.authentication.is_silent

    @property
    def demands_page(self) -> bool:
        """Whether the consent page must be shown, also where consent is remembered.

        The page shows the account, and lets the user choose another one.
        """
        shown = {"consent", "select_account"}
        return self.authentication is not None and not shown.isdisjoint(self.authentication.prompts)

    @property
    def is_openid(self) -> bool:
        """Whether it is an authentication request (OpenID Connect Core 1.0, section 3.1.2.1)."""
        return self.authentication is not None

    @property
    def nonce(self) -> str | None:
        """What the first ID token repeats."""
        return None if self.authentication is None else self.authentication.nonce

    @property
    def is_for_identity(self) -> bool:
        """Whether all that the client asks for is to see who the user is."""
        return all(scope.name in scopes.IDENTITY for scope in self.scopes)


def client_id_of(parameters: Parameters) -> str:
    """The ``client_id`` of a request.

    :raises MissingRedirectURI: it is missing, repeated or malformed, or ``redirect_uri`` is repeated.
    """
    if parameters.repeated & _REDIRECTION_PARAMETERS:
        raise MissingRedirectURI("client_id or redirect_uri was sent more than once")
    client_id = parameters.get("client_id")
    if client_id is None:
        raise MissingRedirectURI("client_id is missing")
    # RFC 6749, appendix A.1: "client-id = *VSCHAR"
    if len(client_id) > MAX_CLIENT_ID_LENGTH or not (client_id.isascii() and client_id.isprintable()):
        raise MissingRedirectURI("client_id is unknown")
    return client_id


def find_redirection(
    parameters: Parameters, client: Client | None, issuer: str, ssl_only: bool = True
) -> Redirection:
    """Where the answer goes. Until this is known, no answer is sent to a client.

    :raises MissingRedirectURI: the client or the redirect URI is not valid.
    """
    if client is None or client.disabled:
        why = "there is no such client" if client is None else "the client is disabled"
        raise MissingRedirectURI("client_id is unknown", reason=why)
    redirect_uri = choose_redirect_uri(client, parameters.get("redirect_uri"))
    if ssl_only and not redirect_uri.startswith("https://"):
        # It was registered when ``SSL_ONLY`` was false.
        raise MissingRedirectURI("redirect_uri is not https")
    return Redirection(redirect_uri, parameters.get("state"), issuer)


def _check_response_type(parameters: Parameters) -> None:
    """Check the type of the request, and that no parameter is repeated."""
    parameters.refuse_repeated()
    if parameters.get("request") is not None:
        raise RequestNotSupported("request objects are not supported")
    if parameters.get("request_uri") is not None:
        raise RequestURINotSupported("request objects are not supported")
    response_type = parameters.get("response_type")
    # RFC 6749, section 3.1.1: "If an authorization request is missing the "response_type" parameter,
    # or if the response type is not understood, the authorization server MUST return an error
    # response".
    if response_type is None:
        raise InvalidRequest("response_type is missing")
    if response_type != "code":
        raise UnsupportedResponseType("response_type must be code")
    if parameters.get("response_mode") not in {None, "query"}:
        raise InvalidRequest("response_mode must be query")


def check_request(
    parameters: Parameters,
    client: Client,
    redirect_uri: str,
    *,
    require_state: bool,
    require_pkce: bool,
    openid: bool = False,
) -> tuple[AuthorizationRequest, tuple[str, ...]]:
    """Make all checks that need no store. Returns the request, and the names of its scopes.

    The request has no ``scopes`` yet: `check_scopes` finds them.

    :param openid: whether a request with the scope ``openid`` is an authentication request.
    :raises DJOAuthError: the error to send to the client's redirect URI.
    """
    _check_response_type(parameters)
    state = parameters.get("state")
    authentication = None
    if openid and authentication_request.names_openid(parameters):
        authentication = authentication_request.read(parameters)
        # RFC 9700, section 2.1.1: the nonce and PKCE protect against cross-site request forgery, too.
        if parameters.get("code_challenge") is not None or authentication.nonce is not None:
            require_state = False
    if state is None and require_state:
        raise InvalidRequest("state is missing")
    scope = parameters.get("scope")
    if scope is None:
        raise InvalidScope("scope is missing")
    names = scopes.split(scope)
    challenge = pkce.check_challenge(
        parameters.get("code_challenge"),
        parameters.get("code_challenge_method"),
        require_pkce,
    )
    sent = parameters.get("redirect_uri") is not None
    asked = AuthorizationRequest(client, (), redirect_uri, sent, state, challenge, authentication)
    return asked, names


def covers(grant: Grant, asked: AuthorizationRequest, owner: ResourceOwner, now: int) -> bool:
    """Whether a grant in use is a consent to a request: of this user, with the same redirect URI, and
    with all of the scopes.
    """
    return (
        grant.owner.subject == owner.subject
        and grant.code_used
        and now < grant.expires
        and grant.redirect_uri == asked.redirect_uri
        and {scope.name for scope in asked.scopes} <= set(grant.scopes)
    )


def supersedes(grant: Grant, other: Grant) -> bool:
    """Whether a grant of a login allows all that an earlier one of the same login did."""
    return (
        grant.sid is not None
        and (grant.sid, grant.redirect_uri) == (other.sid, other.redirect_uri)
        and set(other.scopes) <= set(grant.scopes)
        and grant.id != other.id
    )


def check_scopes(
    client: Client, names: tuple[str, ...], known: Mapping[str, Scope]
) -> tuple[Scope, ...]:
    """The scopes of a request.

    :param known: the existing scopes among ``names``.
    :raises InvalidScope: a scope does not exist, or the client may not request it.
    """
    if unknown := [name for name in names if name not in known]:
        raise InvalidScope("a scope is unknown", reason=f"there is no scope {' '.join(unknown)}")
    allowed = names if client.scopes is None else client.scopes
    if refused := [name for name in names if name not in allowed]:
        why = f"the client may not ask for the scope {' '.join(refused)}"
        raise InvalidScope("a scope is not allowed to this client", reason=why)
    return tuple(known[name] for name in names)
