"""A provider of OpenID Connect in memory, and what its clients do."""

from __future__ import annotations

import base64
import json
import secrets
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from web_driver import STATE, Answer, App, Browser, System

from djoauth2_twisted import Settings

NONCE = "n-0S6_WzA2Mj"


def provider_settings(folder: Path, **changed: Any) -> Settings:
    """The settings of a provider, with a key file in a folder."""
    key_file = folder / "keys"
    if not key_file.exists():
        key_file.touch(0o600)
        key_file.write_bytes(base64.b64encode(secrets.token_bytes(32)))
    return Settings(openid=True, openid_key_file=str(key_file), **changed)


class Provider(System):
    """A server with the setting ``OPENID``."""


def ask(rp: App, browser: Browser, **changed: str | None) -> Answer:
    """Send a browser with an authentication request, and follow our own redirects."""
    sent: Any = {"scope": "openid", "nonce": NONCE, **changed}
    answer = rp.ask(browser, **sent)
    return follow(browser, answer)


def follow(browser: Browser, answer: Answer) -> Answer:
    """Follow redirects as long as they stay at the provider."""
    for _ in range(10):
        if answer.status != 303 or urlsplit(answer.location).netloc not in ("", "as.example"):
            return answer
        answer = browser.follow(answer)
    raise AssertionError("the redirects do not end")


def consent(rp: App, browser: Browser, **changed: str | None) -> str:
    """Log in by the consent page. Returns the code."""
    page = ask(rp, browser, **changed)
    assert page.is_consent, page.text[:500]
    return rp.accept(browser, page)


def log_in(rp: App, browser: Browser, **changed: str | None) -> dict[str, Any]:
    """Log in by the consent page, and exchange the code."""
    answer = rp.exchange(consent(rp, browser, **changed))
    assert answer.status == 200, answer.text
    return answer.json


def log_in_silently(rp: App, browser: Browser, **changed: str | None) -> Answer:
    """The answer to a request with ``prompt=none``, which never shows a page."""
    answer = ask(rp, browser, prompt="none", **changed)
    assert answer.status == 303
    assert answer.parameters["state"] == changed.get("state", STATE)
    assert answer.parameters["iss"] == rp.system.issuer
    return answer


def is_login_page(answer: Answer) -> bool:
    """Whether a page asks for name and password."""
    return answer.status != 303 and 'name="password"' in answer.text


def again(rp: App, browser: Browser, page: Answer, username: str = "alice") -> Answer:
    """Log in on a page, and follow the redirects back to the request."""
    assert is_login_page(page), page.text[:500]
    return follow(browser, browser.log_in(username, page=page))


def unverified(token: str) -> dict[str, Any]:
    """The claims of a JWT. The signature is not looked at."""
    payload = token.split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return claims
