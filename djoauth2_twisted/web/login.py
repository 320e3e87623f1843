"""The pages to log in and out, over a twisted.cred Portal."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

from attrs import frozen
from klein import Response
from twisted.cred.credentials import UsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import Portal
from twisted.logger import Logger

from ..conf import Settings
from ..errors import InvalidRequest, TooManyRequests
from ..interfaces import IResourceOwner
from ..models import ResourceOwner
from ..parameters import parse
from ..resource_owners import resource_owner
from . import respond
from .pages import Pages, hidden_fields
from .request import (
    IMount,
    address_of,
    form_body,
    read_query,
    require_method,
    require_tls,
)
from .sessions import Browser, Sessions
from .throttle import Throttle

#: A longer address would not fit into a request's first line again.
LONGEST_NEXT = 12_000

# What a path of ours consists of; no browser takes it for another origin.
_LOCAL = re.compile(r"/(?![/\\])[!-\[\]-~]*")


def login_address(request: Any, returning_to: str) -> str:
    """The login page's address, from where the browser comes back to a path of ours."""
    if len(returning_to) > LONGEST_NEXT:
        raise InvalidRequest("the request is too long")
    return f"{IMount(request).path}/login/?next={quote(returning_to, safe='')}"


@frozen
class Login:
    """``/login/`` and ``/logout/``."""

    settings: Settings
    portal: Portal
    sessions: Sessions
    pages: Pages
    #: Failures of one address with one name, and of one address altogether.
    by_name: Throttle
    by_address: Throttle
    _log = Logger()

    async def login(self, request: Any) -> Response:
        """Ask for name and password, and go on where the browser wanted to."""
        require_tls(request, self.settings)
        require_method(request, "GET", "POST")
        browser = await self.sessions.browser(request)
        if request.method == b"GET":
            return self._login_page(request, browser, read_query(request).get("next") or "")
        return await self._log_in(request, browser)

    async def _log_in(self, request: Any, browser: Browser) -> Response:
        form = parse(form_body(request))
        form.refuse_repeated()
        returning_to = form.get("next") or read_query(request).get("next") or ""
        if self.sessions.check_form_token(browser, form.get("csrf_token"), "login") is None:
            message = "This page had expired. Please try again; your browser must accept cookies."
            return self._login_page(request, browser, returning_to, message, 403)
        username, password = form.get("username") or "", form.get("password") or ""
        address = address_of(request)
        try:
            owner = await self._judge_throttled(address, username, password)
        except TooManyRequests as error:
            message = "There were too many attempts. Please wait a minute and try again."
            page = self._login_page(request, browser, returning_to, message, 429, username)
            return respond.with_header(page, "Retry-After", str(error.retry_after))
        except UnauthorizedLogin:
            self._log.info("A login was refused, from {address}", address=address)
            message = "The name or the password is wrong."
            return self._login_page(request, browser, returning_to, message, 403, username)
        browser = await self.sessions.log_in(browser, owner)
        self._log.info("{name!r} logged in, from {address}", name=owner.username, address=address)
        gone = respond.redirect(request, self._next(request, returning_to))
        return self.sessions.remember(gone, browser)

    async def _judge_throttled(self, address: str, username: str, password: str) -> ResourceOwner:
        self._throttle(address, username)
        try:
            return await self._judge(username, password)
        except UnauthorizedLogin:
            too_many = await self.by_name.failed(address, username)
            too_many |= await self.by_address.failed(address)
            if too_many:
                self._throttle(address, username)
            raise

    def _throttle(self, address: str, username: str) -> None:
        self.by_name.check(address, username)
        self.by_address.check(address)

    async def _judge(self, username: str, password: str) -> ResourceOwner:
        presented = UsernamePassword(
            username.encode("utf-8", "surrogateescape"), password.encode("utf-8", "surrogateescape")
        )
        _, avatar, logout = await self.portal.login(presented, None, IResourceOwner)
        owner = resource_owner(avatar)
        # All that is needed of the avatar is in the session now.
        logout()
        return owner

    def _next(self, request: Any, returning_to: str) -> str:
        # RFC 9700, section 4.11: no open redirector, not for ourselves either.
        if _LOCAL.fullmatch(returning_to) and len(returning_to) <= LONGEST_NEXT:
            return returning_to
        return f"{IMount(request).path}/login/"

    def _login_page(
        self,
        request: Any,
        browser: Browser,
        returning_to: str,
        message: str = "",
        status: int = 200,
        username: str = "",
    ) -> Response:
        token = self.sessions.form_token(browser, "login")
        returning_to = returning_to if _LOCAL.fullmatch(returning_to) else ""
        context = {
            "form": hidden_fields(csrf_token=token, next=returning_to),
            "form_action": f"{IMount(request).path}/login/",
            "logout_form": hidden_fields(csrf_token=self.sessions.form_token(browser, "logout")),
            "logout_action": f"{IMount(request).path}/logout/",
            "owner": browser.owner,
            "asked_for": bool(returning_to),
            "message": message,
            "username": username if username.isprintable() else "",
        }
        page = self.pages.page(request, "login.html", context, status)
        return self.sessions.remember(page, browser)

    async def logout(self, request: Any) -> Response:
        """End the login. GET only asks, so that no image or link can do it."""
        require_tls(request, self.settings)
        require_method(request, "GET", "POST")
        browser = await self.sessions.browser(request)
        if request.method == b"POST":
            form = parse(form_body(request))
            if self.sessions.check_form_token(browser, form.get("csrf_token"), "logout") is not None:
                browser = await self.sessions.log_out(browser)
                gone = respond.redirect(request, f"{IMount(request).path}/login/")
                return self.sessions.remember(gone, browser)
        context = {
            "form": hidden_fields(csrf_token=self.sessions.form_token(browser, "logout")),
            "form_action": f"{IMount(request).path}/logout/",
            "owner": browser.owner,
        }
        status = 200 if request.method == b"GET" else 403
        page = self.pages.page(request, "logout.html", context, status)
        return self.sessions.remember(page, browser)
