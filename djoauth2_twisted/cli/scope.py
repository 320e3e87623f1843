"""``djoauth2 scope``: the permissions that clients ask for."""

from __future__ import annotations

import click

from ..models import Scope
from .output import json_option, print_json, print_result, print_table
from .running import Store


@click.group(no_args_is_help=False)
def scope() -> None:
    """Add, change and remove scopes.

    A scope is a permission that clients ask users for.
    """


@scope.command()
@click.argument("name")
@click.argument("description")
@json_option
@click.pass_obj
def add(store: Store, name: str, description: str, as_json: bool) -> None:
    """Add the scope NAME, with the DESCRIPTION that resource owners read when they are asked."""
    kept = store.run(lambda administration: administration.add_scope(name, description))
    print_result(as_json, entry(kept), f"The scope {name} is added.")


@scope.command("list")
@json_option
@click.pass_obj
def list_scopes(store: Store, as_json: bool) -> None:
    """List all scopes in the order of their names."""
    found = store.run(lambda administration: administration.registry.scopes())
    if as_json:
        print_json([entry(kept) for kept in found])
    else:
        print_table(("NAME", "DESCRIPTION"), ((kept.name, kept.description) for kept in found))


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
@json_option
@click.pass_obj
def delete(store: Store, name: str, as_json: bool) -> None:
    """Delete the scope NAME; codes and tokens that cover it end at once."""
    store.run(lambda administration: administration.delete_scope(name))
    print_result(as_json, {"name": name}, f"The scope {name} is deleted.")


def entry(kept: Scope) -> dict[str, str]:
    """A scope as JSON."""
    return {"name": kept.name, "description": kept.description}
