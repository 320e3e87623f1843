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
from .own_pages import AccountRequest, OwnPages
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
        return await self.own.answer(request, paths.ACCOUNT_SECOND_FACTOR, self._answer)

    async def _answer(self, account_request: AccountRequest) -> Response:
        factor = await self.factors.of(account_request.user)
        if factor is None and not self.factors.can_be_set_up:
            raise NothingHere("there is nothing at this address")
        if account_request.request.method == b"GET":
            return self._page(account_request, factor is not None)
        form = self.own.read_form(account_request, "second factor")
        if form is None:
            return self.own.expired(account_request, paths.ACCOUNT_SECOND_FACTOR)
        step = form.get("step")
        if step == "confirm":
            return await shield(self._confirm(account_request, form))
        message, status, retry_after = await self.own.prove(account_request, form)
        if message:
            return self._page(account_request, factor is not None, message, status, retry_after)
        if step == "remove":
            return await shield(self._remove(account_request))
        return self._setup_page(account_request, form)

    async def _confirm(self, account_request: AccountRequest, form: Parameters) -> Response:
        own, factors = self.own, self.factors
        new = factors.unseal_new(account_request.browser, account_request.user, form.get("new") or "")
        if new is None:
            return own.expired(account_request, paths.ACCOUNT_SECOND_FACTOR)
        try:
            codes = await factors.add(account_request.user, new, form.get("code") or "")
        except RegistrationError as error:
            return self._setup_page(account_request, form, error.message, 403)
        await own.account.record(
            account_request.user, "user set-up-second-factor", **account_request.origin
        )
        await own.sessions.end_others(account_request.user.username, account_request.session.digest)
        owner, address = account_request.session.owner, account_request.origin["address"]
        browser = await own.sessions.log_in(account_request.browser, owner, address, second_factor=True)
        context = {"codes": codes, "next": account_request.address(paths.ACCOUNT_SETTINGS)}
        page = own.pages.page(account_request.request, "recovery_codes.html", context)
        return own.sessions.remember(page, browser)

    async def _remove(self, account_request: AccountRequest) -> Response:
        own = self.own
        if await own.registry.remove_second_factor(account_request.user.subject):
            await own.account.record(
                account_request.user, "user remove-second-factor", **account_request.origin
            )
        if self.factors.is_required_of(account_request.user):
            # The next login leads to setting up another one.
            await own.sessions.end_others(account_request.user.username)
            here = account_request.address(paths.ACCOUNT_SETTINGS)
            return respond.redirect(
                account_request.request, await own.sessions.login_address(account_request.request, here)
            )
        return own.done(account_request, account_request.browser, "removed")

    def _page(
        self,
        account_request: AccountRequest,
        has_one: bool,
        message: Message | str = "",
        status: int = 200,
        retry_after: str = "",
    ) -> Response:
        step = "remove" if has_one else "begin"
        context = {
            "form": self.own.token_fields(account_request, "second factor", step=step),
            "form_action": account_request.address(paths.ACCOUNT_SECOND_FACTOR),
            "has_one": has_one,
            "is_required": self.factors.is_required_of(account_request.user),
            "message": message,
        }
        return self.own.page(account_request, "account_second_factor.html", context, status, retry_after)

    def _setup_page(
        self,
        account_request: AccountRequest,
        form: Parameters,
        message: Message | str = "",
        status: int = 200,
    ) -> Response:
        factors, browser, user = self.factors, account_request.browser, account_request.user
        new = factors.unseal_new(browser, user, form.get("new") or "") or factors.new_secrets()
        sealed = factors.seal_new(browser, user, new)
        context: dict[str, Any] = {
            **factors.context(user, new),
            "form": self.own.token_fields(account_request, "second factor", step="confirm", new=sealed),
            "form_action": account_request.address(paths.ACCOUNT_SECOND_FACTOR),
            "username": user.username,
            "is_required": False,
            "message": message,
        }
        return self.own.page(account_request, "second_factor_setup.html", context, status)
