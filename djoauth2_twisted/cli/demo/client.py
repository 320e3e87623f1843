"""An application in which people log in at the authorization server: "Log in with ..."."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode, urlsplit

from attrs import define, field
from klein import Klein
from treq.client import HTTPClient
from twisted.web.client import Agent

from ...bounded_dict import BoundedDict
from ...credentials import random_string
from ...protocol.pkce import challenge_of
from .pages import STYLE, page

#: How many logins the application keeps, and how many that have begun.
_MAX_KEPT = 1000

_STATE, _SESSION = "__Host-state", "__Host-session"


class _RefusedError(Exception):
    """The authorization server or the API has refused. The text says why."""


@define
class _Session:
    """A login of one browser: the tokens, which never leave the application."""

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    scope: str
    lifetime: int
    refreshes: int = 0

    def renew(self, answer: dict[str, Any]) -> None:
        """Keep the tokens of a refresh (RFC 6749, section 6)."""
        self.access_token, self.refresh_token = answer["access_token"], answer["refresh_token"]
        self.scope, self.lifetime = answer["scope"], answer["expires_in"]
        self.refreshes += 1


class ExampleClient:
    """A minimal confidential client that does everything a client must do.

    :param server: the authorization server's address.
    :param agent: an Agent that trusts the server's certificate.
    """

    app = Klein()

    def __init__(self, server: str, client_id: str, client_secret: str, agent: Agent) -> None:
        self._server = server
        self._redirect_uri = f"{server}/app/callback"
        self._client_id = client_id
        self._client_secret = client_secret
        self._http = HTTPClient(agent)
        self._verifiers: BoundedDict[str, str] = BoundedDict(_MAX_KEPT)
        self._sessions: BoundedDict[str, _Session] = BoundedDict(_MAX_KEPT)

    @app.route("/style.css", methods=["GET"])
    def style(self, request: Any) -> bytes:
        """The style sheet."""
        request.setHeader("Content-Type", "text/css; charset=utf-8")
        return STYLE.encode("utf-8")

    @app.route("/", methods=["GET"], strict_slashes=False)
    async def index(self, request: Any) -> bytes:
        """Show the user, or offer the login."""
        session = self._sessions.get(_cookie(request, _SESSION))
        if session is None:
            return page(request, "welcome.html", server=urlsplit(self._server).netloc)
        try:
            user = await self._user_info(session)
        except _RefusedError:
            # The user or an administrator has taken the permission back.
            self._end_session(request)
            return page(request, "refused.html", why="The server no longer lets this application in.")
        return page(request, "user.html", user=user, session=session)

    @app.route("/login", methods=["GET"])
    def login(self, request: Any) -> bytes:
        """Send the browser to the authorization server (RFC 6749, section 4.1.1)."""
        state, verifier = random_string(30), random_string(64)
        self._verifiers.set(state, verifier)
        # The login must end in the browser in which it began (RFC 6749, section 10.12).
        _set_cookie(request, _STATE, state)
        parameters = {
            "response_type": "code",
            "client_id": self._client_id,
            "redirect_uri": self._redirect_uri,
            "scope": "user_info photos",
            "state": state,
            "code_challenge": challenge_of(verifier),
            "code_challenge_method": "S256",
        }
        return _redirect(request, f"{self._server}/oauth2/authorization/?{urlencode(parameters)}")

    @app.route("/callback", methods=["GET"])
    async def callback(self, request: Any) -> bytes:
        """Exchange the code, and begin a session (RFC 6749, sections 4.1.2 and 4.1.3)."""
        answer = {
            name.decode("utf-8", "replace"): values[0].decode("utf-8", "replace")
            for name, values in request.args.items()
        }
        state = answer.get("state", "")
        verifier = self._verifiers.get(state)
        # RFC 9207, section 2.4: the answer of another server is refused.
        expected = _cookie(request, _STATE), self._server
        if verifier is None or (state, answer.get("iss")) != expected:
            return page(request, "refused.html", why="This browser did not ask for this answer.")
        if "code" not in answer:
            return page(request, "refused.html", why=_said(answer))
        form = {"code": answer["code"], "redirect_uri": self._redirect_uri, "code_verifier": verifier}
        try:
            tokens = await self._ask_for_tokens("authorization_code", **form)
        except _RefusedError as refused:
            return page(request, "refused.html", why=str(refused))
        # Only now: a browser comes twice where its user has pressed "Accept" twice.
        self._verifiers.discard(state)
        identifier = random_string(30)
        session = _Session(
            tokens["access_token"], tokens["refresh_token"], tokens["scope"], tokens["expires_in"]
        )
        self._sessions.set(identifier, session)
        _set_cookie(request, _SESSION, identifier)
        return _redirect(request, "/app/")

    # The session's cookie is SameSite=Lax, so no other site can send these two forms for the user.

    @app.route("/refresh", methods=["POST"])
    async def refresh(self, request: Any) -> bytes:
        """Get new tokens (RFC 6749, section 6)."""
        session = self._sessions.get(_cookie(request, _SESSION))
        if session is not None:
            try:
                await self._refresh(session)
            except _RefusedError as refused:
                self._end_session(request)
                return page(request, "refused.html", why=str(refused))
        return _redirect(request, "/app/")

    @app.route("/logout", methods=["POST"])
    async def logout(self, request: Any) -> bytes:
        """End the session, and revoke its tokens (RFC 7009)."""
        session = self._end_session(request)
        if session is not None:
            await self._post("revoke", token=session.refresh_token)
        return _redirect(request, "/app/")

    def _end_session(self, request: Any) -> _Session | None:
        identifier = _cookie(request, _SESSION)
        session = self._sessions.get(identifier)
        self._sessions.discard(identifier)
        return session

    async def _ask_for_tokens(self, grant_type: str, **form: str) -> dict[str, Any]:
        answer = await self._post("token", grant_type=grant_type, **form)
        if "access_token" not in answer:
            raise _RefusedError(_said(answer))
        return answer

    async def _refresh(self, session: _Session) -> None:
        form = {"refresh_token": session.refresh_token}
        session.renew(await self._ask_for_tokens("refresh_token", **form))

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
        raise _RefusedError(_said(answer))


def _said(answer: dict[str, Any]) -> str:
    return f"The server answered: {answer.get('error_description', 'no')}."


def _cookie(request: Any, name: str) -> str:
    return (request.getCookie(name.encode("ascii")) or b"").decode("latin-1")


def _set_cookie(request: Any, name: str, value: str) -> None:
    request.addCookie(name, value, path="/", secure=True, httpOnly=True, sameSite="lax")


def _redirect(request: Any, location: str) -> bytes:
    request.setResponseCode(303)
    request.setHeader("Location", location)
    return b""
