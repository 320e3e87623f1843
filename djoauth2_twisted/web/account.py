"""My applications: what a resource owner has let in, and the way to put it out again."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from attrs import frozen
from klein import Response

from ..conf import Settings
from ..errors import AccessDenied
from ..interfaces import IRegistry, ITokenStore
from ..messages import Message
from ..models import Grant, GrantFilter, Page, Scope
from ..parameters import Parameters, parse
from . import respond
from .pages import Pages, hidden_fields
from .request import IMount, address_with_query, form_body, read_query, require_method, require_tls
from .sessions import Browser, Sessions
from .shield import shield

ENDPOINT = "/account/"

#: So many applications are on a page.
MOST_SHOWN = 10

# So many grants are read at once.
_BATCH = 500

_NUMBER = re.compile(r"[0-9]{1,6}", re.ASCII)
# That one was removed, on its way to the page that says so.
_DONE = "removed"
_REMOVED = Message("The application was removed. Nothing that it was given works any more.")


@frozen
class Account:
    """``/account/``: the applications that whoever is logged in has let in."""

    settings: Settings
    registry: IRegistry
    tokens: ITokenStore
    sessions: Sessions
    pages: Pages

    async def __call__(self, request: Any) -> Response:
        """Show the applications, or remove one of them."""
        require_tls(request, self.settings)
        require_method(request, "GET", "POST")
        browser = await self.sessions.browser(request)
        if browser.owner is None:
            own_address = address_with_query(request, ENDPOINT)
            return respond.redirect(request, await self.sessions.login_address(request, own_address))
        if request.method == b"POST":
            form = parse(form_body(request))
            return await shield(self._remove(request, browser, browser.owner.username, form))
        return await self._show(request, browser, browser.owner.username)

    async def _remove(self, request: Any, browser: Browser, username: str, form: Parameters) -> Response:
        client_id = form.get("client_id") or ""
        token = form.get("csrf_token")
        if self.sessions.check_form_token(browser, token, "remove", client_id) is None:
            error = AccessDenied("this page was not made for your login")
            again = address_with_query(request, ENDPOINT)
            return self.pages.error(request, error, "expired.html", again=again)
        # What is gone already is as good as removed.
        await self.tokens.revoke_grants(username=username, client_id=client_id)
        gone = respond.redirect(request, address_with_query(request, ENDPOINT))
        return self.sessions.hand_on(gone, browser, _DONE, "yes")

    async def _show(self, request: Any, browser: Browser, username: str) -> Response:
        query = read_query(request)
        is_removed = bool(self.sessions.handed_on(request, browser, _DONE))
        asked = query.get("page") or ""
        number = int(asked) if _NUMBER.fullmatch(asked) else 0
        grants = await self._grants(username)
        first = number * MOST_SHOWN
        shown = list(grants.items())[first : first + MOST_SHOWN]
        names = dict.fromkeys(name for _, of_it in shown for grant in of_it for name in grant.scopes)
        known = await self.registry.find_scopes(tuple(names))
        address = IMount(request).path + ENDPOINT
        context = {
            "owner": browser.owner,
            "applications": [
                await self._application(browser, client_id, of_it, known) for client_id, of_it in shown
            ],
            "form_action": address,
            "message": _REMOVED if is_removed else "",
            "previous": f"{address}?page={number - 1}" if number else "",
            "next": f"{address}?page={number + 1}" if len(grants) > first + MOST_SHOWN else "",
        }
        page = self.pages.page(request, "account.html", context)
        return self.sessions.forget(page, _DONE) if is_removed else page

    async def _grants(self, username: str) -> dict[str, list[Grant]]:
        """All that somebody has granted, by client, oldest first.

        An application that is let in every day has many grants, and is one application still.
        """
        found: dict[str, list[Grant]] = {}
        page = Page(size=_BATCH)
        while True:
            grants = await self.tokens.grants(GrantFilter(username), page)
            for grant in grants:
                # A code that was never redeemed has let nobody in.
                if grant.code_used:
                    found.setdefault(grant.client_id, []).append(grant)
            if len(grants) < page.size:
                return found
            page = Page(page.offset + page.size, page.size)

    async def _application(
        self, browser: Browser, client_id: str, grants: list[Grant], known: Mapping[str, Scope]
    ) -> dict[str, object]:
        """What a page says of all that one client was granted."""
        client = await self.registry.find_client(client_id)
        names = dict.fromkeys(name for grant in grants for name in grant.scopes)
        token = self.sessions.form_token(browser, "remove", client_id)
        return {
            "name": client.name if client is not None else "",
            "scopes": [known.get(name, Scope(name, "")) for name in names],
            "first_use": _day(min(grant.created for grant in grants)),
            "last_use": _day(max(grant.last_used for grant in grants)),
            "form": hidden_fields(csrf_token=token, client_id=client_id),
        }


def _day(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")
