"""The whole flow of OpenID Connect, step by step: `Walk` with an ID token, UserInfo and logout."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Mapping
from html import escape
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from attrs import evolve

from ...credentials import random_string
from ...protocol.openid_scopes import WORDS
from .relying_party import SCOPE, RefusedError, RelyingParty
from .system import System
from .walk import StepFailed, Walk, location_of

#: The endpoints that a client of OpenID Connect finds by discovery.
_ENDPOINTS = (
    "authorization_endpoint",
    "token_endpoint",
    "userinfo_endpoint",
    "jwks_uri",
    "end_session_endpoint",
)


class OpenIDWalk(Walk):
    """A browser and a relying party that know only the issuer and their secrets."""

    scope = SCOPE
    scopes = "four"

    def __init__(self, system: System) -> None:
        super().__init__(system)
        self._party = RelyingParty(system.address, system.client.client_id, self._http)

    async def all(self) -> None:
        """Walk through all steps.

        :raises StepFailed: a step did not work.
        """
        await self._discover()
        verifier, state, nonce = random_string(64), random_string(30), random_string(30)
        page = await self._log_in(await self._request_authorization(verifier, state, nonce=nonce))
        first = await self._exchange(await self._consent(page, state), verifier)
        claims = await self._see_id_token(first, nonce)
        await self._see_user_info(first, claims)
        await self._call_api(first, "The API gets the access token")
        second = await self._refresh(first)
        await self._see_renewed_id_token(second, claims)
        await self._see_user_info(second, claims)
        await self._see_bad_id_tokens(first["id_token"], nonce)
        await self._see_refused_user_info(first)
        await self._see_refusals(first)
        await self._see_refused_logout(second)
        await self._use_application()
        await self._see_foreign_answer()
        await self._leave_application()
        await self._see_administration()

    async def _discover(self) -> None:
        found = await _good("discovery", self._party.discover())
        missing = [name for name in _ENDPOINTS if name not in found]
        if missing:
            raise StepFailed(f"discovery: {', '.join(missing)} are missing")
        self._say(f"Discovery: the issuer is {found['issuer']}, and every endpoint is named.")

    async def _consent(self, page: tuple[str, str], state: str) -> str:
        if any(escape(str(words)) not in page[1] for words in WORDS.values()):
            raise StepFailed("consent page: it does not say what openid, profile and email are for")
        return await super()._consent(page, state)

    async def _see_id_token(self, answer: dict[str, Any], nonce: str) -> dict[str, Any]:
        claims = await _good("ID token", self._party.validate(answer.get("id_token", ""), nonce))
        self._say(
            "The ID token is good: signature, issuer, audience, expiry and nonce. "
            f"Its subject is {claims['sub']}."
        )
        return claims

    async def _see_user_info(self, answer: dict[str, Any], claims: Mapping[str, Any]) -> None:
        asked = self._party.user_info(answer["access_token"], claims["sub"])
        user = await _good("UserInfo", asked)
        if user.get("preferred_username") != self._system.username:
            raise StepFailed("UserInfo: it does not know who the user is")
        self._say(f"UserInfo answers for the same subject: {user.get('name')}, {user.get('email')}.")

    async def _see_renewed_id_token(self, answer: dict[str, Any], known: Mapping[str, Any]) -> None:
        renewed = self._party.validate_renewed(answer.get("id_token", ""), known)
        claims = await _good("refresh", renewed)
        if "nonce" in claims:
            raise StepFailed("refresh: the new ID token has a nonce")
        self._say("The new ID token is good, too. It is of the same login, and has no nonce.")

    async def _see_bad_id_tokens(self, id_token: str, nonce: str) -> None:
        header, payload, signature = id_token.split(".")
        changed = "B" if signature[0] == "A" else "A"
        forged = f"{header}.{payload}.{changed}{signature[1:]}"
        another, later = evolve(self._party, client_id="another"), time.time() + 24 * 3600
        late = evolve(self._party, seconds=lambda: later)
        await _refused("signature", self._party.validate(forged, nonce))
        await _refused("'aud'", another.validate(id_token, nonce))
        await _refused("expired", late.validate(id_token, nonce))
        await _refused("'nonce'", self._party.validate(id_token, random_string(30)))
        self._say(
            "The application refuses an ID token with a wrong signature, audience or nonce, "
            "and one that has expired."
        )

    async def _see_refused_user_info(self, first: dict[str, Any]) -> None:
        address = (await self._party.discover())["userinfo_endpoint"]
        headers = {"Authorization": f"Bearer {first['access_token']}"}
        await self._ask("UserInfo with the old access token", 401, "GET", address, headers=headers)
        self._say("UserInfo refuses the old access token: 401.")

    async def _see_refused_logout(self, answer: dict[str, Any]) -> None:
        elsewhere = "https://elsewhere.example/"
        address = await self._party.logout_address(answer["id_token"], elsewhere)
        await self._ask("logout to another address", 400, "GET", address)
        self._say("The server refuses a logout to an address that is not registered: 400.")

    async def _use_application(self) -> None:
        await super()._use_application()
        for shown in ("The ID token", "UserInfo", self._system.client.client_id):
            await self._page("/app/", shown)
        self._say("It shows the claims of the ID token and of UserInfo.")

    async def _see_foreign_answer(self) -> None:
        answer = {"code": "foreign", "state": "foreign", "iss": self._system.address}
        await self._page(f"/app/callback?{urlencode(answer)}", "This browser did not ask")
        self._say("It refuses an answer that this browser did not ask for.")

    async def _leave_application(self) -> None:
        ending = await self._send("/app/logout")
        endpoint = (await self._party.discover())["end_session_endpoint"]
        if not ending.startswith(f"{endpoint}?"):
            raise StepFailed("logout: the browser was not sent to the end_session_endpoint")
        response, _ = await self._ask("logout", 303, "GET", ending)
        if location_of(ending, response) != self._system.client.post_logout_redirect_uris[0]:
            raise StepFailed("logout: the browser was not sent back to the application")
        await self._page("/app/", "/app/login")
        self._say("The user logs out of the application and, by its ID token, of the server.")
        await self._see_end_of_login()

    async def _see_end_of_login(self) -> None:
        address = self._authorization_request(random_string(64), random_string(30), prompt="none")
        response, _ = await self._ask("prompt=none", 303, "GET", address)
        answer = dict(parse_qsl(urlsplit(location_of(address, response)).query))
        if answer.get("error") != "login_required":
            raise StepFailed("logout: the login at the server has not ended")
        self._say("A request with prompt=none now gets login_required.")


async def _good(what: str, asked: Awaitable[dict[str, Any]]) -> dict[str, Any]:
    """What the relying party has found good.

    :raises StepFailed: it has refused it.
    """
    try:
        return await asked
    except RefusedError as error:
        raise StepFailed(f"{what}: {error}") from None


async def _refused(why: str, asked: Awaitable[object]) -> None:
    """Check that the relying party refuses an ID token.

    :param why: what its reason must say.
    :raises StepFailed: it has not, or for another reason.
    """
    try:
        await asked
    except RefusedError as error:
        if why not in str(error):
            raise StepFailed(
                f"ID token: it was refused for another reason than {why}: {error}"
            ) from None
    else:
        raise StepFailed(f"ID token: a wrong one was not refused: {why}")
