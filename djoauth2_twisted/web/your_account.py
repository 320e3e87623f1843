""" "Your account": the password and the logins of a user of the database."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from functools import partial
from typing import Any

from attrs import frozen
from twisted.web.iweb import IRequest

from ..conf import MAX_SESSIONS
from ..errors import NotAllEnded, RegistrationError
from ..messages import Message
from ..models import Session
from ..parameters import parse
from ..protocol import paths
from ..protocol.registration import check_password
from .own_pages import DONE, AccountRequest, OwnPages
from .reading import form_body
from .respond import Response
from .second_factors import SecondFactors
from .shield import shield

#: The largest number of logins on the page.
MAX_SHOWN = 20

_MESSAGES = {
    "password": Message("Your password is changed. All other logins have ended."),
    "removed": Message("The second factor is removed."),
    "ended": Message("The login has ended."),
    "others": Message("All other logins have ended."),
}
_DIFFERENT = Message("the two new passwords are different")


@frozen
class YourAccount:
    """``/account/settings/`` and ``/account/password/``."""

    own: OwnPages
    factors: SecondFactors

    async def settings(self, request: IRequest) -> Response:
        """Show what belongs to the account, or end logins."""
        return await self.own.answer(request, paths.ACCOUNT_SETTINGS, self._settings)

    async def password(self, request: IRequest) -> Response:
        """Ask for the old and a new password, or change it."""
        return await self.own.answer(request, paths.ACCOUNT_PASSWORD, self._password)

    async def _settings(self, account_request: AccountRequest) -> Response:
        if account_request.request.method == b"POST":
            return await shield(self._end(account_request))
        own, sessions = self.own, self.own.sessions
        now = int(sessions.clock.seconds())
        found = await own.registry.sessions_of(account_request.user.username, now, MAX_SHOWN + 1)
        mine = [each for each in found if each.owner.subject == account_request.user.subject]
        name = sessions.flashed(account_request.request, account_request.browser, DONE)
        context = {
            "logins": [self._login(account_request, each) for each in mine[:MAX_SHOWN]],
            "has_more": len(mine) > MAX_SHOWN,
            "others_form": own.token_fields(account_request, "end others", others="yes"),
            "form_action": account_request.address(paths.ACCOUNT_SETTINGS),
            "password_address": account_request.address(paths.ACCOUNT_PASSWORD),
            "second_factor_address": await self._second_factor_address(account_request),
            "has_second_factor": await self.factors.of(account_request.user) is not None,
            "lacks_key_file": account_request.user.admin and not self.factors.can_be_set_up,
            "applications": account_request.address(paths.ACCOUNT),
            "message": _MESSAGES.get(name, ""),
        }
        page = own.page(account_request, "account_settings.html", context)
        return sessions.forget(page, DONE) if name else page

    async def _second_factor_address(self, account_request: AccountRequest) -> str:
        """The address of the page for the second factor; empty where there is nothing to do there."""
        is_of_use = self.factors.can_be_set_up or await self.factors.of(account_request.user) is not None
        return account_request.address(paths.ACCOUNT_SECOND_FACTOR) if is_of_use else ""

    def _login(self, account_request: AccountRequest, session: Session) -> dict[str, Any]:
        began = datetime.fromtimestamp(session.auth_time, UTC)
        login = _id_of(session)
        return {
            "since": began.strftime("%Y-%m-%d %H:%M"),
            "address": session.address,
            "is_this": session.digest == account_request.session.digest,
            "form": self.own.token_fields(account_request, "end", login, login=login),
        }

    async def _end(self, account_request: AccountRequest) -> Response:
        own, registry = self.own, self.own.registry
        form = parse(form_body(account_request.request))
        login, username = form.get("login") or "", account_request.user.username
        if form.get("others") and own.is_ours(account_request, form, "end others"):
            await self._record(account_request, "user end-logins")
            await own.sessions.end_others(username, account_request.session.digest)
            return own.done(account_request, account_request.browser, "others")
        if not own.is_ours(account_request, form, "end", login):
            return own.expired(account_request, paths.ACCOUNT_SETTINGS)
        now = int(own.sessions.clock.seconds())
        for session in await registry.sessions_of(username, now, MAX_SESSIONS):
            if _id_of(session) == login:
                await self._record(account_request, "user end-login")
                await own.sessions.tell(session)
                await registry.end_session(session.digest)
        return own.done(account_request, account_request.browser, "ended")

    async def _record(self, account_request: AccountRequest, action: str) -> None:
        await self.own.account.record(account_request.user, action, **account_request.origin)

    async def _password(self, account_request: AccountRequest) -> Response:
        if account_request.request.method == b"POST":
            return await shield(self._change(account_request))
        return self._password_page(account_request)

    async def _change(self, account_request: AccountRequest) -> Response:
        own = self.own
        form = own.read_form(account_request, "password")
        if form is None:
            return own.expired(account_request, paths.ACCOUNT_PASSWORD)
        password = form.get("password") or ""
        if password != (form.get("repeated") or ""):
            return self._password_page(account_request, _DIFFERENT, 400)
        message, status, retry_after = await own.prove(account_request, form)
        if message:
            return self._password_page(account_request, message, status, retry_after)
        assert own.proof is not None
        hashing = partial(own.proof.hash, username=account_request.user.username)
        try:
            # Where the password is refused, no login ends.
            check_password(password, account_request.user.username)
            await own.sessions.tell_others(account_request.user.username, account_request.session.digest)
            await own.account.set_password(
                account_request.user,
                password,
                hashing,
                account_request.session.digest,
                **account_request.origin,
            )
        except NotAllEnded as error:
            return self._password_page(account_request, error.message, 503)
        except RegistrationError as error:
            return self._password_page(account_request, error.message, 400)
        response = own.done(account_request, account_request.browser, "password")
        # The proof of an earlier login in this browser was made with the old password's hash.
        return await own.devices.remember(response, account_request.user.username)

    def _password_page(
        self,
        account_request: AccountRequest,
        message: Message | str = "",
        status: int = 200,
        retry_after: str = "",
    ) -> Response:
        context = {
            "form": self.own.token_fields(account_request, "password"),
            "form_action": account_request.address(paths.ACCOUNT_PASSWORD),
            "message": message,
        }
        return self.own.page(account_request, "account_password.html", context, status, retry_after)


def _id_of(session: Session) -> str:
    """What names a login in a form. The digest itself is the store's key, and stays inside."""
    return hashlib.sha256(b"login" + session.digest).hexdigest()[:32]
