"""Browsers: their cookie, the login behind it, and the proof that a form came from our own page.

A browser is given a random secret in a cookie. A login is a row kept by the secret's digest, so nothing
is stored for those who are not logged in, and a login outlives a restart. The secret is also the key of
the tokens in our forms, so that a page never shows it.

Where a host application says who is logged in, there are no logins of ours, and the cookie is that key
alone.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import zlib
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import quote, urlsplit

from attrs import field, frozen
from cryptography.exceptions import InvalidTag
from twisted.cred.error import LoginDenied
from twisted.internet.defer import maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.web.iweb import IRequest

from ..conf import Settings
from ..credentials import constant_time_equal, digest, random_string, seal, unseal
from ..errors import AccessDenied, InvalidRequest
from ..interfaces import IRegistry
from ..models import ResourceOwner, Session
from ..protocol import paths
from ..resource_owners import admit
from .deadline import answered_in_time
from .mounting import IMount
from .reading import MAX_BODY_SIZE
from .respond import Response, with_cookie

#: Says who is logged in at a host application: given a request and the path that its browser is to come
#: back to, the `IResourceOwner`, or the address of the page to log in at; or a Deferred of either.
Who = Callable[[Any, str], Any]


#: A longer address to come back to would not fit into a request's first line again.
MAX_NEXT_LENGTH = 12_000

#: A login lasts so long, in seconds.
SESSION_LIFETIME = 12 * 3600

#: So many logins a user has at once. The oldest ends where there would be more.
MAX_SESSIONS = 100

#: A page may stay open so long before its form is sent, in seconds.
FORM_LIFETIME = 3600

#: What is handed on to the next page waits for it so long, in seconds.
FLASH_LIFETIME = 60

SECRET_LENGTH = 43

#: Ends the secret of a browser that has logged in, so that one whose login is over can be told so, and
#: a stranger is not. It decides nothing else.
LOGIN_MARK = "."

#: A cookie of this length, in characters, is taken by every browser (RFC 6265, section 6.1).
MAX_FLASH_LENGTH = 3900

_SECRET = re.compile(rb"[A-Za-z0-9]{43}\.?")
_SEALED = re.compile(rb"[A-Za-z0-9_=-]{1,3900}")
_TOKEN = re.compile(r"([A-Za-z0-9]{30})-([0-9]{1,15})-([A-Za-z0-9_-]{43})")


@frozen
class Browser:
    """What is known of a request's browser: its secret, and who is logged in, if anyone is."""

    secret: str = field(repr=False)
    is_new: bool = False
    session: Session | None = None
    #: Who is logged in.
    owner: ResourceOwner | None = None

    @property
    def login_is_over(self) -> bool:
        """Whether somebody had logged in here, and did not log out."""
        return self.session is None and self.secret.endswith(LOGIN_MARK)


@frozen
class Sessions:
    """The browsers of one server.

    :param clock: provides IReactorTime.
    :param issuer: of the server; of two on one host, the paths differ (RFC 8414, section 2).
    :param who: asks the host application, where logins are its own.
    """

    clock: IReactorTime
    registry: IRegistry
    settings: Settings
    issuer: str
    who: Who | None = None

    async def browser(self, request: IRequest) -> Browser:
        """The browser that a request comes from, with a new secret where it has none."""
        secret = _cookie(request, self._cookie_name, _SECRET)
        is_new = secret is None
        if secret is None:
            secret = random_string(SECRET_LENGTH)
        if self.who is not None:
            said = await self._ask(self.who, request, "/")
            return Browser(secret, is_new, owner=None if isinstance(said, str) else said)
        if is_new:
            return Browser(secret, is_new)
        session = await self.registry.find_session(digest(secret), int(self.clock.seconds()))
        return Browser(secret, session=session, owner=session.owner if session else None)

    async def login_address(self, request: IRequest, returning_to: str) -> str:
        """Where to log in, to come back to a path of ours.

        :raises InvalidRequest: the path is too long to be come back to.
        """
        if len(returning_to) > MAX_NEXT_LENGTH:
            raise InvalidRequest("the request is too long")
        if self.who is None:
            return f"{IMount(request).path}{paths.LOGIN}?next={quote(returning_to, safe='')}"
        said = await self._ask(self.who, request, returning_to)
        # Whoever has logged in meanwhile may go on.
        return said if isinstance(said, str) else returning_to

    async def _ask(self, who: Who, request: IRequest, returning_to: str) -> ResourceOwner | str:
        """Who is logged in, or where to log in, as the host application says."""
        asking = maybeDeferred(who, request, returning_to)
        said = await answered_in_time(asking, self.clock, "The function given as who=")
        if isinstance(said, str):
            return said
        if not hasattr(said, "username"):
            wanted = "an IResourceOwner or the address to log in at"
            raise TypeError(f"who= must return {wanted}, not {said!r}")
        try:
            return await admit(self.registry, said)
        except LoginDenied:
            # To send the browser to log in would bring it back here.
            raise AccessDenied("this login cannot be used here") from None

    @property
    def _cookie_name(self) -> str:
        # RFC 6265bis, section 4.1.3.2: a browser takes a cookie of this prefix only by TLS, for the
        # whole host and for no other, so that no neighbour can plant one.
        prefix = "__Host-" if self.settings.ssl_only else ""
        # Whoever logs in at one server of a host is not to be logged out at the next.
        return f"{prefix}djoauth2{quote(urlsplit(self.issuer).path.rstrip('/'), safe='')}"

    def remember(self, response: Response, browser: Browser) -> Response:
        """The response with the browser's secret in a cookie, where the browser has not got it."""
        return self._set_cookie(response, browser.secret) if browser.is_new else response

    def _set_cookie(
        self, response: Response, value: str, suffix: str = "", lifetime: str = ""
    ) -> Response:
        secure = "; Secure" if self.settings.ssl_only else ""
        cookie = f"{self._cookie_name}{suffix}={value}; Path=/{secure}; HttpOnly; SameSite=Lax{lifetime}"
        return with_cookie(response, cookie)

    def cookie(self, request: IRequest, suffix: str, pattern: re.Pattern[bytes]) -> str | None:
        """Another cookie of ours, where its value is as it must be."""
        return _cookie(request, self._cookie_name + suffix, pattern)

    def with_cookie(self, response: Response, suffix: str, value: str, seconds: int) -> Response:
        """The response with another cookie of ours."""
        return self._set_cookie(response, value, suffix, f"; Max-Age={seconds}")

    # What a form's answer has to show, which is a redirect. No server keeps it, and no address has it:
    # anybody can make an address, and would make our page say what is not so.

    def flash(
        self,
        response: Response,
        browser: Browser,
        name: str,
        value: str,
        lifetime: int = FLASH_LIFETIME,
    ) -> Response:
        """The redirect with a value for the page that it leads to, sealed for this browser.

        What is too long for a cookie is not handed on.

        :param name: of what it is; values of different names are kept apart.
        :param lifetime: how long the browser keeps it, in seconds.
        """
        sealed = seal(_key(browser, name), zlib.compress(value.encode("utf-8")))
        text = base64.urlsafe_b64encode(sealed).decode("ascii")
        if len(text) > MAX_FLASH_LENGTH:
            return response
        return self._set_cookie(response, text, f"-{name}", f"; Max-Age={lifetime}")

    def flashed(self, request: IRequest, browser: Browser, name: str) -> str:
        """What of a name was handed on to this page, or nothing."""
        sealed = _cookie(request, f"{self._cookie_name}-{name}", _SEALED)
        try:
            value = unseal(_key(browser, name), base64.urlsafe_b64decode(sealed or ""))
        except (InvalidTag, ValueError):
            return ""
        # A browser can seal for itself what it likes.
        return zlib.decompressobj().decompress(value, MAX_BODY_SIZE).decode("utf-8", "replace")

    def forget(self, response: Response, name: str) -> Response:
        """The page that showed what was handed on, and is the last to."""
        return self._set_cookie(response, "", f"-{name}", "; Max-Age=0")

    async def log_in(self, browser: Browser, owner: ResourceOwner) -> Browser:
        """Begin a login, under a new secret so that whoever knew the old one gains nothing."""
        await self.log_out(browser)
        secret = random_string(SECRET_LENGTH) + LOGIN_MARK
        session = Session(digest(secret), owner, int(self.clock.seconds()) + SESSION_LIFETIME)
        await self.registry.add_session(session, MAX_SESSIONS)
        return Browser(secret, is_new=True, session=session, owner=owner)

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

    def check_form_token(
        self, browser: Browser, token: str | None, *bound: object, lifetime: float = FORM_LIFETIME
    ) -> str | None:
        """The nonce of a token that is as `form_token` made it, or None.

        :param lifetime: how long ago that may be, in seconds.
        """
        match = _TOKEN.fullmatch(token or "")
        if not match:
            return None
        nonce, made = match[1], int(match[2])
        expected = self._mac(browser, nonce, made, bound)
        fresh = 0 <= int(self.clock.seconds()) - made < lifetime
        return nonce if fresh and constant_time_equal(expected.encode(), match[3].encode()) else None

    def _mac(self, browser: Browser, nonce: str, made: int, bound: Sequence[object]) -> str:
        message = json.dumps([nonce, made, *bound]).encode("ascii")
        mac = hmac.digest(browser.secret.encode("ascii"), message, hashlib.sha256)
        return base64.urlsafe_b64encode(mac).rstrip(b"=").decode("ascii")


def _key(browser: Browser, name: str) -> str:
    """What a value of a name is sealed with for a browser."""
    return f"{browser.secret}-{name}"


def _cookie(request: IRequest, name: str, pattern: re.Pattern[bytes]) -> str | None:
    """A cookie's value, where it is as it must be."""
    wanted, found = name.encode("ascii"), set()
    for header in request.requestHeaders.getRawHeaders(b"cookie") or []:
        for pair in header.split(b";"):
            key, _, value = pair.strip().partition(b"=")
            if key == wanted:
                found.add(value)
    # Two of one name mean that somebody else could set one: none of them is believed.
    if len(found) != 1:
        return None
    value = found.pop()
    return value.decode("ascii") if pattern.fullmatch(value) else None
