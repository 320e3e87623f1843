"""Scopes: their list, and what can be done with one."""

from __future__ import annotations

from contextlib import suppress

from klein import Response

from ...errors import NotFound
from ...models import Page, Scope
from .visit import VERSION, Visit, grants_end, versioned

FIELDS = ("name", "description", VERSION)


async def show_list(visit: Visit) -> Response:
    """Scopes in the order of their names."""

    async def part(page: Page) -> list[Scope]:
        scopes: list[Scope] = await visit.administration.registry.scopes()
        return scopes[page.offset : page.offset + page.size]

    scopes, pager = await visit.part(part)
    return visit.show("scopes.html", scopes=scopes, pager=pager)


async def show_add(visit: Visit) -> Response:
    """The form for a new scope."""
    values = visit.values(FIELDS, {})
    return visit.show("scope_add.html", values=values, form=visit.hidden())


async def add(visit: Visit) -> Response:
    """Add a scope."""
    administration = visit.allowed()
    await administration.add_scope(visit.text("name"), visit.text("description"))
    return visit.go("scopes")


async def show(visit: Visit) -> Response:
    """A scope's words, as a form."""
    scope = await visit.administration.scope(visit.id)
    values = visit.values(FIELDS[1:], _kept(scope))
    return visit.show("scope.html", scope=scope, values=values, form=visit.hidden())


async def edit(visit: Visit) -> Response:
    """Change a scope's words."""
    administration = visit.allowed()
    visit.refuse_outdated(_kept(await administration.scope(visit.id)))
    await administration.edit_scope(visit.id, visit.text("description"))
    return visit.go("scopes")


def _kept(scope: Scope) -> dict[str, str]:
    """A scope as the fields of its form."""
    return versioned({"description": scope.description})


async def show_delete(visit: Visit) -> Response:
    """What goes with a scope, before it goes."""
    scope = await visit.administration.scope(visit.id)
    grants = await visit.administration.tokens.count_grants(scope=scope.name)
    return visit.show("scope_delete.html", scope=scope, form=visit.hidden(), ends=grants_end(grants))


async def delete(visit: Visit) -> Response:
    """Forget a scope; one that is gone already is as good as deleted."""
    administration = visit.allowed()
    with suppress(NotFound):
        await administration.delete_scope(visit.id)
    return visit.go("scopes")
