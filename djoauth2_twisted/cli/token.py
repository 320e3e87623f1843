"""``djoauth2 token``: what users allow clients to do. Codes and tokens are never shown."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from ..models import GrantFilter, Page
from ..paging import by_age
from .asking import confirm, grants_in_words, on_terminal, yes_option
from .group import Group
from .output import counted, json_option, moment, print_json, print_result, print_table
from .running import Store, every

if TYPE_CHECKING:
    from ..administration import Administration
    from ..models import Grant


@click.group(cls=Group)
def token() -> None:
    """List and revoke grants.

    A grant is what one user allows one client to do. All tokens that were issued for it belong to it.
    """


@token.command("list")
@click.option("--user", "username", metavar="NAME", help="Only grants of this user.")
@click.option("--client", "client_id", metavar="ID", help="Only grants to this client.")
@click.option(
    "--search",
    metavar="TEXT",
    default="",
    help="Only grants with this text in the user's name, or in the client's name or ID.",
)
@json_option
@click.pass_obj
def list_grants(
    store: Store, username: str | None, client_id: str | None, search: str, as_json: bool
) -> None:
    """List the valid grants, oldest first. No code, token or digest is shown."""
    now = int(time.time())
    found = store.run(lambda administration: valid_grants(administration, username, client_id, now))
    found = [grant for grant in found if _matches(grant, search)]
    if as_json:
        print_json(found)
        return
    print_table(
        ("GRANT", "USER", "CLIENT ID", "CLIENT", "SCOPES", "CREATED", "LAST USED"),
        (
            (
                grant["grant"],
                grant["username"],
                grant["client_id"],
                grant["client_name"] or "",
                " ".join(grant["scopes"]),
                moment(grant["created"]),
                moment(grant["last_used"]) if grant["last_used"] is not None else "not used yet",
            )
            for grant in found
        ),
        flexible=("CLIENT", "SCOPES"),
    )


def _matches(grant: dict[str, Any], search: str) -> bool:
    fields = (grant["username"], grant["client_id"], grant["client_name"] or "")
    return any(search.casefold() in field.casefold() for field in fields)


@token.command()
@click.argument("grant", required=False)
@click.option("--user", "username", metavar="NAME", help="Revoke all grants of this user.")
@click.option("--client", "client_id", metavar="ID", help="Revoke all grants to this client.")
@click.option("--all", "everything", is_flag=True, help="Revoke all grants.")
@yes_option
@json_option
@click.pass_obj
def revoke(
    store: Store,
    grant: str | None,
    username: str | None,
    client_id: str | None,
    everything: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Revoke a grant, or many; the codes and tokens end at once.

    --user and --client together revoke what this user has allowed this client.
    """
    many = username is not None or client_id is not None
    if [grant is not None, many, everything].count(True) != 1:
        raise click.UsageError("name one grant, or give --user, --client or --all")
    if grant is not None:
        store.run(lambda administration: administration.revoke_grant(grant))
        print_result(as_json, {"grant": grant}, f"The grant {grant} is revoked.")
        return
    if everything:
        ask = on_terminal() and not yes
        number = store.run(lambda administration: revoke_all(administration, ask))
    else:
        number = store.run(lambda administration: administration.revoke_grants(username, client_id))
    print_result(as_json, {"revoked": number}, f"Revoked {counted(number, 'grant')}.")


async def revoke_all(administration: Administration, ask: bool) -> int:
    """Revoke all grants, and return how many there were.

    :param ask: whether to ask for confirmation before.
    """
    if ask:
        number = await grants_in_words(administration)
        confirm(f"Revoke all grants of all users? This ends {number}.")
    return await administration.revoke_all_grants()


async def valid_grants(
    administration: Administration, username: str | None, client_id: str | None, now: int
) -> list[dict[str, Any]]:
    """The grants that are neither revoked nor expired, as JSON.

    :param username: only those of this user, if it is given.
    :param client_id: only those of this client, if it is given.
    :param now: in seconds since the epoch.
    """

    # Elsewhere there are others.
    administration.check_tokens()
    if username is not None:
        username = await administration.name_of_user(username)
    wanted = GrantFilter(username, client_id)

    async def read_page(page: Page) -> list[Grant]:
        return await administration.tokens.grants(wanted, page)

    found = [grant for grant in await every(read_page, by_age) if now < grant.expires]
    names: dict[str, str | None] = {}
    for client_id in {grant.client_id for grant in found}:
        client = await administration.registry.find_client(client_id)
        names[client_id] = None if client is None else client.name
    return [entry(grant, names[grant.client_id]) for grant in found]


def entry(grant: Grant, client_name: str | None) -> dict[str, Any]:
    """A grant as JSON, with times in seconds since the epoch.

    ``last_used`` is None where its code has not been exchanged.
    """
    return {
        "grant": grant.id,
        "username": grant.owner.username,
        "client_id": grant.client_id,
        "client_name": client_name,
        "scopes": list(grant.scopes),
        "created": grant.created,
        "last_used": grant.last_issued,
        "expires": grant.expires,
    }
