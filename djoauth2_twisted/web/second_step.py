"""The second step of a login: the code of the second factor, or setting one up where it is required.

Between the steps there is no session. A cookie has the state: who has proved the password, and when. It
is sealed under the key file for this browser, so that neither can make one or use that of another.
"""

from __future__ import annotations

import base64
import json
import re
from typing import Any

from attrs import frozen
from twisted.web.iweb import IRequest

from ..credentials import digest
from ..errors import AlreadyExists, RegistrationError, TooManyRequests
from ..events import LoginRefused
from ..key_file import CannotUnseal
from ..messages import Message
from ..models import ResourceOwner, SecondFactor, User
from ..own_account import OwnAccount
from ..parameters import Parameters, parse
from ..protocol import paths
from . import respond, statistics
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
    with_parameter,
)
from .reporting import refusal
from .respond import Response
from .returning import follow_hints, local_path, may_lead_away, next_path
from .second_factors import SecondFactors
from .sessions import Browser, Sessions
from .shield import shield
from .throttle import too_many

#: How long the second step may take, in seconds.
STEP_LIFETIME = 600

#: The end of the cookie's name.
_STEP = "-step"

_STATE = re.compile(rb"[A-Za-z0-9_=-]{1,2000}")


@frozen
class SecondStep:
    """``/login/second_factor/``."""

    sessions: Sessions
    pages: Pages
    factors: SecondFactors
    account: OwnAccount
    start: LoginStart

    async def is_needed(self, owner: ResourceOwner) -> bool:
        """Whether a user who has proved the password must go through the second step."""
        user = await self._user(owner.username, owner.subject)
        if user is None:
            # The user was deleted or disabled meanwhile. `begin` begins no login.
            return True
        return self.factors.is_required_of(user) or await self.factors.of(user) is not None

    async def _user(self, username: str, subject: str) -> User | None:
        user: User | None = await self.factors.registry.find_user(username)
        return user if user is not None and user.subject == subject and not user.disabled else None

    async def begin(
        self,
        request: IRequest,
        browser: Browser,
        owner: ResourceOwner,
        proof: Proof,
        returning_to: str,
    ) -> Response:
        """Redirect a user who has proved the password to the second step."""
        user = await self._user(owner.username, owner.subject)
        path = next_path(request, returning_to)
        if user is None or user.password_hash != proof.password_hash:
            return respond.redirect(request, path)
        until = int(self.sessions.clock.seconds()) + STEP_LIFETIME
        state = [user.username, user.subject, digest(user.password_hash).hex(), until]
        keys = self.factors.key_file(is_new=await self.factors.of(user) is None)
        sealed = keys.seal(json.dumps(state).encode("ascii"), _of_browser(browser))
        address = f"{IMount(request).path}{paths.SECOND_STEP}"
        response = respond.redirect(request, with_parameter(address, "next", path))
        cookie = base64.urlsafe_b64encode(sealed).decode("ascii")
        response = self.sessions.with_cookie(response, _STEP, cookie, STEP_LIFETIME)
        return self.sessions.remember(response, browser)

    async def __call__(self, request: IRequest) -> Response:
        """Ask for the code, or check it and begin the login."""
        require_tls(request, self.factors.settings)
        require_method(request, "GET", "POST")
        browser = await self.sessions.browser(request)
        returning_to = local_path(read_query(request).get("next"))
        user = await self._proved(request, browser)
        factor = await self.factors.of(user) if user is not None else None
        if user is None or (factor is None and not self.factors.is_required_of(user)):
            if browser.owner is not None:
                # The form was sent twice, and the first one has begun the login.
                return respond.redirect(request, next_path(request, returning_to))
            return respond.redirect(request, await self.sessions.login_address(request, returning_to))
        step = _Step(request, browser, user, factor, returning_to)
        if request.method == b"POST":
            return await shield(self._answer(step))
        return self._page(step)

    async def _proved(self, request: IRequest, browser: Browser) -> User | None:
        """The user who has proved the password in this browser a short time ago."""
        sent = self.sessions.cookie(request, _STEP, _STATE)
        if sent is None or not self.factors.can_be_set_up:
            return None
        try:
            sealed = base64.urlsafe_b64decode(sent)
            state = self.factors.key_file(is_new=False).unseal(sealed, _of_browser(browser))
        except (ValueError, CannotUnseal):
            return None
        username, subject, hash_digest, until = json.loads(state)
        user = await self._user(username, subject)
        if user is None or self.sessions.clock.seconds() >= until:
            return None
        # A password that was changed meanwhile is not proved.
        return user if digest(user.password_hash).hex() == hash_digest else None

    async def _answer(self, step: _Step) -> Response:
        form = parse(form_body(step.request))
        form.refuse_repeated()
        token = form.get("csrf_token")
        if self.sessions.check_form_token(step.browser, token, *step.bound) is None:
            return self._page(step, Message("This page has expired. Please try again."), 403)
        try:
            if step.factor is None:
                return await self._set_up(step, form)
            code = form.get("code") or ""
            await self.factors.prove(step.request, step.user, step.factor, code)
        except TooManyRequests as error:
            self.account.events.publish(refusal("login", step.request, error))
            page = self._page(step, too_many(error.retry_after), 429)
            return respond.with_header(page, "Retry-After", str(error.retry_after))
        except RegistrationError as error:
            self._report(step)
            return self._page(step, error.message, 403, form)
        response = respond.redirect(step.request, next_path(step.request, step.returning_to))
        return await self._finish(step, response, step.factor)

    async def _set_up(self, step: _Step, form: Parameters) -> Response:
        new = self.factors.unseal_new(step.browser, step.user, form.get("new") or "")
        if new is None:
            return self._page(step, Message("This page has expired. Please try again."), 403)
        try:
            codes = await self.factors.add(step.user, new, form.get("code") or "")
        except AlreadyExists:
            # Another browser was faster. This one is asked for a code.
            address = f"{IMount(step.request).path}{paths.SECOND_STEP}"
            again = with_parameter(address, "next", next_path(step.request, step.returning_to))
            return respond.redirect(step.request, again)
        await self.account.record(step.user, "user set-up-second-factor", **step.origin)
        await self.sessions.end_others(step.user.username)
        context = {"codes": codes, "next": next_path(step.request, step.returning_to)}
        page = self.pages.page(step.request, "recovery_codes.html", context)
        return await self._finish(step, page, await self.factors.of(step.user))

    async def _finish(self, step: _Step, response: Response, factor: SecondFactor | None) -> Response:
        """Begin the login, and return the response with it; a redirect to the login page where it
        cannot begin any more.
        """
        request, browser = step.request, step.browser
        logged_in = None
        if factor is not None:
            proof = Proof(step.user.password_hash, factor.created)
            logged_in = await self.start.begin(request, browser, step.owner, proof)
        if logged_in is None:
            to_log_in = await self.sessions.login_address(request, step.returning_to)
            return respond.redirect(request, to_log_in)
        response = await self.start.finish(request, response, browser, logged_in)
        return self.sessions.with_cookie(response, _STEP, "", 0)

    def _report(self, step: _Step) -> None:
        self.start.statistics.count(statistics.FAILED_LOGIN)
        reason = "the code is wrong, or was used before"
        refused = LoginRefused(username=step.user.username, reason=reason, **step.origin)
        self.account.events.publish(refused)

    def _page(
        self,
        step: _Step,
        message: Message | str = "",
        status: int = 200,
        form: Parameters | None = None,
    ) -> Response:
        request, browser, user = step.request, step.browser, step.user
        address = f"{IMount(request).path}{paths.SECOND_STEP}"
        fields = {"csrf_token": self.sessions.form_token(browser, *step.bound)}
        context: dict[str, Any] = {
            "form_action": with_parameter(address, "next", next_path(request, step.returning_to)),
            "username": user.username,
            "message": message,
            "back": f"{IMount(request).path}{paths.LOGIN}",
        }
        template = "login_second_factor.html"
        if step.factor is None:
            template = "second_factor_setup.html"
            sent = form.get("new") or "" if form is not None else ""
            new = self.factors.unseal_new(browser, user, sent) or self.factors.new_secrets()
            fields["new"] = self.factors.seal_new(browser, user, new)
            context |= {**self.factors.context(user, new), "is_required": True}
        context["form"] = hidden_fields(**fields)
        if self.factors.settings.openid:
            follow_hints(request, step.returning_to)
        leads_away = may_lead_away(request, step.returning_to)
        return self.pages.page(request, template, context, status, leads_away=leads_away)


@frozen
class _Step:
    """One request of the second step.

    :param user: has proved the password.
    :param factor: None where it is set up in this step.
    """

    request: IRequest
    browser: Browser
    user: User
    factor: SecondFactor | None
    returning_to: str

    @property
    def bound(self) -> tuple[str, str]:
        """What the form's token is bound to."""
        return "second step", self.user.subject

    @property
    def owner(self) -> ResourceOwner:
        """The user as a resource owner."""
        user = self.user
        return ResourceOwner(user.username, user.first_name, user.last_name, user.email, user.subject)

    @property
    def origin(self) -> dict[str, str]:
        """Where the request comes from, and its identifier, for the log."""
        return {"address": address_of(self.request), "request_id": request_id_of(self.request)}


def _of_browser(browser: Browser) -> bytes:
    return b"login step\0" + browser.secret.encode("ascii")
