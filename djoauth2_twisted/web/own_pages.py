"""What the pages of "Your account" share: they are for users of the database who are logged in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from attrs import frozen
from twisted.web.iweb import IRequest

from ..conf import Settings
from ..errors import AccessDenied, NothingHere, RegistrationError, TooManyRequests
from ..interfaces import IRegistry
from ..messages import Message
from ..models import Session, User
from ..own_account import OwnAccount
from ..parameters import Parameters, parse
from ..protocol import paths
from . import respond
from .devices import Devices
from .mounting import IMount, address_with_query
from .pages import Pages, hidden_fields
from .password_proof import PasswordProof
from .reading import address_of, form_body, request_id_of, require_method, require_tls
from .reporting import refusal
from .respond import Response
from .sessions import Browser, Sessions
from .throttle import too_many

#: The name of the flash message that a change was made.
DONE = "account"


@frozen
class AccountRequest:
    """One request of a user who is logged in.

    :param session: the login of the browser.
    """

    request: IRequest
    browser: Browser
    user: User
    session: Session

    @property
    def origin(self) -> dict[str, str]:
        """Where the request comes from, and its identifier, for the log."""
        return {"address": address_of(self.request), "request_id": request_id_of(self.request)}

    def address(self, path: str) -> str:
        """The path of an address of our tree."""
        return f"{IMount(self.request).path}{path}"


@frozen
class OwnPages:
    """What the pages of "Your account" share.

    :param proof: asks for the password again; None where users and logins are kept elsewhere.
    :param devices: the browsers that users have logged in with.
    """

    settings: Settings
    registry: IRegistry
    sessions: Sessions
    pages: Pages
    account: OwnAccount
    proof: PasswordProof | None
    devices: Devices

    async def answer(
        self, request: IRequest, path: str, answer: Callable[[AccountRequest], Awaitable[Response]]
    ) -> Response:
        """Answer a request of a user of the database, or redirect it to the login page.

        :raises NothingHere: users and logins are kept elsewhere.
        """
        require_tls(request, self.settings)
        require_method(request, "GET", "POST")
        if self.proof is None:
            raise NothingHere("there is nothing at this address")
        browser = await self.sessions.browser(request)
        if browser.session is None:
            own_address = address_with_query(request, path)
            return respond.redirect(request, await self.sessions.login_address(request, own_address))
        owner = browser.session.owner
        user = await self.registry.find_user(owner.username)
        if user is None or user.subject != owner.subject:
            # A deleted user's login ends in the same step, so this is a matter of moments.
            raise NothingHere("there is nothing at this address")
        return await answer(AccountRequest(request, browser, user, browser.session))

    def read_form(self, account_request: AccountRequest, *bound: object) -> Parameters | None:
        """The form that was sent; None where it was not made for this login, or too long ago."""
        form = parse(form_body(account_request.request))
        form.refuse_repeated()
        return form if self.is_ours(account_request, form, *bound) else None

    def is_ours(self, account_request: AccountRequest, form: Parameters, *bound: object) -> bool:
        """Whether a form was made for this login, a short time ago."""
        token = form.get("csrf_token")
        return self.sessions.check_form_token(account_request.browser, token, *bound) is not None

    def expired(self, account_request: AccountRequest, path: str) -> Response:
        """The page for a form that was not made for this login, or too long ago."""
        error = AccessDenied("this page was not made for your login")
        again = address_with_query(account_request.request, path)
        return self.pages.error(account_request.request, error, "expired.html", again=again)

    def done(self, account_request: AccountRequest, browser: Browser, name: str) -> Response:
        """Redirect to "Your account", which says what was done."""
        response = respond.redirect(
            account_request.request, address_with_query(account_request.request, paths.ACCOUNT_SETTINGS)
        )
        return self.sessions.flash(response, browser, DONE, name)

    async def prove(
        self, account_request: AccountRequest, form: Parameters
    ) -> tuple[Message | str, int, str]:
        """Check the password of a form: a message for the user, the status and when to try again.

        The message is empty where the password is right.
        """
        assert self.proof is not None
        try:
            await self.proof.check(
                account_request.request, account_request.user, form.get("old_password") or ""
            )
        except TooManyRequests as error:
            self.account.events.publish(refusal("account", account_request.request, error))
            return too_many(error.retry_after), 429, str(error.retry_after)
        except RegistrationError as error:
            return error.message, 403, ""
        return "", 200, ""

    def page(
        self,
        account_request: AccountRequest,
        template: str,
        context: dict[str, Any],
        status: int = 200,
        retry_after: str = "",
    ) -> Response:
        """A page with what all of these pages have."""
        everything = {
            "owner": account_request.session.owner,
            "back": account_request.address(paths.ACCOUNT_SETTINGS),
            "form": "",
            **context,
        }
        page = self.pages.page(account_request.request, template, everything, status)
        return respond.with_header(page, "Retry-After", retry_after) if retry_after else page

    def token_fields(self, account_request: AccountRequest, *bound: object, **values: str) -> Any:
        """The hidden fields of a form."""
        token = self.sessions.form_token(account_request.browser, *bound)
        return hidden_fields(csrf_token=token, **values)
