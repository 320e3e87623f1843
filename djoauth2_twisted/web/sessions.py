"""Browsers: their cookie, the login behind it, and the proof that a form came from our own page.

The server gives a browser a random secret in a cookie. A login is a row under the secret's digest, so
the server stores nothing for browsers that are not logged in, and a login survives a restart. The secret
is also the key of the tokens in our forms, so that no page shows the secret itself.

Where a host application handles logins, the server stores none, and the cookie is only that key.
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

import attrs
from attrs import field, frozen
from cryptography.exceptions import InvalidTag
from twisted.cred.error import LoginDenied
from twisted.internet.defer import maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.web.iweb import IRequest

from ..conf import MAX_SESSIONS, Settings
from ..credentials import constant_time_equal, digest, random_string, seal, unseal
from ..errors import AccessDenied
from ..interfaces import IRegistry
from ..logouts.notices import Logouts
from ..models import ResourceOwner, Session
from ..protocol import paths
from ..protocol.id_token import sid_of
from ..resource_owners import admit
from ..subjects import subject_of
from .deadline import answered_in_time
from .mounting import IMount
from .reading import MAX_BODY_SIZE, short_enough, with_parameter
from .respond import Response, with_cookie

#: Finds the user who is logged in at a host application. It takes a request and the path that the
#: browser returns to. It returns an `IResourceOwner` or the address of the login page, or a Deferred of
#: either.
Who = Callable[[Any, str], Any]


#: The lifetime of a login, in seconds.
SESSION_LIFETIME = 12 * 3600

#: The longest address of a browser that is stored, in characters.
MAX_ADDRESS = 100

#: How long a page may stay open before its form is sent, in seconds.
FORM_LIFETIME = 3600

#: How long a flash message waits for the next page, in seconds.
FLASH_LIFETIME = 60

SECRET_LENGTH = 43

#: The end of a logged-in browser's secret. When its login has ended, the login page says so, but not to
#: a browser that was never logged in. The mark decides nothing else.
LOGIN_MARK = "."

#: The longest cookie of a flash message, its name and value together, in characters. Browsers keep at
#: least 4096 bytes (RFC 6265, section 6.1), attributes included.
MAX_FLASH_LENGTH = 3900

_SECRET = re.compile(rb"[A-Za-z0-9]{43}\.?")
_SEALED = re.compile(rb"[A-Za-z0-9_=-]{1,3900}")
_TOKEN = re.compile(r"([A-Za-z0-9]{30})-([0-9]{1,15})-([A-Za-z0-9_-]{43})")


@frozen
class Browser:
    """The browser of a request: its secret, and its login if there is one."""

    secret: str = field(repr=False)
    is_new: bool = False
    session: Session | None = None
    #: The user who is logged in.
    owner: ResourceOwner | None = None

    @property
    def sid(self) -> str | None:
        """The name of the login for clients; None where the host application keeps the logins."""
        return None if self.session is None else sid_of(self.session)

    @property
    def auth_time(self) -> int | None:
        """When the user logged in, in seconds since the epoch, if that is known."""
        if self.session is not None:
            return self.session.auth_time or None
        return None if self.owner is None else self.owner.auth_time

    @property
    def login_has_ended(self) -> bool:
        """Whether a login in this browser has ended without a logout."""
        return self.session is None and self.secret.endswith(LOGIN_MARK)


@frozen
class Sessions:
    """The browsers of one server.

    :param issuer: the server's issuer. Servers on one host have different paths (RFC 8414, section 2).
    :param who: asks the host application, where it handles the logins.
    :param logouts: keeps notices of logouts for clients.
    """

    clock: IReactorTime
    registry: IRegistry
    settings: Settings
    issuer: str
    who: Who | None = None
    logouts: Logouts | None = None

    async def browser(self, request: IRequest) -> Browser:
        """The browser that a request comes from, with a new secret where it has none."""
        secret = _cookie(request, self._cookie_name, _SECRET)
        is_new = secret is None
        if secret is None:
            secret = random_string(SECRET_LENGTH)
        if self.who is not None:
            found = await self._ask_host(self.who, request, "/")
            return Browser(secret, is_new, owner=None if isinstance(found, str) else found)
        if is_new:
            return Browser(secret, is_new)
        session = await self.registry.find_session(digest(secret), int(self.clock.seconds()))
        if session is None or await self._lacks_second_factor(session):
            return Browser(secret)
        owner = attrs.evolve(session.owner, auth_time=session.auth_time)
        if self.settings.openid and owner.subject == owner.username:
            owner = await self._with_own_subject(owner)
        return Browser(secret, session=session, owner=owner)

    async def _with_own_subject(self, owner: ResourceOwner) -> ResourceOwner:
        """The owner of a login from before ``OPENID`` was set, with a subject.

        A user of the registry who is older than subjects keeps the name as the subject.
        """
        user = await self.registry.find_user(owner.username)
        if user is not None:
            return owner
        return attrs.evolve(owner, subject=await subject_of(self.registry, owner.username))

    async def _lacks_second_factor(self, session: Session) -> bool:
        """Whether a login has no second factor, although its user must have one now.

        Such a user has to log in again, which leads to setting one up.
        """
        required = self.settings.require_second_factor
        if required == "none" or session.second_factor:
            return False
        user = await self.registry.find_user(session.owner.username)
        return user is not None and (required == "all" or user.admin)

    async def login_address(self, request: IRequest, returning_to: str) -> str:
        """The address of the login page, from which the browser returns to a path of ours.

        :raises InvalidRequest: the path or the address is too long for a request.
        """
        short_enough(returning_to)
        if self.who is None:
            login = f"{IMount(request).path}{paths.LOGIN}"
            return short_enough(with_parameter(login, "next", returning_to))
        found = await self._ask_host(self.who, request, returning_to)
        # A user who has logged in meanwhile needs no login page.
        return short_enough(found) if isinstance(found, str) else returning_to

    async def _ask_host(self, who: Who, request: IRequest, returning_to: str) -> ResourceOwner | str:
        """The user who is logged in at the host application, or the address of its login page."""
        answer = maybeDeferred(who, request, returning_to)
        found = await answered_in_time(answer, self.clock, "The function given as who=")
        if isinstance(found, str):
            return found
        if not hasattr(found, "username"):
            wanted = "an IResourceOwner or the address to log in at"
            raise TypeError(f"who= must return {wanted}, not {found!r}")
        try:
            return await admit(self.registry, found, self.settings.openid)
        except LoginDenied:
            # A redirect to the login page would only bring the browser back here.
            raise AccessDenied("this login cannot be used here") from None

    @property
    def _cookie_name(self) -> str:
        # RFC 6265bis, section 4.1.3.2: a browser takes a cookie of this prefix only over TLS, and only
        # for this one host, so that no other host of the domain can set it.
        prefix = "__Host-" if self.settings.ssl_only else ""
        # A login at one server must not end the login at another server on the same host.
        return f"{prefix}djoauth2{quote(urlsplit(self.issuer).path.rstrip('/'), safe='')}"

    def remember(self, response: Response, browser: Browser) -> Response:
        """The response, with the browser's secret in a cookie where the secret is new."""
        return self._set_cookie(response, browser.secret) if browser.is_new else response

    def _set_cookie(
        self, response: Response, value: str, suffix: str = "", lifetime: str = ""
    ) -> Response:
        secure = "; Secure" if self.settings.ssl_only else ""
        cookie = f"{self._cookie_name}{suffix}={value}; Path=/{secure}; HttpOnly; SameSite=Lax{lifetime}"
        return with_cookie(response, cookie)

    def cookie(self, request: IRequest, suffix: str, pattern: re.Pattern[bytes]) -> str | None:
        """The value of another cookie of ours, or None where it does not match a pattern."""
        return _cookie(request, self._cookie_name + suffix, pattern)

    def with_cookie(self, response: Response, suffix: str, value: str, seconds: int) -> Response:
        """The response with another cookie of ours, which the browser keeps for some seconds."""
        return self._set_cookie(response, value, suffix, f"; Max-Age={seconds}")

    # Flash messages: the answer to a form is a redirect, and the page behind it shows the message. No
    # server stores it. No address holds it, because a stranger could make one with a false message.

    def flash(
        self,
        response: Response,
        browser: Browser,
        name: str,
        value: str,
        lifetime: int = FLASH_LIFETIME,
    ) -> Response:
        """A redirect with a flash message for the page that it leads to, sealed for this browser.

        A message that is longer than `MAX_FLASH_LENGTH` is dropped.

        :param name: the name of the message. Each name has its own cookie.
        :param value: the text of the message.
        :param lifetime: how long the browser keeps the message, in seconds.
        """
        sealed = seal(_key(browser, name), zlib.compress(value.encode("utf-8")))
        text = base64.urlsafe_b64encode(sealed).decode("ascii")
        if len(f"{self._cookie_name}-{name}={text}") > MAX_FLASH_LENGTH:
            return response
        return self._set_cookie(response, text, f"-{name}", f"; Max-Age={lifetime}")

    def flashed(self, request: IRequest, browser: Browser, name: str) -> str:
        """The flash message of a name, or the empty string."""
        sealed = _cookie(request, f"{self._cookie_name}-{name}", _SEALED)
        try:
            value = unseal(_key(browser, name), base64.urlsafe_b64decode(sealed or ""))
        except (InvalidTag, ValueError):
            return ""
        # A browser knows its secret, so it can seal anything, also data that expands a lot.
        return zlib.decompressobj().decompress(value, MAX_BODY_SIZE).decode("utf-8", "replace")

    def forget(self, response: Response, name: str) -> Response:
        """The response, which removes a flash message from the browser."""
        return self._set_cookie(response, "", f"-{name}", "; Max-Age=0")

    async def log_in(
        self, browser: Browser, owner: ResourceOwner, address: str, second_factor: bool = False
    ) -> Browser:
        """Begin a login, with a new secret, so that an attacker who knew the old one gains nothing.

        :param address: where the browser is, for the user's list of logins.
        :param second_factor: whether the user has proved a second factor, too.
        """
        sid = None
        if self.settings.openid and browser.owner is not None and browser.session is not None:
            # A new login of the same user continues what clients know as one login.
            sid = browser.sid if browser.owner.subject == owner.subject else None
        await (self.forget_login(browser) if sid is not None else self.log_out(browser))
        secret, now = random_string(SECRET_LENGTH) + LOGIN_MARK, int(self.clock.seconds())
        expires = now + SESSION_LIFETIME
        session = Session(digest(secret), owner, expires, now, address[:MAX_ADDRESS], second_factor, sid)
        await self.registry.add_session(session, MAX_SESSIONS)
        return Browser(secret, is_new=True, session=session, owner=owner)

    async def log_out(self, browser: Browser) -> Browser:
        """End a login. Returns a browser with a new secret and no login."""
        if browser.session is not None:
            await self.tell(browser.session)
        await self.forget_login(browser)
        return Browser(random_string(SECRET_LENGTH), is_new=True)

    async def tell(self, session: Session) -> None:
        """Keep a notice for the clients of a login that is about to end."""
        if self.logouts is not None:
            owner = session.owner
            await self.logouts.login_ended(owner.username, owner.subject, sid_of(session))

    async def tell_others(self, username: str, keep: bytes | None = None) -> None:
        """Keep notices for the clients of all logins of a user but the one with the digest ``keep``."""
        if self.logouts is not None:
            await self.logouts.logins_ended(username, keep)

    async def end_others(self, username: str, keep: bytes | None = None) -> None:
        """End all logins of a user but the one with the digest ``keep``, and tell their clients."""
        await self.tell_others(username, keep)
        await self.registry.end_sessions(username, keep)

    async def forget_login(self, browser: Browser) -> None:
        """End a login of which no client is told."""
        if browser.session is not None:
            await self.registry.end_session(browser.session.digest)

    def form_token(self, browser: Browser, *bound: object) -> str:
        """A token for one form of this browser (RFC 6749, section 10.12).

        Each token is different, so that the size of a compressed page does not reveal one (BREACH).

        :param bound: values, which JSON can hold, that the form stands for.
        """
        nonce, now = random_string(30), int(self.clock.seconds())
        return f"{nonce}-{now}-{self._mac(browser, nonce, now, bound)}"

    def check_form_token(
        self, browser: Browser, token: str | None, *bound: object, lifetime: float = FORM_LIFETIME
    ) -> str | None:
        """The nonce of a token that `form_token` made for this browser and these values, or None.

        :param lifetime: the lifetime of the token, in seconds.
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
    """The key that seals a browser's flash message of a name."""
    return f"{browser.secret}-{name}"


def _cookie(request: IRequest, name: str, pattern: re.Pattern[bytes]) -> str | None:
    """The value of a cookie, or None where it is missing, doubtful, or does not match a pattern."""
    wanted, found = name.encode("ascii"), set()
    for header in request.requestHeaders.getRawHeaders(b"cookie") or []:
        for pair in header.split(b";"):
            key, _, value = pair.strip().partition(b"=")
            if key == wanted:
                found.add(value)
    # Two cookies of one name: another site may have set one of them. Neither is trusted.
    if len(found) != 1:
        return None
    value = found.pop()
    return value.decode("ascii") if pattern.fullmatch(value) else None
