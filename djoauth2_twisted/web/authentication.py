"""Logins as an authentication request demands them (OpenID Connect Core 1.0, section 3.1.2.1)."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Awaitable, Callable
from typing import Any

from attrs import frozen
from twisted.internet.defer import maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.web.iweb import IRequest

from ..credentials import digest
from ..errors import AccountSelectionRequired, LoginRequired
from ..key_file import CannotUnseal
from ..key_ring import KeyRing
from ..models import ResourceOwner
from ..protocol.authentication_request import AuthenticationRequest, demands_login
from ..protocol.authorization import AuthorizationRequest
from ..protocol.logout import Hint
from . import respond
from .deadline import answered_in_time
from .reading import short_enough
from .respond import Response
from .sessions import Browser, Sessions
from .translation import prefer

#: The parameter that holds a mark, in addresses of the server; see `Marks`.
MARK = "djoauth2_login"

#: How long a mark is valid, in seconds.
MARK_LIFETIME = 3600

#: How far the clocks of two processes may be apart, in seconds.
MAX_SKEW = 5

#: Where a host application lets a user log in again: the method ``login_again`` of what is given as
#: ``who=``. It takes a request and the path that the browser returns to. It returns the address of the
#: page, or a Deferred of it.
LoginAgain = Callable[[Any, str], Any]

#: Reads an ``id_token_hint``, an ID token of ours, whether it has expired or not.
#: It raises `InvalidRequest` where it is none.
ReadHint = Callable[[str], Awaitable[Hint]]


@frozen
class Marks:
    """Marks of logins that were demanded: when, and which login there was before.

    A mark is a parameter of the address that the browser comes back to after the login. It is sealed
    under the key file, so that no browser can make one, and it is bound to its request. So a request
    that demands a login gets one, and no second one.
    """

    ring: KeyRing

    def make(self, asked: AuthorizationRequest, browser: Browser, now: int) -> str:
        """A mark for a login that a request demands now."""
        content = json.dumps([now, _login_of(browser)]).encode("ascii")
        sealed = self.ring.key_file.seal(content, _purpose(asked))
        return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode("ascii")

    def is_answered(
        self, mark: str | None, asked: AuthorizationRequest, browser: Browser, now: int
    ) -> bool:
        """Whether the user has logged in since a mark was made for this request."""
        if not mark or browser.auth_time is None:
            return False
        try:
            sealed = base64.urlsafe_b64decode(mark + "=" * (-len(mark) % 4))
            demanded, before = json.loads(self.ring.key_file.unseal(sealed, _purpose(asked)))
        except (CannotUnseal, binascii.Error, ValueError):
            return False
        is_fresh = 0 <= now - demanded + MAX_SKEW < MARK_LIFETIME
        is_later = browser.auth_time + MAX_SKEW >= demanded
        return bool(is_fresh and is_later and _login_of(browser) != before)


def _login_of(browser: Browser) -> str:
    """What distinguishes the logins of a browser; empty if no user is logged in."""
    if browser.session is not None:
        return browser.session.digest.hex()
    return "" if browser.owner is None else str(browser.auth_time)


def _purpose(asked: AuthorizationRequest) -> bytes:
    wanted = asked.authentication or AuthenticationRequest()
    names = [scope.name for scope in asked.scopes]
    request = [asked.client.client_id, asked.redirect_uri, names, asked.state, asked.code_challenge]
    return b"login mark " + digest(json.dumps([*request, *wanted.bound()]))


@frozen
class Authentication:
    """Sees to it that the user is logged in as a request demands.

    :param read_hint: reads an ``id_token_hint``.
    """

    clock: IReactorTime
    sessions: Sessions
    marks: Marks
    read_hint: ReadHint

    @property
    def login_again(self) -> LoginAgain | None:
        """How the host application lets a user log in again; None where it cannot."""
        return getattr(self.sessions.who, "login_again", None)

    async def check(
        self,
        request: IRequest,
        asked: AuthorizationRequest,
        wanted: AuthenticationRequest,
        browser: Browser,
        mark: str | None,
        own_address: Callable[[str], str],
    ) -> Response | None:
        """Judge the login of a browser. None where it is as the request demands; else a redirect.

        :param mark: the mark that came with the request.
        :param own_address: the address at which the request can be repeated, with a new mark.
        :raises InvalidRequest: the hint is not an ID token of this server.
        :raises DJOAuthError: the user must log in, and no page may or can ask for that.
        """
        prefer(request, wanted.ui_locales)
        if browser.owner is None and browser.is_new and request.method == b"POST":
            # A browser sends no cookie with a form of another site (SameSite=Lax). It does with a GET.
            return respond.redirect(request, own_address(""))
        await self._check_hint(wanted, browser.owner)
        now = int(self.clock.seconds())
        has_logged_in = self.marks.is_answered(mark, asked, browser, now)
        if browser.owner is not None and not self._demands(wanted, browser, now, has_logged_in):
            return None
        if wanted.is_silent:
            raise LoginRequired("the user is not logged in, or not recently")
        returning_to = own_address(self.marks.make(asked, browser, now))
        return respond.redirect(request, await self._login_address(request, browser, returning_to))

    def mark(self, asked: AuthorizationRequest, browser: Browser) -> str | None:
        """A mark for the login that is to come; None where the request demands none."""
        if asked.authentication is None:
            return None
        return self.marks.make(asked, browser, int(self.clock.seconds()))

    async def _check_hint(self, wanted: AuthenticationRequest, owner: ResourceOwner | None) -> None:
        if wanted.id_token_hint is None:
            return
        hint = await self.read_hint(wanted.id_token_hint)
        # "If the End-User identified by the ID Token is [...] logged in as a result of the request
        # [...], then the Authorization Server returns a positive response; otherwise, it MUST return an
        # error, such as login_required."
        if owner is not None and owner.subject != hint.subject:
            raise LoginRequired("another user is logged in")

    def _demands(
        self, wanted: AuthenticationRequest, browser: Browser, now: int, has_logged_in: bool
    ) -> bool:
        """Whether a user who is logged in must log in again.

        Our own consent page shows the account, and offers to change it. A host application's accounts
        can only be changed by a login there.
        """
        if self.sessions.who is not None and "select_account" in wanted.prompts and not has_logged_in:
            if self.login_again is None:
                raise AccountSelectionRequired("the account cannot be chosen here")
            return True
        return demands_login(wanted, browser.auth_time, now, has_logged_in)

    async def _login_address(self, request: IRequest, browser: Browser, returning_to: str) -> str:
        if self.sessions.who is None or browser.owner is None:
            return await self.sessions.login_address(request, returning_to)
        if self.login_again is None or browser.auth_time is None:
            raise LoginRequired("the application around this server cannot ask for a new login")
        answer = maybeDeferred(self.login_again, request, short_enough(returning_to))
        address = await answered_in_time(answer, self.clock, "The function given as login_again=")
        if not isinstance(address, str):
            raise TypeError(f"login_again= must return an address, not {address!r}")
        return short_enough(address)
