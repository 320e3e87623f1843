"""My applications: what a resource owner has let in, and the way to put it out again."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from attrs import frozen
from klein import Response

from ..conf import Settings
from ..errors import AccessDenied
from ..interfaces import IRegistry, ITokenStore
from ..models import Client, Grant, GrantFilter, Page
from ..parameters import Parameters, parse
from . import respond
from .login import login_address
from .pages import Pages, hidden_fields
from .request import IMount, address_with_query, form_body, require_method, require_tls
from .sessions import Browser, Sessions

ENDPOINT = "/account/"

#: More applications than anyone keeps; those let in last would be on a further page.
MOST_SHOWN = 200


@frozen
class Account:
    """``/account/``: the grants of whoever is logged in."""

    settings: Settings
    registry: IRegistry
    tokens: ITokenStore
    sessions: Sessions
    pages: Pages

    async def __call__(self, request: Any) -> Response:
        """Show the grants, or end one of them."""
        require_tls(request, self.settings)
        require_method(request, "GET", "POST")
        browser = await self.sessions.browser(request)
        if browser.owner is None:
            return respond.redirect(
                request, login_address(request, address_with_query(request, ENDPOINT))
            )
        grants = await self.tokens.grants(GrantFilter(browser.owner.username), Page(0, MOST_SHOWN))
        if request.method == b"POST":
            return await self._remove(request, browser, grants, parse(form_body(request)))
        return await self._show(request, browser, grants)

    async def _remove(
        self, request: Any, browser: Browser, grants: list[Grant], form: Parameters
    ) -> Response:
        grant_id = form.get("grant") or ""
        if self.sessions.check_form_token(browser, form.get("csrf_token"), "remove", grant_id) is None:
            return self.pages.error(request, AccessDenied("this page was not made for your login"))
        # Only what is the resource owner's own; what is gone already is as good as removed.
        if any(grant.id == grant_id for grant in grants):
            await self.tokens.revoke_grant(grant_id)
        return respond.redirect(request, address_with_query(request, ENDPOINT))

    async def _show(self, request: Any, browser: Browser, grants: list[Grant]) -> Response:
        applications = []
        # A code that was never redeemed has let nobody in.
        for grant in (each for each in grants if each.code_used):
            token = self.sessions.form_token(browser, "remove", grant.id)
            applications.append(
                {
                    "name": _name(await self.registry.find_client(grant.client_id)),
                    "scopes": list((await self.registry.find_scopes(grant.scopes)).values()),
                    "first_use": _day(grant.created),
                    "last_use": _day(grant.last_used),
                    "form": hidden_fields(csrf_token=token, grant=grant.id),
                }
            )
        context = {
            "owner": browser.owner,
            "applications": applications,
            "form_action": f"{IMount(request).path}{ENDPOINT}",
        }
        return self.pages.page(request, "account.html", context)


def _name(client: Client | None) -> str:
    return client.name if client is not None else "An application that is gone"


def _day(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")
