"""The pages for scopes: their list, and the forms that change one."""

from __future__ import annotations

from contextlib import suppress

from ...errors import NotFound
from ...models import Page, Scope
from ..respond import Response
from .admin_request import VERSION, AdminRequest, grants_end, versioned

FIELDS = ("name", "description", VERSION)


async def show_list(admin_request: AdminRequest) -> Response:
    """Show all scopes in the order of their names."""
    known: list[Scope] = await admin_request.administration.registry.scopes()

    async def read(page: Page) -> list[Scope]:
        return [scope for scope in known if (scope.name,) > page.after][: page.size]

    scopes, pager = await admin_request.page_of(read, lambda scope: (scope.name,), (str,))
    return admin_request.show("scopes.html", scopes=scopes, total=str(len(known)), pager=pager)


async def show_add(admin_request: AdminRequest) -> Response:
    """The form for a new scope."""
    values = admin_request.values(FIELDS, {})
    return admin_request.show("scope_add.html", values=values, form=admin_request.hidden())


async def add(admin_request: AdminRequest) -> Response:
    """Add a scope."""
    administration = admin_request.allowed()
    await administration.add_scope(admin_request.text("name"), admin_request.text("description"))
    return go_to_list(admin_request)


def go_to_list(admin_request: AdminRequest) -> Response:
    """Redirect to the list of scopes."""
    return admin_request.go("scopes")


async def show(admin_request: AdminRequest) -> Response:
    """Show a scope's description, as a form."""
    scope = await admin_request.administration.scope(admin_request.id)
    values = admin_request.values(FIELDS[1:], _kept(scope))
    return admin_request.show("scope.html", scope=scope, values=values, form=admin_request.hidden())


async def edit(admin_request: AdminRequest) -> Response:
    """Change a scope's description."""
    administration = admin_request.allowed()
    admin_request.refuse_outdated(_kept(await administration.scope(admin_request.id)))
    await administration.edit_scope(admin_request.id, admin_request.text("description"))
    return go_to_list(admin_request)


def _kept(scope: Scope) -> dict[str, str]:
    """A scope as the fields of its form."""
    return versioned({"description": scope.description})


async def show_delete(admin_request: AdminRequest) -> Response:
    """Ask whether to delete a scope, and show what ends with it."""
    scope = await admin_request.administration.scope(admin_request.id)
    grants = await admin_request.administration.tokens.count_grants(scope=scope.name)
    return admin_request.show(
        "scope_delete.html", scope=scope, form=admin_request.hidden(), ends=grants_end(grants)
    )


async def delete(admin_request: AdminRequest) -> Response:
    """Delete a scope. A scope that is deleted already is not an error."""
    administration = admin_request.allowed()
    with suppress(NotFound):
        await administration.delete_scope(admin_request.id)
    return go_to_list(admin_request)
