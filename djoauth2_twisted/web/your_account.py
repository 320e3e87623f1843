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
from .own_pages import DONE, OwnPages, Visit
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
        return await self.own.visit(request, paths.ACCOUNT_SETTINGS, self._settings)

    async def password(self, request: IRequest) -> Response:
        """Ask for the old and a new password, or change it."""
        return await self.own.visit(request, paths.ACCOUNT_PASSWORD, self._password)

    async def _settings(self, visit: Visit) -> Response:
        if visit.request.method == b"POST":
            return await shield(self._end(visit))
        own, sessions = self.own, self.own.sessions
        now = int(sessions.clock.seconds())
        found = await own.registry.sessions_of(visit.user.username, now, MAX_SHOWN + 1)
        mine = [each for each in found if each.owner.subject == visit.user.subject]
        name = sessions.flashed(visit.request, visit.browser, DONE)
        context = {
            "logins": [self._login(visit, each) for each in mine[:MAX_SHOWN]],
            "has_more": len(mine) > MAX_SHOWN,
            "others_form": own.token_fields(visit, "end others", others="yes"),
            "form_action": visit.address(paths.ACCOUNT_SETTINGS),
            "password_address": visit.address(paths.ACCOUNT_PASSWORD),
            "second_factor_address": await self._second_factor_address(visit),
            "has_second_factor": await self.factors.of(visit.user) is not None,
            "lacks_key_file": visit.user.admin and not self.factors.can_be_set_up,
            "applications": visit.address(paths.ACCOUNT),
            "message": _MESSAGES.get(name, ""),
        }
        page = own.page(visit, "account_settings.html", context)
        return sessions.forget(page, DONE) if name else page

    async def _second_factor_address(self, visit: Visit) -> str:
        """The address of the page for the second factor; empty where there is nothing to do there."""
        is_of_use = self.factors.can_be_set_up or await self.factors.of(visit.user) is not None
        return visit.address(paths.ACCOUNT_SECOND_FACTOR) if is_of_use else ""

    def _login(self, visit: Visit, session: Session) -> dict[str, Any]:
        began = datetime.fromtimestamp(session.auth_time, UTC)
        login = _id_of(session)
        return {
            "since": began.strftime("%Y-%m-%d %H:%M"),
            "address": session.address,
            "is_this": session.digest == visit.session.digest,
            "form": self.own.token_fields(visit, "end", login, login=login),
        }

    async def _end(self, visit: Visit) -> Response:
        own, registry = self.own, self.own.registry
        form = parse(form_body(visit.request))
        login, username = form.get("login") or "", visit.user.username
        if form.get("others") and own.is_ours(visit, form, "end others"):
            await self._record(visit, "user end-logins")
            await own.sessions.end_others(username, visit.session.digest)
            return own.done(visit, visit.browser, "others")
        if not own.is_ours(visit, form, "end", login):
            return own.expired(visit, paths.ACCOUNT_SETTINGS)
        now = int(own.sessions.clock.seconds())
        for session in await registry.sessions_of(username, now, MAX_SESSIONS):
            if _id_of(session) == login:
                await self._record(visit, "user end-login")
                await own.sessions.tell(session)
                await registry.end_session(session.digest)
        return own.done(visit, visit.browser, "ended")

    async def _record(self, visit: Visit, action: str) -> None:
        await self.own.account.record(visit.user, action, **visit.place)

    async def _password(self, visit: Visit) -> Response:
        if visit.request.method == b"POST":
            return await shield(self._change(visit))
        return self._password_page(visit)

    async def _change(self, visit: Visit) -> Response:
        own = self.own
        form = own.read_form(visit, "password")
        if form is None:
            return own.expired(visit, paths.ACCOUNT_PASSWORD)
        password = form.get("password") or ""
        if password != (form.get("repeated") or ""):
            return self._password_page(visit, _DIFFERENT, 400)
        message, status, retry_after = await own.prove(visit, form)
        if message:
            return self._password_page(visit, message, status, retry_after)
        assert own.proof is not None
        hashing = partial(own.proof.hash, username=visit.user.username)
        try:
            # Where the password is refused, no login ends.
            check_password(password, visit.user.username)
            await own.sessions.tell_others(visit.user.username, visit.session.digest)
            await own.account.set_password(
                visit.user, password, hashing, visit.session.digest, **visit.place
            )
        except NotAllEnded as error:
            return self._password_page(visit, error.message, 503)
        except RegistrationError as error:
            return self._password_page(visit, error.message, 400)
        response = own.done(visit, visit.browser, "password")
        # The proof of an earlier login in this browser was made with the old password's hash.
        return await own.devices.remember(response, visit.user.username)

    def _password_page(
        self, visit: Visit, message: Message | str = "", status: int = 200, retry_after: str = ""
    ) -> Response:
        context = {
            "form": self.own.token_fields(visit, "password"),
            "form_action": visit.address(paths.ACCOUNT_PASSWORD),
            "message": message,
        }
        return self.own.page(visit, "account_password.html", context, status, retry_after)


def _id_of(session: Session) -> str:
    """What names a login in a form. The digest itself is the store's key, and stays inside."""
    return hashlib.sha256(b"login" + session.digest).hexdigest()[:32]
