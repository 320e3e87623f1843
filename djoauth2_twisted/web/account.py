"""The page of a resource owner's applications: it shows the clients with grants, and removes them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from urllib.parse import quote

from attrs import frozen
from twisted.web.iweb import IRequest

from ..conf import Settings
from ..errors import AccessDenied
from ..events import ApplicationRemoved, Events
from ..interfaces import IRegistry, ITokenStore
from ..messages import Message
from ..models import Grant, GrantFilter, Scope
from ..paging import by_age, entries
from ..parameters import Parameters, parse
from ..protocol import paths
from ..protocol.openid_scopes import words_of
from ..protocol.redirection import host_of
from ..scope_lookup import find_scopes
from . import respond
from .image import image_address
from .mounting import IMount, address_with_query
from .pages import DescribedScope, Pages, hidden_fields
from .reading import address_of, form_body, read_query, request_id_of, require_method, require_tls
from .respond import Response
from .sessions import Browser, Sessions
from .shield import shield

#: The largest number of applications on a page.
MAX_SHOWN = 10

# The name of the flash message that an application was removed.
_DONE = "removed"
_REMOVED = Message("The application was removed. It can no longer use your account.")


@frozen
class Account:
    """``/account/``: the applications that the logged-in user has granted access to.

    :param has_own_users: whether the users are those of the database, who have "Your account" too.
    """

    settings: Settings
    registry: IRegistry
    tokens: ITokenStore
    sessions: Sessions
    pages: Pages
    events: Events
    has_own_users: bool

    async def __call__(self, request: IRequest) -> Response:
        """Show the applications, or remove one of them."""
        require_tls(request, self.settings)
        require_method(request, "GET", "POST")
        browser = await self.sessions.browser(request)
        if browser.owner is None:
            own_address = address_with_query(request, paths.ACCOUNT)
            return respond.redirect(request, await self.sessions.login_address(request, own_address))
        if request.method == b"POST":
            form = parse(form_body(request))
            return await self._change(request, browser, browser.owner.username, form)
        return await self._show(request, browser, browser.owner.username)

    async def _change(
        self, request: IRequest, browser: Browser, username: str, form: Parameters
    ) -> Response:
        client_id = form.get("client_id") or ""
        token = form.get("csrf_token")
        if self.sessions.check_form_token(browser, token, "remove", client_id) is None:
            error = AccessDenied("this page was not made for your login")
            again = address_with_query(request, paths.ACCOUNT)
            return self.pages.error(request, error, "expired.html", again=again)
        return await shield(self._remove(request, browser, username, client_id))

    async def _remove(
        self, request: IRequest, browser: Browser, username: str, client_id: str
    ) -> Response:
        # An application that is removed already is not an error.
        count = await self.tokens.revoke_grants(username=username, client_id=client_id)
        if count:
            self.events.publish(
                ApplicationRemoved(
                    username=username,
                    client_id=client_id,
                    count=count,
                    address=address_of(request),
                    request_id=request_id_of(request),
                )
            )
        response = respond.redirect(request, address_with_query(request, paths.ACCOUNT))
        return self.sessions.flash(response, browser, _DONE, "yes")

    async def _show(self, request: IRequest, browser: Browser, username: str) -> Response:
        is_removed = bool(self.sessions.flashed(request, browser, _DONE))
        after = read_query(request).get("after") or ""
        shown, reached = await self._page(username, after)
        names = dict.fromkeys(
            name for grants in shown.values() for grant in grants for name in grant.scopes
        )
        known = await find_scopes(self.registry, tuple(names), self.settings.openid)
        address = IMount(request).path + paths.ACCOUNT
        context = {
            "owner": browser.owner,
            "applications": [
                await self._application(request, browser, client_id, grants, known)
                for client_id, grants in shown.items()
            ],
            "form_action": address,
            "settings": IMount(request).path + paths.ACCOUNT_SETTINGS if self.has_own_users else "",
            "message": _REMOVED if is_removed else "",
            "previous": address if after else "",
            "next": f"{address}?after={quote(reached, safe='')}" if reached else "",
        }
        # The host application may ask for a login at another origin.
        leads_away = self.sessions.who is not None
        page = self.pages.page(request, "account.html", context, leads_away=leads_away)
        return self.sessions.forget(page, _DONE) if is_removed else page

    async def _page(self, username: str, after: str) -> tuple[dict[str, list[Grant]], str]:
        """The applications after a client's id with their grants, and the last id before the next page.

        The cost does not depend on how many applications the user has.
        """
        ids = await self.tokens.clients_of(username, after, MAX_SHOWN + 1)
        found = {client_id: await self._grants(username, client_id) for client_id in ids[:MAX_SHOWN]}
        used = {client_id: grants for client_id, grants in found.items() if grants}
        return used, ids[MAX_SHOWN - 1] if len(ids) > MAX_SHOWN else ""

    async def _grants(self, username: str, client_id: str) -> list[Grant]:
        """The grants of a user to a client, oldest first."""
        now = int(self.sessions.clock.seconds())
        read = partial(self.tokens.grants, GrantFilter(username, client_id))
        # The store keeps no more for a client; a database from before this limit may hold more.
        grants = entries(read, by_age, most=self.settings.max_grants_per_client)
        # What has expired gives no access, and is deleted soon.
        return [grant async for grant in grants if now < grant.expires]

    async def _application(
        self,
        request: IRequest,
        browser: Browser,
        client_id: str,
        grants: list[Grant],
        known: Mapping[str, Scope],
    ) -> dict[str, object]:
        """What the pages show of one client and its grants."""
        client = await self.registry.find_client(client_id)
        names = dict.fromkeys(name for grant in grants for name in grant.scopes)
        uses = [grant.last_issued for grant in grants if grant.last_issued is not None]
        token = self.sessions.form_token(browser, "remove", client_id)
        return {
            "name": client.name if client is not None else "",
            "image": image_address(request, client) if client is not None else "",
            "host": host_of(grants[-1].redirect_uri or "") if client is not None else "",
            "scopes": [
                DescribedScope(name, words_of(known.get(name, Scope(name, "")))) for name in names
            ],
            "first_use": _day(min(grant.created for grant in grants)),
            "last_use": _day(max(uses)) if uses else "",
            "form": hidden_fields(csrf_token=token, client_id=client_id),
        }


def _day(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")
