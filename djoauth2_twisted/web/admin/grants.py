"""The pages for grants, which list, search and revoke them. They show no code or token."""

from __future__ import annotations

from contextlib import suppress
from functools import partial

from attrs import frozen
from markupsafe import Markup

from ...errors import NotFound, RegistrationError
from ...interfaces import MAX_COUNTED
from ...messages import Message
from ...models import Grant, GrantFilter
from ...paging import by_age
from ..respond import Response
from .admin_request import AdminRequest, moment, of_grants, shown

# The value that the form of single grants is bound to. No filter is equal to it.
_ONE = "one"


async def show_list(admin_request: AdminRequest) -> Response:
    """Show the grants of a user or client, or all of them, oldest first."""
    wanted, said = await _wanted(admin_request)
    tokens = admin_request.administration.tokens
    read = partial(tokens.grants, wanted)
    grants, pager = await admin_request.page_of(read, by_age, (int, str), **said)
    names = await _names(admin_request, grants)
    count = await tokens.count_grants(username=wanted.username, client_id=wanted.client_id)
    return admin_request.show(
        "grants.html",
        grants=[_row(admin_request, grant, names[grant.client_id]) for grant in grants],
        pager=pager,
        user=shown(wanted.username),
        client=shown(wanted.client_id),
        count=of_grants(count),
        revoke_all=_revoke_all(count) if count else "",
        search_action=admin_request.link("grants"),
        form_action=admin_request.link("grants", **said),
        form=admin_request.hidden(*said.items(), all="yes") if said else "",
        rows_form=admin_request.hidden(_ONE),
    )


def _revoke_all(count: int) -> Message:
    if count > MAX_COUNTED:
        return Message("Revoke all of these grants")
    return Message("Revoke this grant", "Revoke all %(num)s grants", count)


async def _wanted(admin_request: AdminRequest) -> tuple[GrantFilter, dict[str, str]]:
    """The filter for grants in the request, and the parameters of a query for it."""
    said = _said(admin_request)
    user = said.get("user")
    if user is not None:
        user = await admin_request.administration.name_of_user(user)
    return GrantFilter(user, said.get("client")), said


def _said(admin_request: AdminRequest) -> dict[str, str]:
    said = {name: admin_request.query.get(name) or "" for name in ("user", "client")}
    return {name: value for name, value in said.items() if value}


async def _names(admin_request: AdminRequest, grants: list[Grant]) -> dict[str, str]:
    names = {}
    for client_id in {grant.client_id for grant in grants}:
        client = await admin_request.administration.registry.find_client(client_id)
        names[client_id] = client.name if client is not None else client_id
    return names


@frozen
class _Row:
    """A grant in the list."""

    _admin_request: AdminRequest
    id: str
    username: str
    client_id: str
    client_name: str
    scopes: str
    created: str
    last_used: str

    @property
    def form(self) -> Markup:
        """The hidden fields of a form for this grant alone, as a template of an operator may have it."""
        return self._admin_request.hidden(_ONE, grant=self.id)


def _row(admin_request: AdminRequest, grant: Grant, client_name: str) -> _Row:
    return _Row(
        admin_request,
        id=grant.id,
        username=grant.owner.username,
        client_id=grant.client_id,
        client_name=client_name,
        scopes=" ".join(grant.scopes),
        created=moment(grant.created),
        last_used="" if grant.last_issued is None else moment(grant.last_issued),
    )


async def revoke(admin_request: AdminRequest) -> Response:
    """Revoke one grant, or all that match the filter."""
    wanted, said = await _wanted(admin_request)
    grant_id = admin_request.form.get("grant")
    if grant_id is not None:
        administration = admin_request.allowed(_ONE, about=grant_id)
        # A grant that is revoked already is not an error.
        with suppress(NotFound):
            await administration.revoke_grant(grant_id)
    elif admin_request.ticked("all"):
        administration = admin_request.allowed(*said.items())
        await administration.revoke_grants(wanted.username, wanted.client_id)
    else:
        raise RegistrationError(Message("choose the grant that is to end"))
    return go_to_list(admin_request)


def go_to_list(admin_request: AdminRequest) -> Response:
    """Redirect to the list of the same grants."""
    return admin_request.go("grants", **_said(admin_request))
