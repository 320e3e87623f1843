"""``djoauth2 token``: what users allow clients to do. Codes and tokens are never shown."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from ..models import GrantFilter, Page
from .output import json_option, moment, print_json, print_result, print_table
from .running import Store, every

if TYPE_CHECKING:
    from ..administration import Administration
    from ..models import Grant


@click.group(no_args_is_help=False)
def token() -> None:
    """List and revoke grants.

    A grant is what one user lets one client do; it has all tokens that were issued for it.
    """


@token.command("list")
@click.option("--user", "username", metavar="NAME", help="Only what this user allowed.")
@click.option("--client", "client_id", metavar="ID", help="Only what this client was allowed.")
@json_option
@click.pass_obj
def list_grants(store: Store, username: str | None, client_id: str | None, as_json: bool) -> None:
    """List the grants that are good, oldest first. No code, token or digest is shown."""
    wanted = GrantFilter(username, client_id)
    now = int(time.time())
    found = store.run(lambda administration: good_grants(administration, wanted, now))
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
    )


@token.command()
@click.argument("grant")
@json_option
@click.pass_obj
def revoke(store: Store, grant: str, as_json: bool) -> None:
    """Revoke a grant; its code and all of its tokens end at once."""
    store.run(lambda administration: administration.revoke_grant(grant))
    print_result(as_json, {"grant": grant}, f"The grant {grant} is revoked.")


async def good_grants(
    administration: Administration, filter: GrantFilter, now: int
) -> list[dict[str, Any]]:
    """The grants that are neither revoked nor expired, as JSON.

    :param now: in seconds since the epoch.
    """

    async def read_page(page: Page) -> list[Grant]:
        return await administration.tokens.grants(filter, page)

    found = [grant for grant in await every(read_page) if now < grant.expires]
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
