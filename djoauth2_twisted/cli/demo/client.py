"""An application in which people log in at the authorization server: "Log in with ..."."""

from __future__ import annotations

import json
from html import escape
from typing import Any
from urllib.parse import urlencode

from klein import Klein
from treq.client import HTTPClient
from twisted.web.client import Agent

from ...credentials import random_string
from ...protocol.pkce import challenge_of

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Example application</title><link rel="stylesheet" href="/oauth2/style.css"></head>
<body><main><h1>Example application</h1>{}</main></body>
</html>"""


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
        self._verifiers: dict[str, str] = {}

    @app.route("/", methods=["GET"], strict_slashes=False)
    def index(self, request: Any) -> str:
        """Offer the login."""
        return _PAGE.format('<p><a href="/app/login">Log in with the server of the demo</a></p>')

    @app.route("/login", methods=["GET"])
    def login(self, request: Any) -> bytes:
        """Send the browser to the authorization server (RFC 6749, section 4.1.1)."""
        state, verifier = random_string(30), random_string(64)
        self._verifiers[state] = verifier
        # The login must end in the browser in which it began (RFC 6749, section 10.12).
        request.addCookie("__Host-state", state, path="/", secure=True, httpOnly=True, sameSite="lax")
        parameters = {
            "response_type": "code",
            "client_id": self._client_id,
            "redirect_uri": self._redirect_uri,
            "scope": "user_info",
            "state": state,
            "code_challenge": challenge_of(verifier),
            "code_challenge_method": "S256",
        }
        request.setResponseCode(303)
        request.setHeader("Location", f"{self._server}/oauth2/authorization/?{urlencode(parameters)}")
        return b""

    @app.route("/callback", methods=["GET"])
    async def callback(self, request: Any) -> str:
        """Exchange the code, and ask the API for the user (RFC 6749, sections 4.1.2 and 4.1.3)."""
        answer = {
            name.decode("utf-8", "replace"): values[0].decode("utf-8", "replace")
            for name, values in request.args.items()
        }
        state = answer.get("state", "")
        verifier = self._verifiers.get(state)
        # RFC 9207, section 2.4: the answer of another server is refused.
        expected = (request.getCookie(b"__Host-state") or b"").decode("latin-1"), self._server
        if verifier is None or (state, answer.get("iss")) != expected:
            return self._error_page("This browser did not ask for this answer.")
        if "code" not in answer:
            return self._error_page(f"The server answered: {answer.get('error_description', 'no')}.")
        tokens = await self._exchange(answer["code"], verifier)
        if "access_token" not in tokens:
            return self._error_page(f"The server answered: {tokens.get('error_description', 'no')}.")
        # Only now: a browser comes twice where its user has pressed "Accept" twice.
        self._verifiers.pop(state, None)
        user = await self._user_info(tokens["access_token"])
        text = escape(json.dumps(user, indent=2, ensure_ascii=False))
        return _PAGE.format(f"<p>You are logged in. The API answers:</p><pre>{text}</pre>")

    def _error_page(self, what: str) -> str:
        return _PAGE.format(f'<p>{escape(what)}</p><p><a href="/app/">Start again</a></p>')

    async def _exchange(self, code: str, verifier: str) -> dict[str, Any]:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._redirect_uri,
            "code_verifier": verifier,
        }
        response = await self._http.post(
            f"{self._server}/oauth2/token/", data=form, auth=(self._client_id, self._client_secret)
        )
        answer: dict[str, Any] = await response.json()
        return answer

    async def _user_info(self, access_token: str) -> Any:
        headers: Any = {"Authorization": f"Bearer {access_token}"}
        response = await self._http.get(f"{self._server}/api/user_info/", headers=headers)
        return await response.json()
