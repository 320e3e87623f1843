"""Relying parties of others, unchanged: login, consent, ID token, UserInfo, refresh and logout."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from parties_kit import (
    Browser,
    Party,
    Provider,
    apache,
    example,
    node,
    shown,
    wsgi,
)
from service_kit import free_port

pytestmark = pytest.mark.process

Start = Callable[[Mapping[str, str], Path], Party]


def base() -> str:
    return f"https://localhost:{free_port()}"


def browser_of(provider: Provider) -> Browser:
    prepared = provider.server.prepared
    return Browser(provider.pem, prepared.username, prepared.password)


def on_node(name: str) -> Start:
    return lambda known, folder: node(name, known, folder)


def on_twisted(module: str) -> Start:
    return lambda known, folder: wsgi(module, known, folder)


#: How each party starts, and the path of its redirect URI.
PARTIES: dict[str, tuple[Start, str]] = {
    "openid-client": (on_node("openid_client.mjs"), "/callback"),
    "oauth4webapi": (on_node("oauth4webapi.mjs"), "/callback"),
    "express-openid-connect": (on_node("express.cjs"), "/callback"),
    "passport-openidconnect": (on_node("passport.cjs"), "/callback"),
    "authlib": (on_twisted("authlib_flask"), "/callback"),
    "mozilla-django-oidc": (on_twisted("django_site"), "/oidc/callback/"),
}
#: Those that do not refresh.
WITHOUT_REFRESH = {"passport-openidconnect", "mozilla-django-oidc"}
#: Those that do not send a state with a logout.
WITHOUT_LOGOUT_STATE = {"express-openid-connect"}
#: Those that do not show the claims of the ID token.
WITHOUT_CLAIMS = {"mozilla-django-oidc", "passport-openidconnect"}


@pytest.mark.parametrize("name", PARTIES)
def test_a_party_logs_its_users_in_and_out(provider: Provider, folder: Path, name: str) -> None:
    start, callback = PARTIES[name]
    address = base()
    known = provider.register(address, "--post-logout-redirect-uri", f"{address}/bye", callback=callback)
    party = start({**known, "ID_TOKEN_ALG": "RS256"}, folder)
    try:
        walk(browser_of(provider), party, name, provider.issuer)
    finally:
        party.stop()


def test_a_party_of_es256_logs_its_users_in_and_out(provider: Provider, folder: Path) -> None:
    address = base()
    options = ("--post-logout-redirect-uri", f"{address}/bye", "--id-token-alg", "ES256")
    known = provider.register(address, *options)
    party = node("oauth4webapi.mjs", {**known, "ID_TOKEN_ALG": "ES256"}, folder)
    try:
        walk(browser_of(provider), party, "oauth4webapi", provider.issuer)
    finally:
        party.stop()


def walk(browser: Browser, party: Party, name: str, issuer: str) -> None:
    answer = browser.log_in(f"{party.base}/login")
    assert browser.address == f"{party.base}/me", (browser.address, answer.text)
    me = shown(answer)
    assert me["user"]["email"] == "alice@example.com"
    if name not in WITHOUT_CLAIMS:
        assert me["claims"]["iss"] == issuer
        assert me["claims"]["sub"] == me["user"]["sub"]
        assert me["user"]["name"] == "Alice Example"
    if name not in WITHOUT_REFRESH:
        refreshed: dict[str, Any] = shown(browser.get(f"{party.base}/refresh"))["claims"]
        assert refreshed["sub"] == me["claims"]["sub"]
        assert "nonce" not in refreshed or name in ("express-openid-connect", "authlib")
    page = browser.get(f"{party.base}/logout")
    expected = None if name in WITHOUT_LOGOUT_STATE else "the-state"
    assert shown(page)["state"] == expected
    # Both logins have ended.
    assert "password" in browser.get(f"{party.base}/login").text


def test_the_example_logs_its_users_in_and_out(provider: Provider, folder: Path) -> None:
    address = base()
    known = provider.register(address, "--post-logout-redirect-uri", f"{address}/")
    party = example(known, folder)
    browser = browser_of(provider)
    try:
        assert "Hello, Alice Example." in browser.log_in(f"{address}/login").text
        assert "Hello, Alice Example." in browser.get(f"{address}/refresh").text
        assert browser.get(f"{address}/logout").text == '<a href="/login">Log in</a>'
        assert "password" in browser.get(f"{address}/login").text
        # An answer that this browser did not ask for is refused.
        assert browser.get(f"{address}/callback?code=x&state=y").status == 400
    finally:
        party.stop()


def test_mod_auth_openidc_logs_its_users_in_and_out(provider: Provider, folder: Path) -> None:
    address = base()
    known = provider.register(address, "--post-logout-redirect-uri", f"{address}/bye.shtml")
    party = apache(known, folder)
    browser = browser_of(provider)
    try:
        first = values_of(browser.log_in(f"{address}/login.shtml").text)
        assert browser.address == f"{address}/login.shtml"
        assert first["OIDC_CLAIM_email"] == "alice@example.com"
        # Its login refreshes the access token when it is older than 100 seconds; here at its request.
        token = first["OIDC_access_token"]
        back = f"{address}/login.shtml"
        browser.get(f"{address}/callback?refresh={back}&access_token={token}")
        second = values_of(browser.get(back).text)
        assert second["OIDC_CLAIM_sub"] == first["OIDC_CLAIM_sub"]
        assert second["OIDC_access_token"] != token
        assert browser.get(f"{address}/callback?logout={address}/bye.shtml").text == "bye"
        assert "password" in browser.get(f"{address}/login.shtml").text
    finally:
        party.stop()


def values_of(page: str) -> dict[str, str]:
    return dict(re.findall(r"(?m)^(\w+)=(.*)$", page))
