"""The page of "Your account" on which a second factor is set up and removed."""

from __future__ import annotations

from typing import Any

from attrs import frozen
from twisted.web.iweb import IRequest

from ..errors import NothingHere, RegistrationError
from ..messages import Message
from ..parameters import Parameters
from ..protocol import paths
from . import respond
from .own_pages import OwnPages, Visit
from .respond import Response
from .second_factors import SecondFactors
from .shield import shield


@frozen
class SecondFactorPage:
    """``/account/second_factor/``: the form's field ``step`` is ``begin``, ``confirm`` or ``remove``."""

    own: OwnPages
    factors: SecondFactors

    async def __call__(self, request: IRequest) -> Response:
        """Show whether the user has a second factor, set one up, or remove it."""
        return await self.own.visit(request, paths.ACCOUNT_SECOND_FACTOR, self._answer)

    async def _answer(self, visit: Visit) -> Response:
        factor = await self.factors.of(visit.user)
        if factor is None and not self.factors.can_be_set_up:
            raise NothingHere("there is nothing at this address")
        if visit.request.method == b"GET":
            return self._page(visit, factor is not None)
        form = self.own.read_form(visit, "second factor")
        if form is None:
            return self.own.expired(visit, paths.ACCOUNT_SECOND_FACTOR)
        step = form.get("step")
        if step == "confirm":
            return await shield(self._confirm(visit, form))
        message, status, retry_after = await self.own.prove(visit, form)
        if message:
            return self._page(visit, factor is not None, message, status, retry_after)
        if step == "remove":
            return await shield(self._remove(visit))
        return self._setup_page(visit, form)

    async def _confirm(self, visit: Visit, form: Parameters) -> Response:
        own, factors = self.own, self.factors
        new = factors.unseal_new(visit.browser, visit.user, form.get("new") or "")
        if new is None:
            return own.expired(visit, paths.ACCOUNT_SECOND_FACTOR)
        try:
            codes = await factors.add(visit.user, new, form.get("code") or "")
        except RegistrationError as error:
            return self._setup_page(visit, form, error.message, 403)
        await own.account.record(visit.user, "user set-up-second-factor", **visit.place)
        await own.sessions.end_others(visit.user.username, visit.session.digest)
        owner, address = visit.session.owner, visit.place["address"]
        browser = await own.sessions.log_in(visit.browser, owner, address, second_factor=True)
        context = {"codes": codes, "next": visit.address(paths.ACCOUNT_SETTINGS)}
        page = own.pages.page(visit.request, "recovery_codes.html", context)
        return own.sessions.remember(page, browser)

    async def _remove(self, visit: Visit) -> Response:
        own = self.own
        if await own.registry.remove_second_factor(visit.user.subject):
            await own.account.record(visit.user, "user remove-second-factor", **visit.place)
        if self.factors.is_required_of(visit.user):
            # The next login leads to setting up another one.
            await own.sessions.end_others(visit.user.username)
            here = visit.address(paths.ACCOUNT_SETTINGS)
            return respond.redirect(visit.request, await own.sessions.login_address(visit.request, here))
        return own.done(visit, visit.browser, "removed")

    def _page(
        self,
        visit: Visit,
        has_one: bool,
        message: Message | str = "",
        status: int = 200,
        retry_after: str = "",
    ) -> Response:
        step = "remove" if has_one else "begin"
        context = {
            "form": self.own.token_fields(visit, "second factor", step=step),
            "form_action": visit.address(paths.ACCOUNT_SECOND_FACTOR),
            "has_one": has_one,
            "is_required": self.factors.is_required_of(visit.user),
            "message": message,
        }
        return self.own.page(visit, "account_second_factor.html", context, status, retry_after)

    def _setup_page(
        self, visit: Visit, form: Parameters, message: Message | str = "", status: int = 200
    ) -> Response:
        factors, browser, user = self.factors, visit.browser, visit.user
        new = factors.unseal_new(browser, user, form.get("new") or "") or factors.new_secrets()
        sealed = factors.seal_new(browser, user, new)
        context: dict[str, Any] = {
            **factors.context(user, new),
            "form": self.own.token_fields(visit, "second factor", step="confirm", new=sealed),
            "form_action": visit.address(paths.ACCOUNT_SECOND_FACTOR),
            "username": user.username,
            "is_required": False,
            "message": message,
        }
        return self.own.page(visit, "second_factor_setup.html", context, status)
