"""The pages to log in and out, over a twisted.cred Portal."""

from __future__ import annotations

from contextlib import suppress

import attrs
from attrs import frozen
from twisted.cred.error import LoginFailed, UnauthorizedLogin
from twisted.cred.portal import Portal
from twisted.internet.defer import maybeDeferred
from twisted.web.iweb import IRequest

from ..conf import Settings
from ..errors import DJOAuthError, TemporarilyUnavailable, TooManyRequests
from ..events import Events, LoginRefused
from ..interfaces import IRegistry, IResourceOwner
from ..messages import Message
from ..models import Client, Limit, ResourceOwner
from ..parameters import parse
from ..passwords import ACQUAINTANCES, STRANGERS, Turn
from ..protocol import paths, precis
from ..protocol.authorization import client_id_of
from ..resource_owners import Attempt, Registered, admit
from ..user_lookup import find_typed
from . import respond, statistics
from .admission import AdmissionQueue, Slot
from .deadline import answered_in_time
from .devices import Devices
from .image import image_address
from .login_start import LoginStart, Proof
from .mounting import IMount
from .pages import Pages, hidden_fields
from .reading import (
    address_of,
    form_body,
    read_query,
    request_id_of,
    require_method,
    require_tls,
    throttle_key_of,
)
from .reporting import refusal
from .respond import Response
from .returning import follow_hints, local_path, may_lead_away, next_path
from .second_step import SecondStep
from .sessions import Browser, Sessions
from .statistics import Statistics
from .throttle import Attempts, ThrottleKey, too_many

#: The limit on successful logins of one name from one address.
LOGINS = Limit(120)

_WRONG = Message("The name or the password is wrong.")
_LOGIN_ENDED = Message("Your login has ended. Log in again to continue.")
_EXPIRED = Message("This page has expired. Please try again.")
_NO_COOKIE = Message(
    "Your browser sent no cookie, so the server cannot recognize you. "
    "Please allow cookies for this site, then try again."
)


@frozen
class Login:
    """``/login/`` and ``/logout/``.

    :param queue: where logins wait before they begin.
    :param queue_of_devices: the same for those with a browser that says that it is known.
    :param start: begins logins.
    :param devices: the browsers that users have logged in with; None where users are not in the
        database.
    :param second_step: what follows the password; None where users are not in the database.
    """

    settings: Settings
    registry: IRegistry
    portal: Portal
    sessions: Sessions
    pages: Pages
    attempts: Attempts
    statistics: Statistics
    events: Events
    queue: AdmissionQueue
    queue_of_devices: AdmissionQueue
    start: LoginStart
    devices: Devices | None = None
    second_step: SecondStep | None = None

    async def login(self, request: IRequest) -> Response:
        """Ask for name and password, then redirect the browser to the path in ``next``."""
        require_tls(request, self.settings)
        require_method(request, "GET", "POST")
        if request.method == b"GET":
            browser = await self.sessions.browser(request)
            return await self._login_page(request, browser, read_query(request).get("next") or "")
        is_known = self.devices is not None and self.devices.are_claimed(request)
        queue = self.queue_of_devices if is_known else self.queue
        with await queue.enter(throttle_key_of(request)) as slot:
            return await self._log_in(request, slot)

    async def _log_in(self, request: IRequest, slot: Slot) -> Response:
        browser = await self.sessions.browser(request)
        form = parse(form_body(request))
        form.refuse_repeated()
        returning_to = form.get("next") or read_query(request).get("next") or ""
        username, password = form.get("username") or "", form.get("password") or ""
        if self.sessions.check_form_token(browser, form.get("csrf_token"), "login") is None:
            if browser.owner is not None and browser.owner.username == username:
                # The form was sent twice, and the first login gave the browser another secret.
                return respond.redirect(request, next_path(request, returning_to))
            message = _NO_COOKIE if browser.is_new else _EXPIRED
            return await self._login_page(request, browser, returning_to, message, 403, username)
        try:
            owner, proof = await self._authenticate_limited(request, username, password, slot)
        except TooManyRequests as error:
            # No name: the look-up would cost too much in a flood.
            self.events.publish(refusal("login", request, error))
            message = too_many(error.retry_after)
            page = await self._login_page(request, browser, returning_to, message, 429, username)
            return respond.with_header(page, "Retry-After", str(error.retry_after))
        except LoginFailed:
            self.statistics.count(statistics.FAILED_LOGIN)
            await self._report_refusal(request, username)
            return await self._login_page(request, browser, returning_to, _WRONG, 403, username)
        if self.second_step is not None and await self.second_step.is_needed(owner):
            return await self.second_step.begin(request, browser, owner, proof, returning_to)
        logged_in = await self.start.begin(request, browser, owner, proof)
        if logged_in is None:
            return await self._login_page(request, browser, returning_to, _LOGIN_ENDED, 403, username)
        response = respond.redirect(request, next_path(request, returning_to))
        return await self.start.finish(request, response, browser, logged_in)

    async def _report_refusal(self, request: IRequest, username: str) -> None:
        known = None
        with suppress(TemporarilyUnavailable):
            # It takes the same time for a name that is not there.
            known = await find_typed(self.registry, username)
        name = "" if known is None else known.username
        reason = "the name or the password is wrong"
        refused = LoginRefused(
            username=name,
            address=address_of(request),
            request_id=request_id_of(request),
            reason=reason,
        )
        self.events.publish(refused)

    async def _authenticate_limited(
        self, request: IRequest, username: str, password: str, slot: Slot
    ) -> tuple[ResourceOwner, Proof]:
        """Authenticate a user within the limits.

        The attempt counts as a guess before the password is checked. If the password is right, or cannot
        be checked, the guess is taken back.

        :param slot: it is released before the password is checked, because that has its own queue.
        """
        address = throttle_key_of(request)
        # All spellings of a name are one identity.
        identity = precis.folded(username)
        device = await self.devices.find(request, username) if self.devices is not None else None
        guess = self._limits(address, identity, device)
        login: dict[ThrottleKey, Limit] = {("login", address, identity): LOGINS}
        self.attempts.check(login)
        await self.attempts.begin(guess)
        turn = Turn(STRANGERS, address) if device is None else Turn(ACQUAINTANCES, identity)
        slot.release()
        try:
            authenticated = await self._authenticate(username, password, turn)
        except TemporarilyUnavailable:
            await self.attempts.give_back(guess)
            raise
        await self.attempts.begin(login)
        await self.attempts.give_back(guess)
        return authenticated

    def _limits(self, address: str, identity: str, device: str | None) -> dict[ThrottleKey, Limit]:
        """How many wrong and aborted attempts there may be. A person who mistypes needs fewer.

        :param identity: the name in the form that all its spellings share.
        :param device: the name of a browser that this user has logged in with before.
        """
        guesses = Limit(self.settings.max_wrong_passwords)
        if device is not None:
            return {("guess with a device", device, identity): guesses}
        limits: dict[ThrottleKey, Limit] = {
            ("guess", address, identity): guesses,
            # A proxy or a whole office may share the address.
            ("guess from an address", address): Limit(self.settings.max_failures_per_address),
        }
        if self.devices is not None:
            most = self.settings.max_wrong_passwords_per_account
            limits["guess at an account", identity] = Limit(most, 3600)
        return limits

    async def _authenticate(
        self, username: str, password: str, turn: Turn
    ) -> tuple[ResourceOwner, Proof]:
        """Authenticate a user by the name and the password as they were typed.

        Our own checker finds them in every form. Another is asked again with the normalized form.
        """
        try:
            return await self._ask_portal(username, password, turn)
        except UnauthorizedLogin as unauthorized:
            normalized = precis.username(username), precis.password(password)
            if self.devices is not None or normalized == (username, password):
                raise
            try:
                return await self._ask_portal(*normalized, turn)
            except TemporarilyUnavailable:
                # One form was refused, so this was a guess.
                raise unauthorized from None

    async def _ask_portal(self, username: str, password: str, turn: Turn) -> tuple[ResourceOwner, Proof]:
        presented = Attempt(
            username.encode("utf-8", "surrogateescape"),
            password.encode("utf-8", "surrogateescape"),
            turn,
        )
        asking = maybeDeferred(self.portal.login, presented, None, IResourceOwner)
        _, avatar, logout = await answered_in_time(asking, self.sessions.clock, "The Portal")
        try:
            owner = await admit(self.registry, avatar, self.settings.openid)
            return owner, Proof(avatar.password_hash if isinstance(avatar, Registered) else "")
        finally:
            # The resource owner is a copy, so the avatar is no longer needed.
            logout()

    async def _login_page(
        self,
        request: IRequest,
        browser: Browser,
        returning_to: str,
        message: Message | str = "",
        status: int = 200,
        username: str = "",
    ) -> Response:
        returning_to = local_path(returning_to)
        if self.settings.openid:
            hint = follow_hints(request, returning_to)
            username = username or hint
        if not message and returning_to and browser.login_has_ended:
            message = _LOGIN_ENDED
        # In a flood, the look-up would cost too much.
        client = None if status == 429 else await self._client(request, returning_to)
        token = self.sessions.form_token(browser, "login")
        context = {
            "client": client,
            "form": hidden_fields(csrf_token=token, next=returning_to),
            "form_action": f"{IMount(request).path}{paths.LOGIN}",
            "logout_form": hidden_fields(csrf_token=self.sessions.form_token(browser, "logout")),
            "logout_action": f"{IMount(request).path}/logout/",
            "owner": browser.owner,
            "next": returning_to,
            "message": message,
            "username": username if _can_be_shown(username) else "",
        }
        leads_away = may_lead_away(request, returning_to)
        page = self.pages.page(request, "login.html", context, status, leads_away=leads_away)
        return self.sessions.remember(page, browser)

    async def _client(self, request: IRequest, returning_to: str) -> Client | None:
        """The client whose authorization request leads to the login, as far as that is known."""
        path, _, query = returning_to.partition("?")
        if path.rstrip("/") != (IMount(request).path + paths.AUTHORIZATION).rstrip("/"):
            return None
        with suppress(DJOAuthError):
            client = await self.registry.find_client(client_id_of(parse(query.encode("ascii"))))
            if client is not None and not client.disabled:
                return attrs.evolve(client, image_url=image_address(request, client))
        return None

    async def logout(self, request: IRequest) -> Response:
        """End the login. GET only asks for confirmation, so that no image or link ends a login."""
        require_tls(request, self.settings)
        require_method(request, "GET", "POST")
        browser = await self.sessions.browser(request)
        sent = read_query(request) if request.method == b"GET" else parse(form_body(request))
        returning_to = local_path(sent.get("next"))
        message: Message | str = ""
        if request.method == b"POST":
            token = sent.get("csrf_token")
            is_ours = self.sessions.check_form_token(browser, token, "logout") is not None
            # A form that is sent twice finds the login ended, and the browser with another secret.
            if is_ours or (browser.owner is None and not browser.is_new):
                new_browser = await self.sessions.log_out(browser)
                logged_out = returning_to or f"{IMount(request).path}{paths.LOGOUT}?done=yes"
                response = respond.redirect(request, logged_out)
                return self.sessions.remember(response, new_browser)
            message = _NO_COOKIE if browser.is_new else _EXPIRED
        token = self.sessions.form_token(browser, "logout")
        context = {
            "form": hidden_fields(csrf_token=token, next=returning_to),
            "form_action": f"{IMount(request).path}/logout/",
            "done": browser.owner is None and sent.get("done") == "yes",
            "owner": browser.owner,
            "message": message,
        }
        status = 200 if request.method == b"GET" else 403
        leads_away = may_lead_away(request, returning_to)
        page = self.pages.page(request, "logout.html", context, status, leads_away=leads_away)
        return self.sessions.remember(page, browser)


def _can_be_shown(username: str) -> bool:
    """Whether a page may repeat a username that was typed. No user has a longer one."""
    return username.isprintable() and len(username) <= precis.MAX_NAME_LENGTH
