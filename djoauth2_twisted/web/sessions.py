"""Browsers: their cookie, the login behind it, and the proof that a form came from our own page.

A browser is given a random secret in a cookie. A login is a row kept by the secret's digest, so nothing
is stored for those who are not logged in, and a login outlives a restart. The secret is also the key of
the tokens in our forms, so that a page never shows it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Sequence
from typing import Any

from attrs import field, frozen
from klein import Response

from ..conf import Settings
from ..credentials import digest, random_string, same
from ..interfaces import IRegistry
from ..models import ResourceOwner, Session
from .respond import with_header

#: A login lasts so long, in seconds.
SESSION_LIFETIME = 12 * 3600

#: A page may stay open so long before its form is sent, in seconds.
FORM_LIFETIME = 3600

SECRET_LENGTH = 43
_SECRET = re.compile(rb"[A-Za-z0-9]{43}")
_TOKEN = re.compile(r"([A-Za-z0-9]{30})-([0-9]{1,15})-([A-Za-z0-9_-]{43})")


@frozen
class Browser:
    """What is known of a request's browser: its secret, and who is logged in, if anyone is."""

    secret: str = field(repr=False)
    is_new: bool = False
    session: Session | None = None

    @property
    def owner(self) -> ResourceOwner | None:
        """Who is logged in."""
        return self.session.owner if self.session else None


@frozen
class Sessions:
    """The browsers of one server.

    :param clock: provides IReactorTime.
    """

    clock: Any
    registry: IRegistry
    settings: Settings

    async def browser(self, request: Any) -> Browser:
        """The browser that a request comes from, with a new secret where it has none."""
        secret = self._cookie(request)
        if secret is None:
            return Browser(random_string(SECRET_LENGTH), is_new=True)
        session = await self.registry.find_session(digest(secret), int(self.clock.seconds()))
        return Browser(secret, session=session)

    def _cookie(self, request: Any) -> str | None:
        name = self._cookie_name.encode("ascii")
        found = set()
        for header in request.requestHeaders.getRawHeaders(b"cookie") or []:
            for pair in header.split(b";"):
                key, _, value = pair.strip().partition(b"=")
                if key == name:
                    found.add(value)
        # Two of one name mean that somebody else could set one: none of them is believed.
        if len(found) != 1:
            return None
        value = found.pop()
        return value.decode("ascii") if _SECRET.fullmatch(value) else None

    @property
    def _cookie_name(self) -> str:
        # RFC 6265bis, section 4.1.3.2: a browser takes a cookie of this prefix only by TLS, for the
        # whole host and for no other, so that no neighbour can plant one.
        return "__Host-djoauth2" if self.settings.ssl_only else "djoauth2"

    def remember(self, response: Response, browser: Browser) -> Response:
        """The response with the browser's secret in a cookie, where the browser has not got it."""
        if not browser.is_new:
            return response
        secure = "; Secure" if self.settings.ssl_only else ""
        cookie = f"{self._cookie_name}={browser.secret}; Path=/{secure}; HttpOnly; SameSite=Lax"
        return with_header(response, "Set-Cookie", cookie)

    async def log_in(self, browser: Browser, owner: ResourceOwner) -> Browser:
        """Begin a login, under a new secret so that whoever knew the old one gains nothing."""
        await self.log_out(browser)
        secret = random_string(SECRET_LENGTH)
        session = Session(digest(secret), owner, int(self.clock.seconds()) + SESSION_LIFETIME)
        await self.registry.add_session(session)
        return Browser(secret, is_new=True, session=session)

    async def log_out(self, browser: Browser) -> Browser:
        """End a login; the browser that is returned is a stranger."""
        if browser.session is not None:
            await self.registry.end_session(browser.session.digest)
        return Browser(random_string(SECRET_LENGTH), is_new=True)

    def form_token(self, browser: Browser, *bound: object) -> str:
        """A token for one form: this browser's, for what it is bound to, for some time.

        It differs each time, so that compression cannot tell it (BREACH).
        """
        nonce, now = random_string(30), int(self.clock.seconds())
        return f"{nonce}-{now}-{self._mac(browser, nonce, now, bound)}"

    def check_form_token(self, browser: Browser, token: str | None, *bound: object) -> str | None:
        """The nonce of a token that is as `form_token` made it, or None."""
        match = _TOKEN.fullmatch(token or "")
        if not match:
            return None
        nonce, made = match[1], int(match[2])
        expected = self._mac(browser, nonce, made, bound)
        fresh = 0 <= int(self.clock.seconds()) - made < FORM_LIFETIME
        return nonce if fresh and same(expected.encode(), match[3].encode()) else None

    def _mac(self, browser: Browser, nonce: str, made: int, bound: Sequence[object]) -> str:
        message = json.dumps([nonce, made, *bound]).encode("ascii")
        mac = hmac.digest(browser.secret.encode("ascii"), message, hashlib.sha256)
        return base64.urlsafe_b64encode(mac).rstrip(b"=").decode("ascii")
