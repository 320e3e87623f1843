"""``djoauth2 database``: the schema's version, copies and backups."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ..errors import ConfigurationError
from ..protocol.precis import MAX_NAMESAKES, warning_of
from .group import Group
from .output import json_option, print_result
from .running import Store

if TYPE_CHECKING:
    from ..interfaces import IRegistry
    from ..stores.urls import Opened


@click.group(cls=Group)
def database() -> None:
    """Look at the schema and upgrade it; copy, back up and restore."""


@database.command()
@json_option
@click.pass_obj
def upgrade(store: Store, as_json: bool) -> None:
    """Bring the database to the schema that this release needs.

    Stop the servers first where the release notes say so. A new SQLite file needs no upgrade: the
    first program that opens it prepares it.
    """
    before, after = store.run_unopened(upgraded)
    if before == after:
        line = f"The database has schema {after or 'none'} already."
    elif before is None:
        line = f"The database is prepared: it has schema {after}."
    else:
        line = f"The database is upgraded from schema {before} to {after}."
    print_result(as_json, {"from": before, "version": after}, line)


@database.command()
@json_option
@click.pass_obj
def current(store: Store, as_json: bool) -> None:
    """Print the version of the database's schema, or none where there is none yet."""
    version = store.run_unopened(version_of)
    print_result(as_json, {"version": version}, version or "none")


@database.command()
@json_option
@click.pass_obj
def check(store: Store, as_json: bool) -> None:
    """Say by the exit status whether the database has the schema that this release needs.

    It also names users whose names differ only in case or Unicode form, as older releases added them.
    """
    version, namesakes = store.run_unopened(checked)
    found = {"version": version, "namesakes": namesakes}
    print_result(as_json, found, f"The database has schema {version}, as needed.")
    for names in [] if as_json else namesakes:
        click.echo(warning_of(names))


@database.command("copy")
@click.option("--to", "target", metavar="URL", required=True, help="The other database, which is empty.")
@json_option
@click.pass_obj
def copy_command(store: Store, target: str, as_json: bool) -> None:
    """Copy everything into another database, as from SQLite to PostgreSQL.

    Stop the servers first, so that nothing is issued or revoked meanwhile. Prepare the other database
    with `djoauth2 --database URL database upgrade`. Either everything is copied, or nothing.
    Tokens in a separate token store stay there.
    """
    from ..stores.urls import copy_database

    counts = copy_database(store.url, target)
    total = sum(counts.values())
    print_result(as_json, counts, f"{total} rows are copied.")


@database.command()
@click.argument("file", metavar="FILE")
@json_option
@click.pass_obj
def backup(store: Store, file: str, as_json: bool) -> None:
    """Copy a SQLite database into FILE, while servers may use it.

    FILE gets the owner and the mode of the database. It is replaced, as a whole, if it is there already.
    """
    from ..stores.urls import back_up_database

    place = back_up_database(store.url, file)
    hint = f" The grants and tokens are in {place}, and not in it." if place else ""
    print_result(as_json, {"file": file}, f"The database is copied to {file}.{hint}")


@database.command()
@click.argument("file", metavar="FILE")
@json_option
@click.pass_obj
def restore(store: Store, file: str, as_json: bool) -> None:
    """Put the backup FILE into a SQLite database, in one step, while servers may use it.

    The database keeps its owner and mode. What was revoked after the backup is valid again: look at
    `djoauth2 token list`.
    """
    from ..stores.urls import restore_database

    in_place = restore_database(store.url, file)
    hint = "" if in_place else " Start the server again."
    result = {"file": file, "restart": not in_place}
    print_result(as_json, result, f"The database is as it was in {file}.{hint}")


async def version_of(database: Opened, _: IRegistry) -> str | None:
    """The schema's version. The database is not changed, and need not exist."""
    return database.version()


async def upgraded(database: Opened, _: IRegistry) -> tuple[str | None, str | None]:
    """Upgrade a database. Returns its versions before and after."""
    before = database.version()
    database.open(prepare=True)
    await database.close()
    return before, database.version()


async def checked(database: Opened, registry: IRegistry) -> tuple[str, list[list[str]]]:
    """The schema's version, if this release can use it, and what `IUsers.namesakes` finds.

    :raises ConfigurationError: there is no schema, or it has another version.
    """
    version = database.version()
    if version is None:
        raise ConfigurationError("the database has no schema yet: run `djoauth2 database upgrade`")
    database.open(prepare=False)
    try:
        return version, await registry.namesakes(MAX_NAMESAKES)
    finally:
        await database.close()
