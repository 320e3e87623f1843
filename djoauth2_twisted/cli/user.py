"""``djoauth2 user``: the resource owners of the database, and the administrators among them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ..models import User
from ..paging import PAGE_SIZE, by_username, entries
from ..protocol.precis import MAX_PASSWORD_LENGTH
from ..protocol.registration import MIN_PASSWORD_LENGTH, check_password
from ..user_lookup import find_typed
from .asking import confirm, first_line, grants_in_words, on_terminal, yes_option
from .group import Group
from .output import json_option, print_json, print_result, print_table, state_of
from .running import Store

if TYPE_CHECKING:
    from ..administration import Administration
    from ..interfaces import IRegistry

_F = TypeVar("_F", bound=Callable[..., Any])

_OPTIONS = (
    click.option("--email", metavar="EMAIL", help="The user's email address."),
    click.option("--first-name", metavar="NAME", help="The user's first name."),
    click.option("--last-name", metavar="NAME", help="The user's last name."),
)

_password_option = click.option(
    "--password-stdin",
    is_flag=True,
    help=f"Read the password, of at least {MIN_PASSWORD_LENGTH} characters, from the first line of "
    "standard input.",
)


def _options(command: _F) -> _F:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.group(cls=Group)
def user() -> None:
    """Add, edit and delete users.

    A user decides what clients may do. An administrator is a user who may also use the admin pages.
    """


@user.command()
@click.argument("name")
@_password_option
@_options
@click.option("--admin", is_flag=True, help="The user may use the admin pages.")
@click.option("--email-verified", is_flag=True, help="The email address was shown to be the user's.")
@json_option
@click.pass_obj
def add(store: Store, /, name: str, password_stdin: bool, as_json: bool, **fields: Any) -> None:
    """Add the user NAME.

    On a terminal the command asks for the password.
    """
    password = new_password(password_stdin)
    given = _given(fields)
    kept = store.run(lambda administration: administration.add_user(name, password, **given))
    print_result(as_json, entry(kept), f"The user {kept.username} is added.")


@user.command("list")
@click.option(
    "--search",
    metavar="TEXT",
    default="",
    help="Only users with this text in a name or the email address.",
)
@json_option
@click.pass_obj
def list_users(store: Store, search: str, as_json: bool) -> None:
    """List the users, sorted by name."""
    found = store.run(lambda administration: find_users(administration.registry, search))
    if as_json:
        print_json([entry(kept) for kept in found])
    else:
        print_table(
            ("NAME", "FIRST NAME", "LAST NAME", "EMAIL", "STATE"),
            (
                (
                    kept.username,
                    kept.first_name,
                    kept.last_name,
                    kept.email,
                    state_of(admin=kept.admin, disabled=kept.disabled),
                )
                for kept in found
            ),
            flexible=("FIRST NAME", "LAST NAME", "EMAIL"),
        )


@user.command()
@click.argument("name")
@_password_option
@_options
@click.option("--admin/--no-admin", default=None, help="Whether the user may use the admin pages.")
@click.option(
    "--email-verified/--no-email-verified",
    default=None,
    help="Whether the email address was shown to be the user's. A new address is not verified.",
)
@click.option(
    "--disable/--enable",
    "disabled",
    default=None,
    help="Disabling ends the user's logins, codes and tokens at once.",
)
@json_option
@click.pass_obj
def edit(store: Store, /, name: str, password_stdin: bool, as_json: bool, **fields: Any) -> None:
    """Change the user NAME. Fields without an option stay as they are."""
    changes = _given(fields)
    if not changes and not password_stdin:
        raise click.UsageError("there is nothing to change")
    password = new_password(True) if password_stdin else None
    kept = store.run(lambda administration: edit_user(administration, name, changes, password))
    print_result(as_json, entry(kept), f"The user {kept.username} is changed.")


@user.command("set-password")
@click.argument("name")
@_password_option
@json_option
@click.pass_obj
def set_password(store: Store, name: str, password_stdin: bool, as_json: bool) -> None:
    """Give the user NAME a new password. The user's logins and refresh tokens end.

    On a terminal the command asks for the password.
    """
    password = new_password(password_stdin)
    kept = store.run(lambda administration: administration.set_password(name, password))
    name = kept.username
    print_result(as_json, _named(name), f"The user {name} has a new password.")


@user.command("reset-second-factor")
@click.argument("name")
@json_option
@click.pass_obj
def reset_second_factor(store: Store, name: str, as_json: bool) -> None:
    """Reset the second factor of the user NAME. The user's logins end.

    It is for users who have lost their authenticator application and their recovery codes.
    """
    kept = store.run(lambda administration: administration.reset_second_factor(name))
    name = kept.username
    print_result(as_json, _named(name), f"The user {name} has no second factor now.")


@user.command()
@click.argument("name")
@yes_option
@json_option
@click.pass_obj
def delete(store: Store, name: str, yes: bool, as_json: bool) -> None:
    """Delete the user NAME; the user's logins, codes and tokens end at once.

    On a terminal the command asks for confirmation.
    """
    ask = on_terminal() and not yes
    name = store.run(lambda administration: delete_user(administration, name, ask)).username
    print_result(as_json, _named(name), f"The user {name} is deleted.")


async def delete_user(administration: Administration, name: str, ask: bool) -> User:
    """Delete a user, and return the user.

    :param ask: whether to ask for confirmation before.
    """
    if ask and (user := await find_typed(administration.registry, name)) is not None:
        grants = await grants_in_words(administration, username=user.username)
        confirm(f"Delete the user {user.username!r}? This ends {grants}.")
    return await administration.delete_user(name)


async def find_users(registry: IRegistry, search: str) -> list[User]:
    """All users, or those with a text in their name or email address."""
    if not search:
        return [user async for user in entries(registry.users, by_username)]
    found: list[User] = []
    reached = ""
    while True:
        step = await registry.search_users(search, reached, PAGE_SIZE)
        found += step.users
        reached = step.reached
        if not reached:
            return found


async def edit_user(
    administration: Administration, name: str, changes: dict[str, Any], password: str | None
) -> User:
    """Change a user's fields, and the password if there is a new one."""
    if password is not None:
        check_password(password, name)
        administration.check_tokens()
    kept = await administration.edit_user(name, **changes)
    if password is not None:
        await administration.set_password(name, password)
    return kept


def new_password(from_stdin: bool) -> str:
    """A password, read from standard input or asked for twice on a terminal.

    :raises click.UsageError: there is no terminal to ask on.
    :raises click.ClickException: standard input cannot be read, or is not a password in UTF-8.
    """
    if from_stdin:
        return first_line("password", MAX_PASSWORD_LENGTH)
    if not on_terminal():
        raise click.UsageError("there is no terminal to ask for the password: use --password-stdin")
    answer: str = click.prompt(
        f"Password (at least {MIN_PASSWORD_LENGTH} characters)",
        hide_input=True,
        confirmation_prompt=True,
        err=True,
    )
    return answer


def _given(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _named(name: str) -> dict[str, Any]:
    return {"name": name, "username": name}


def entry(kept: User) -> dict[str, Any]:
    """A user as JSON, without the password's hash."""
    return {
        **_named(kept.username),
        "first_name": kept.first_name,
        "last_name": kept.last_name,
        "email": kept.email,
        "email_verified": kept.email_verified,
        "admin": kept.admin,
        "disabled": kept.disabled,
        "subject": kept.subject,
    }
