"""An application in which people log in at the authorization server: "Log in with ..."."""

from __future__ import annotations

from typing import Any, Self, cast
from urllib.parse import urlencode, urlsplit

from attrs import define, field, frozen
from klein import Klein
from treq.client import HTTPClient
from twisted.web.client import Agent
from twisted.web.iweb import IRequest
from twisted.web.server import Request

from ...bounded_dict import BoundedDict
from ...credentials import random_string
from ...protocol.pkce import challenge_of
from .pages import STYLE, page
from .relying_party import SCOPE as OPENID_SCOPE
from .relying_party import RefusedError, RelyingParty

#: What the application asks for without OpenID Connect.
SCOPE = "user_info photos"

#: How many logins the application keeps, and how many that have begun.
_MAX_KEPT = 1000

_STATE, _SESSION = "__Host-state", "__Host-session"


@frozen
class _Begun:
    """A login that has begun.

    :param verifier: of PKCE.
    :param nonce: what the ID token must have.
    """

    verifier: str = field(repr=False)
    nonce: str = field(repr=False)


@define
class _Session:
    """A login of one browser: the tokens, which never leave the application.

    :param claims: those of the ID token, with OpenID Connect.
    """

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    scope: str
    lifetime: int
    id_token: str = field(default="", repr=False)
    claims: dict[str, Any] = field(factory=dict)
    refreshes: int = 0

    @classmethod
    def of(cls, answer: dict[str, Any], claims: dict[str, Any]) -> Self:
        """The session that begins with the tokens of a code (RFC 6749, section 4.1.4)."""
        tokens = answer["access_token"], answer["refresh_token"]
        return cls(*tokens, answer["scope"], answer["expires_in"], answer.get("id_token", ""), claims)

    def renew(self, answer: dict[str, Any], claims: dict[str, Any]) -> None:
        """Keep the tokens of a refresh (RFC 6749, section 6)."""
        self.access_token, self.refresh_token = answer["access_token"], answer["refresh_token"]
        self.scope, self.lifetime = answer["scope"], answer["expires_in"]
        self.id_token, self.claims = answer.get("id_token", ""), claims
        self.refreshes += 1


class ExampleClient:
    """A minimal confidential client that does everything a client must do.

    :param server: the authorization server's address.
    :param agent: an Agent that trusts the server's certificate.
    :param openid: whether its users log in by OpenID Connect.
    """

    app = Klein()

    def __init__(
        self, server: str, client_id: str, client_secret: str, agent: Agent, *, openid: bool = False
    ) -> None:
        self._server = server
        self._redirect_uri = f"{server}/app/callback"
        self._client_id = client_id
        self._client_secret = client_secret
        self._http = HTTPClient(agent)
        self._party = RelyingParty(server, client_id, self._http) if openid else None
        self._begun: BoundedDict[str, _Begun] = BoundedDict(_MAX_KEPT)
        self._sessions: BoundedDict[str, _Session] = BoundedDict(_MAX_KEPT)

    @app.route("/style.css", methods=["GET"])
    def style(self, request: IRequest) -> bytes:
        """The style sheet."""
        request.setHeader("Content-Type", "text/css; charset=utf-8")
        return STYLE.encode("utf-8")

    @app.route("/", methods=["GET"], strict_slashes=False)
    async def index(self, request: IRequest) -> bytes:
        """Show the user, or offer the login."""
        session = self._sessions.get(_cookie(request, _SESSION))
        if session is None:
            return page(request, "welcome.html", server=urlsplit(self._server).netloc)
        try:
            user = await self._user_info(session)
            claims = await self._claims_of_user(session)
        except RefusedError:
            # The user or an administrator has taken the permission back.
            self._end_session(request)
            return page(request, "refused.html", why="The server no longer lets this application in.")
        return page(request, "user.html", user=user, session=session, claims=claims)

    @app.route("/login", methods=["GET"])
    def login(self, request: IRequest) -> bytes:
        """Send the browser to the authorization server (RFC 6749, section 4.1.1)."""
        state, begun = random_string(30), _Begun(random_string(64), random_string(30))
        self._begun.set(state, begun)
        # The login must end in the browser in which it began (RFC 6749, section 10.12).
        _set_cookie(request, _STATE, state)
        parameters = {
            "response_type": "code",
            "client_id": self._client_id,
            "redirect_uri": self._redirect_uri,
            "scope": SCOPE,
            "state": state,
            "code_challenge": challenge_of(begun.verifier),
            "code_challenge_method": "S256",
        }
        if self._party is not None:
            # OpenID Connect Core 1.0, section 3.1.2.1.
            parameters.update(scope=OPENID_SCOPE, nonce=begun.nonce)
        return _redirect(request, f"{self._server}/oauth2/authorization/?{urlencode(parameters)}")

    @app.route("/callback", methods=["GET"])
    async def callback(self, request: IRequest) -> bytes:
        """Exchange the code, and begin a session (RFC 6749, sections 4.1.2 and 4.1.3)."""
        answer = {
            name.decode("utf-8", "replace"): values[0].decode("utf-8", "replace")
            for name, values in request.args.items()
        }
        state = answer.get("state", "")
        begun = self._begun.get(state)
        # RFC 9207, section 2.4: the answer of another server is refused.
        expected = _cookie(request, _STATE), self._server
        if begun is None or (state, answer.get("iss")) != expected:
            return page(request, "refused.html", why="This browser did not ask for this answer.")
        if "code" not in answer:
            return page(request, "refused.html", why=_said(answer))
        try:
            session = await self._exchange(answer["code"], begun)
        except RefusedError as refused:
            return page(request, "refused.html", why=str(refused))
        # Only now: a browser comes twice where its user has pressed "Accept" twice.
        self._begun.discard(state)
        identifier = random_string(30)
        self._sessions.set(identifier, session)
        _set_cookie(request, _SESSION, identifier)
        return _redirect(request, "/app/")

    # The session's cookie is SameSite=Lax, so no other site can send these two forms for the user.

    @app.route("/refresh", methods=["POST"])
    async def refresh(self, request: IRequest) -> bytes:
        """Get new tokens (RFC 6749, section 6)."""
        session = self._sessions.get(_cookie(request, _SESSION))
        if session is not None:
            try:
                await self._refresh(session)
            except RefusedError as refused:
                self._end_session(request)
                return page(request, "refused.html", why=str(refused))
        return _redirect(request, "/app/")

    @app.route("/logout", methods=["POST"])
    async def logout(self, request: IRequest) -> bytes:
        """End the session, and revoke its tokens (RFC 7009).

        With OpenID Connect, the login at the server ends, too (RP-Initiated Logout 1.0).
        """
        session = self._end_session(request)
        if session is None:
            return _redirect(request, "/app/")
        await self._post("revoke", token=session.refresh_token)
        if self._party is None:
            return _redirect(request, "/app/")
        home = f"{self._server}/app/"
        return _redirect(request, await self._party.logout_address(session.id_token, home))

    def _end_session(self, request: IRequest) -> _Session | None:
        identifier = _cookie(request, _SESSION)
        session = self._sessions.get(identifier)
        self._sessions.discard(identifier)
        return session

    async def _exchange(self, code: str, begun: _Begun) -> _Session:
        form = {"code": code, "redirect_uri": self._redirect_uri, "code_verifier": begun.verifier}
        answer = await self._ask_for_tokens("authorization_code", **form)
        if self._party is None:
            return _Session.of(answer, {})
        return _Session.of(answer, await self._party.validate(answer.get("id_token", ""), begun.nonce))

    async def _ask_for_tokens(self, grant_type: str, **form: str) -> dict[str, Any]:
        answer = await self._post("token", grant_type=grant_type, **form)
        if "access_token" not in answer:
            raise RefusedError(_said(answer))
        return answer

    async def _refresh(self, session: _Session) -> None:
        form = {"refresh_token": session.refresh_token}
        answer = await self._ask_for_tokens("refresh_token", **form)
        claims = {}
        if self._party is not None:
            claims = await self._party.validate_renewed(answer.get("id_token", ""), session.claims)
        session.renew(answer, claims)

    async def _post(self, endpoint: str, **form: str) -> dict[str, Any]:
        response = await self._http.post(
            f"{self._server}/oauth2/{endpoint}/", data=form, auth=(self._client_id, self._client_secret)
        )
        answer: dict[str, Any] = await response.json()
        return answer

    async def _user_info(self, session: _Session) -> Any:
        """Ask the API for the user, with new tokens where the access token has expired."""
        for is_last in (False, True):
            headers: Any = {"Authorization": f"Bearer {session.access_token}"}
            response = await self._http.get(f"{self._server}/api/user_info/", headers=headers)
            answer = await response.json()
            if response.code == 200:
                return answer
            if response.code != 401 or is_last:
                break
            await self._refresh(session)
        raise RefusedError(_said(answer))

    async def _claims_of_user(self, session: _Session) -> dict[str, Any]:
        """What UserInfo says of the user; nothing without OpenID Connect."""
        if self._party is None:
            return {}
        return await self._party.user_info(session.access_token, session.claims["sub"])


def _said(answer: dict[str, Any]) -> str:
    return f"The server answered: {answer.get('error_description', 'no')}."


def _cookie(request: IRequest, name: str) -> str:
    return (request.getCookie(name.encode("ascii")) or b"").decode("latin-1")


def _set_cookie(request: IRequest, name: str, value: str) -> None:
    cast("Request", request).addCookie(name, value, path="/", secure=True, httpOnly=True, sameSite="lax")


def _redirect(request: IRequest, location: str) -> bytes:
    request.setResponseCode(303)
    request.setHeader("Location", location)
    return b""
