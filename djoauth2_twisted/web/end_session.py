"""``/end_session/``: a client asks to end a login (OpenID Connect RP-Initiated Logout 1.0)."""

from __future__ import annotations

from attrs import frozen
from twisted.web.iweb import IRequest

from ..conf import Settings
from ..errors import NothingHere
from ..interfaces import IRegistry
from ..messages import Message
from ..models import Client
from ..parameters import parse
from ..protocol import logout, paths
from ..protocol.logout import Hint, LogoutRequest
from . import respond
from .authentication import ReadHint
from .consent import without
from .mounting import IMount
from .pages import Pages, hidden_fields
from .reading import form_body, query_of, require_method, require_tls, short_enough, with_query
from .respond import Response
from .sessions import Browser, Sessions
from .shield import shield
from .translation import prefer

# The field of the server's form, which counts only in the body.
_TOKEN = "csrf_token"

_EXPIRED = Message("This page has expired. Please try again.")


@frozen
class EndSession:
    """Ends a login, and sends the browser back to the client that asked for it.

    The user is asked first, unless the client's ID token names this very login.

    :param host_logout: the host application's page to log out at, where it handles logins.
    """

    settings: Settings
    registry: IRegistry
    sessions: Sessions
    pages: Pages
    read_hint: ReadHint
    host_logout: str | None = None

    async def __call__(self, request: IRequest) -> Response:
        """Answer a request to end a login (section 2).

        :raises InvalidRequest: the hint, the client and the address to return to do not fit together.
        """
        require_tls(request, self.settings)
        require_method(request, "GET", "POST")
        body = form_body(request) if request.method == b"POST" else b""
        token = parse(body).get(_TOKEN)
        asked = logout.read(parse(query_of(request), without({_TOKEN}, body)))
        prefer(request, asked.ui_locales)
        hint = None if asked.id_token_hint is None else await self.read_hint(asked.id_token_hint)
        returning_to = logout.destination(asked, await self._client(asked, hint))
        if self.sessions.who is not None:
            return self._at_host(request)
        browser = await self.sessions.browser(request)
        if request.method == b"POST" and browser.is_new:
            # A browser sends no cookie with a form of another site (SameSite=Lax). It does with a GET.
            return respond.redirect(request, self._own_address(request, body))
        if browser.owner is None:
            return self._go_on(request, browser, returning_to)
        is_named = hint is not None and logout.is_of_login(hint, browser.owner.subject, browser.sid)
        is_confirmed = self.sessions.check_form_token(browser, token, *_bound(asked)) is not None
        if is_named or is_confirmed:
            return self._go_on(request, await shield(self.sessions.log_out(browser)), returning_to)
        return self._ask(request, browser, asked, body, returning_to, is_late=token is not None)

    async def _client(self, asked: LogoutRequest, hint: Hint | None) -> Client | None:
        client_id = logout.client_id_of(asked, hint)
        return None if client_id is None else await self.registry.find_client(client_id)

    def _at_host(self, request: IRequest) -> Response:
        """The host application ends its own logins, and returns to no client."""
        if self.host_logout is None:
            raise NothingHere("there is nothing at this address")
        return respond.redirect(request, self.host_logout)

    def _go_on(self, request: IRequest, browser: Browser, returning_to: str | None) -> Response:
        to = returning_to or f"{IMount(request).path}{paths.LOGOUT}?done=yes"
        return self.sessions.remember(respond.redirect(request, to), browser)

    def _ask(
        self,
        request: IRequest,
        browser: Browser,
        asked: LogoutRequest,
        body: bytes,
        returning_to: str | None,
        is_late: bool,
    ) -> Response:
        """The page that asks the user, with a form that is bound to the request."""
        token = self.sessions.form_token(browser, *_bound(asked))
        context = {
            "form": hidden_fields(csrf_token=token),
            "form_action": self._own_address(request, body),
            "done": False,
            "owner": browser.owner,
            "message": _EXPIRED if is_late else "",
        }
        leads_away = returning_to is not None
        status = 403 if is_late else 200
        page = self.pages.page(request, "logout.html", context, status, leads_away=leads_away)
        return self.sessions.remember(page, browser)

    def _own_address(self, request: IRequest, body: bytes) -> str:
        # In a query, Twisted counts what is between semicolons as arguments.
        sent = without({_TOKEN}, body).replace(b";", b"%3B")
        path = IMount(request).path + paths.END_SESSION
        return short_enough(with_query(path, query_of(request), sent))


def _bound(asked: LogoutRequest) -> tuple[object, ...]:
    """The values that the form is bound to."""
    return ("end session", asked.client_id, asked.id_token_hint, asked.redirect_uri, asked.state)
