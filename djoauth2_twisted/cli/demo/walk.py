"""The whole flow, step by step, with treq as the browser and as the client."""

from __future__ import annotations

import itertools
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit

import click
import treq
from treq.client import HTTPClient

from ...credentials import random_string
from ...protocol.pkce import challenge_of
from .client import SCOPE
from .system import System


class StepFailed(click.ClickException):
    """A step had another result than it must have."""


class Form(HTMLParser):
    """A page's last form: its action and its hidden fields."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.action = ""
        self.fields: dict[str, str] = {}
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Store a form's action and its hidden fields."""
        attributes = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.action, self.fields = attributes["action"], {}
        elif tag == "input" and attributes.get("type") == "hidden":
            self.fields[attributes["name"]] = attributes["value"]


class Walk:
    """A browser and a client that know only the demo's address and their secrets.

    :cvar scope: what the client asks for.
    :cvar scopes: how many scopes that are.
    """

    scope = SCOPE
    scopes = "two"

    def __init__(self, system: System) -> None:
        self._system = system
        self._http = HTTPClient(system.agent)
        self._numbers = itertools.count(1)

    def _say(self, what: str) -> None:
        click.echo(f"{next(self._numbers):2}. {what}")

    async def _ask(
        self, what: str, expected: int, method: str, address: str, **arguments: Any
    ) -> tuple[Any, str]:
        """Send a request, and check the status of the answer.

        :raises StepFailed: the status is not ``expected``.
        """
        response = await self._http.request(
            method, address, allow_redirects=False, unbuffered=False, **arguments
        )
        text = await response.text()
        if response.code != expected:
            raise StepFailed(
                f"{what}: the answer is {response.code} instead of {expected}: {text[:200]}"
            )
        return response, text

    async def all(self) -> None:
        """Walk through all steps.

        :raises StepFailed: a step did not work.
        """
        verifier, state = random_string(64), random_string(30)
        page = await self._log_in(await self._request_authorization(verifier, state))
        code = await self._consent(page, state)
        first = await self._exchange(code, verifier)
        await self._call_api(first, "The API gets the access token")
        second = await self._refresh(first)
        await self._call_api(second, "The API gets the new access token")
        await self._see_refusals(first)
        await self._use_application()
        await self._leave_application()
        await self._log_out()
        await self._see_administration()

    def _authorization_request(self, verifier: str, state: str, **more: str) -> str:
        client = self._system.client
        parameters = {
            "response_type": "code",
            "client_id": client.client_id,
            "redirect_uri": client.redirect_uris[0],
            "scope": self.scope,
            "state": state,
            "code_challenge": challenge_of(verifier),
            "code_challenge_method": "S256",
            **more,
        }
        return f"{self._system.address}/oauth2/authorization/?{urlencode(parameters)}"

    async def _request_authorization(self, verifier: str, state: str, **more: str) -> str:
        address = self._authorization_request(verifier, state, **more)
        response, _ = await self._ask("authorization request", 303, "GET", address)
        login = location_of(address, response)
        self._say(
            "The application sends the browser to /oauth2/authorization/. The server asks for a login."
        )
        return login

    async def _log_in(self, address: str) -> tuple[str, str]:
        _, text = await self._ask("login page", 200, "GET", address)
        form = Form(text)
        fields = {**form.fields, "username": self._system.username, "password": self._system.password}
        target = urljoin(address, form.action)
        response, _ = await self._ask("login", 303, "POST", target, data=fields)
        back = location_of(address, response)
        self._say(
            f"{self._system.username} logs in. The server sends the browser back to the first address."
        )
        return back, (await self._ask("consent page", 200, "GET", back))[1]

    async def _consent(self, page: tuple[str, str], state: str) -> str:
        address, text = page
        if self._system.client.name not in text:
            raise StepFailed("consent page: it does not name the client")
        form = Form(text)
        fields = {**form.fields, "user_action": "Accept"}
        response, _ = await self._ask("consent", 303, "POST", urljoin(address, form.action), data=fields)
        location = location_of(address, response)
        answer = dict(parse_qsl(urlsplit(location).query))
        if not location.startswith(self._system.client.redirect_uris[0] + "?"):
            raise StepFailed("consent: the browser was not sent to the client's redirect URI")
        if answer.get("state") != state or answer.get("iss") != self._system.address:
            raise StepFailed("consent: state or iss is not what it must be")
        self._say(
            f"The consent page names the application and {self.scopes} scopes. The user presses Accept."
        )
        self._say("The browser is back at the application, with a code, the state and the issuer.")
        return answer["code"]

    async def _token(self, what: str, expected: int, **form: str) -> dict[str, Any]:
        client_id, secret = self._system.client.client_id, self._system.client_secret
        address = f"{self._system.address}/oauth2/token/"
        response, _ = await self._ask(
            what, expected, "POST", address, data=form, auth=(client_id, secret)
        )
        answer: dict[str, Any] = await treq.json_content(response)
        return answer

    async def _exchange(self, code: str, verifier: str) -> dict[str, Any]:
        answer = await self._token(
            "code exchange",
            200,
            grant_type="authorization_code",
            code=code,
            redirect_uri=self._system.client.redirect_uris[0],
            code_verifier=verifier,
        )
        self._say(
            f"The application exchanges the code: an access token for {answer['expires_in']} s, "
            f"scope “{answer['scope']}”, and a refresh token."
        )
        return answer

    async def _refresh(self, answer: dict[str, Any]) -> dict[str, Any]:
        refreshed = await self._token(
            "refresh", 200, grant_type="refresh_token", refresh_token=answer["refresh_token"]
        )
        self._say("The application refreshes, and gets a new access token and a new refresh token.")
        return refreshed

    async def _call_api(self, answer: dict[str, Any], what: str) -> None:
        headers = {"Authorization": f"Bearer {answer['access_token']}"}
        address = f"{self._system.address}/api/user_info/"
        response, _ = await self._ask(what, 200, "GET", address, headers=headers)
        who = await treq.json_content(response)
        if who["username"] != self._system.username:
            raise StepFailed(f"{what}: it does not know who the user is")
        self._say(f"{what}, and answers: {who['first_name']} {who['last_name']}, {who['email']}.")

    async def _see_refusals(self, first: dict[str, Any]) -> None:
        headers = {"Authorization": f"Bearer {first['access_token']}"}
        address = f"{self._system.address}/api/user_info/"
        await self._ask("old access token", 401, "GET", address, headers=headers)
        self._say("The server refuses the old access token: 401.")
        error = await self._token(
            "old refresh token", 400, grant_type="refresh_token", refresh_token=first["refresh_token"]
        )
        if error["error"] != "invalid_grant":
            raise StepFailed("old refresh token: the error is not invalid_grant")
        self._say("The server refuses the old refresh token, and revokes the whole grant: 400.")

    async def _page(self, path: str, expected: str) -> str:
        """A page of the demo, which must have a text."""
        _, text = await self._ask(path, 200, "GET", f"{self._system.address}{path}")
        if expected not in text:
            raise StepFailed(f"{path}: it does not say {expected!r}")
        return text

    async def _send(self, path: str, **fields: str) -> str:
        """Send a form of the demo. Returns where the answer leads."""
        address = f"{self._system.address}{path}"
        response, _ = await self._ask(path, 303, "POST", address, data=fields)
        return location_of(address, response)

    async def _use_application(self) -> None:
        await self._page("/", "/app/")
        await self._page("/app/", "/app/login")
        begun, _ = await self._ask("application", 303, "GET", f"{self._system.address}/app/login")
        address = location_of(self._system.address, begun)
        _, text = await self._ask("consent page", 200, "GET", address)
        form = Form(text)
        back = await self._send(form.action, **form.fields, user_action="Accept")
        await self._ask("callback", 303, "GET", back)
        await self._page("/app/", "Alice Example")
        self._say("The example application does the same, begins a session, and shows the user.")
        await self._send("/app/refresh")
        await self._page("/app/", "1 times")
        self._say("It refreshes, and the session continues.")

    async def _leave_application(self) -> None:
        await self._send("/app/logout")
        await self._page("/app/", "/app/login")
        self._say("The user logs out of the application, which revokes its tokens.")

    async def _log_out(self) -> None:
        form = Form(await self._page("/oauth2/logout/", self._system.username))
        await self._send(form.action, **form.fields)

    async def _see_administration(self) -> None:
        form = Form(await self._page("/oauth2/login/", "csrf_token"))
        who = {"username": self._system.admin_name, "password": self._system.admin_password}
        await self._send(form.action, **form.fields, **who)
        await self._page("/oauth2/admin/clients/", self._system.client.name)
        self._say("The administrator logs in, and sees the application among the clients.")


def location_of(address: str, response: Any) -> str:
    """The absolute address to which an answer redirects the browser."""
    location: str = response.headers.getRawHeaders("location")[0]
    return urljoin(address, location)


async def walk(steps: Walk) -> None:
    """Walk through all steps, and print the result.

    :raises StepFailed: a step did not work.
    """
    await steps.all()
    click.echo("Every step worked.")
