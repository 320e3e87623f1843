"""``djoauth2 scope``: the permissions that clients ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ..models import Scope
from .asking import confirm, grants_in_words, on_terminal, yes_option
from .group import Group
from .output import json_option, print_json, print_result, print_table
from .running import Store

if TYPE_CHECKING:
    from ..administration import Administration


@click.group(cls=Group)
def scope() -> None:
    """Add, edit and delete scopes.

    A scope is a permission that a client asks a user for.
    """


@scope.command()
@click.argument("name")
@click.argument("description")
@json_option
@click.pass_obj
def add(store: Store, name: str, description: str, as_json: bool) -> None:
    """Add the scope NAME. Users read its DESCRIPTION on the consent page."""
    kept = store.run(lambda administration: administration.add_scope(name, description))
    print_result(as_json, entry(kept), f"The scope {name} is added.")


@scope.command("list")
@click.option(
    "--search", metavar="TEXT", default="", help="Only scopes with this text in the name or description."
)
@json_option
@click.pass_obj
def list_scopes(store: Store, search: str, as_json: bool) -> None:
    """List the scopes, sorted by name."""
    found = store.run(lambda administration: administration.registry.scopes())
    found = [kept for kept in found if _matches(kept, search)]
    if as_json:
        print_json([entry(kept) for kept in found])
    else:
        print_table(
            ("NAME", "DESCRIPTION"),
            ((kept.name, kept.description) for kept in found),
            flexible=("DESCRIPTION",),
        )


def _matches(kept: Scope, search: str) -> bool:
    return any(search.casefold() in text.casefold() for text in (kept.name, kept.description))


@scope.command()
@click.argument("name")
@click.argument("description")
@json_option
@click.pass_obj
def edit(store: Store, name: str, description: str, as_json: bool) -> None:
    """Give the scope NAME another DESCRIPTION."""
    kept = store.run(lambda administration: administration.edit_scope(name, description))
    print_result(as_json, entry(kept), f"The scope {name} is changed.")


@scope.command()
@click.argument("name")
@yes_option
@json_option
@click.pass_obj
def delete(store: Store, name: str, yes: bool, as_json: bool) -> None:
    """Delete the scope NAME; all grants that include it end at once.

    On a terminal the command asks for confirmation.
    """
    ask = on_terminal() and not yes
    store.run(lambda administration: delete_scope(administration, name, ask))
    print_result(as_json, {"name": name}, f"The scope {name} is deleted.")


async def delete_scope(administration: Administration, name: str, ask: bool) -> None:
    """Delete a scope.

    :param ask: whether to ask for confirmation before.
    """
    if ask and await administration.registry.find_scopes((name,)):
        grants = await grants_in_words(administration, scope=name)
        confirm(f"Delete the scope {name!r}? This ends {grants}.")
    await administration.delete_scope(name)


def entry(kept: Scope) -> dict[str, str]:
    """A scope as JSON."""
    return {"name": kept.name, "description": kept.description}
