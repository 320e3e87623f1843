"""``djoauth2 client``: the applications that ask for access, and the resource servers."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

import click

from ..models import Client
from ..paging import by_name
from ..protocol.client_authentication import previous_secret_digest
from ..protocol.registration import ID_TOKEN_ALGORITHMS, MAX_IMAGE_SIZE, MAX_OVERLAP, image_of
from .asking import confirm, grants_in_words, on_terminal, yes_option
from .client_try import try_client
from .group import Group
from .output import (
    first_of,
    json_option,
    moment,
    print_fields,
    print_json,
    print_result,
    print_table,
    state_of,
)
from .running import Store, every

if TYPE_CHECKING:
    from ..administration import Administration

_F = TypeVar("_F", bound=Callable[..., Any])

_OPTIONS = (
    click.option(
        "--redirect-uri",
        "redirect_uris",
        metavar="URI",
        multiple=True,
        help="An https address of the client, to which the server may send answers; may be repeated.",
    ),
    click.option(
        "--description", metavar="TEXT", help="What the client is. Users read it on the consent page."
    ),
    click.option("--homepage-url", metavar="URL", help="The https address of the client's homepage."),
    click.option("--privacy-url", metavar="URL", help="The https address of its privacy policy."),
    click.option("--developer", metavar="NAME", help="Who has made the client."),
    click.option("--image-url", metavar="URL", help="The https address of the client's picture."),
    click.option(
        "--image",
        metavar="FILE",
        type=click.File("rb"),
        help="A picture for the consent page: PNG, JPEG, GIF or WebP, at most 16 KiB.",
    ),
    click.option(
        "--scope",
        "scopes",
        metavar="SCOPE",
        multiple=True,
        help="A scope that the client may ask for; may be repeated. Without it: every scope.",
    ),
    click.option(
        "--id-token-alg",
        type=click.Choice(ID_TOKEN_ALGORITHMS),
        help="The algorithm that signs its ID tokens, with the setting OPENID. The default is RS256.",
    ),
    click.option(
        "--post-logout-redirect-uri",
        "post_logout_redirect_uris",
        metavar="URI",
        multiple=True,
        help="An https address that the browser may return to after a logout; may be repeated.",
    ),
    click.option(
        "--backchannel-logout-uri",
        metavar="URI",
        help="The https address at which the client receives logouts. Empty: none.",
    ),
)

# The options of `edit` that clear a field: the field, its value afterwards, and the options that exclude
# each other.
_CLEARING: dict[str, tuple[str, Any, str]] = {
    "any_scope": ("scopes", None, "--scope and --any-scope"),
    "no_image": ("image", None, "--image and --no-image"),
    "no_redirect_uri": ("redirect_uris", (), "--redirect-uri and --no-redirect-uri"),
}


def _options(command: _F) -> _F:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.group(cls=Group)
def client() -> None:
    """Add, edit and delete clients, and try one.

    A client is an application that asks users for access, or a resource server that asks this server
    whether a token is valid.
    """


client.add_command(try_client)


@client.command()
@click.option(
    "--name", metavar="NAME", required=True, help="The client's name. Users read it on the consent page."
)
@_options
@click.option(
    "--resource-server",
    is_flag=True,
    help="The client may introspect any token. It needs no redirect URI.",
)
@json_option
@click.pass_obj
def add(store: Store, /, as_json: bool, **fields: Any) -> None:
    """Add a client, and print its ID and secret.

    The secret is shown only now, because only its digest is stored.
    """
    kept, secret = store.run(lambda administration: administration.add_client(**_given(fields)))
    if as_json:
        print_json({"client_id": kept.client_id, "client_secret": secret} | entry(kept))
    else:
        _print_secret(kept.client_id, secret)


@client.command("list")
@click.option(
    "--search", metavar="TEXT", default="", help="Only clients with this text in the name or ID."
)
@json_option
@click.pass_obj
def list_clients(store: Store, search: str, as_json: bool) -> None:
    """List the clients, sorted by name."""
    found = store.run(
        lambda administration: every(partial(administration.registry.clients, search=search), by_name)
    )
    if as_json:
        print_json([entry(kept) for kept in found])
    else:
        print_table(
            ("CLIENT ID", "NAME", "REDIRECT URIS", "STATE"),
            ((kept.client_id, kept.name, first_of(kept.redirect_uris), _state(kept)) for kept in found),
            flexible=("NAME", "REDIRECT URIS"),
        )


@client.command()
@click.argument("client_id", metavar="ID")
@json_option
@click.pass_obj
def show(store: Store, client_id: str, as_json: bool) -> None:
    """Show a client, without its secret."""
    _print_client(as_json, store.run(lambda administration: administration.client(client_id)))


@client.command()
@click.argument("client_id", metavar="ID")
@click.option("--name", metavar="NAME", help="The client's name. Users read it on the consent page.")
@_options
@click.option("--any-scope", is_flag=True, help="The client may ask for every scope again.")
@click.option(
    "--resource-server/--no-resource-server",
    default=None,
    help="Whether the client may introspect any token.",
)
@click.option(
    "--disable/--enable",
    "disabled",
    default=None,
    help="Disabling ends the client's codes and tokens at once.",
)
@click.option("--no-image", is_flag=True, help="Delete the picture.")
@click.option(
    "--no-redirect-uri", is_flag=True, help="Delete the redirect URIs. Only resource servers need none."
)
@json_option
@click.pass_obj
def edit(store: Store, /, client_id: str, as_json: bool, **fields: Any) -> None:
    """Change a client. Fields without an option stay as they are.

    --redirect-uri and --scope replace all earlier values.
    """
    cleared = [each for each in _CLEARING if fields.pop(each)]
    changes = _given(fields)
    if "" in changes.get("scopes", ()):
        raise click.UsageError("a scope has a name; --any-scope lets the client ask for every scope")
    for each in cleared:
        name, empty, options = _CLEARING[each]
        if name in changes:
            raise click.UsageError(f"{options} cannot be used together")
        changes[name] = empty
    if not changes:
        raise click.UsageError("there is nothing to change")
    kept = store.run(lambda administration: edit_client(administration, client_id, changes))
    _print_client(as_json, kept)


@client.command("rotate-secret")
@click.argument("client_id", metavar="ID")
@click.option(
    "--keep-old",
    metavar="SECONDS",
    type=click.IntRange(0, MAX_OVERLAP),
    default=0,
    help="How long the old secret stays valid beside the new one.",
)
@json_option
@click.pass_obj
def rotate_secret(store: Store, client_id: str, keep_old: int, as_json: bool) -> None:
    """Give a client a new secret, and print it.

    Without --keep-old, the server refuses the old secret from now on. Tokens stay valid. The new secret
    is shown only now.
    """
    secret = store.run(lambda administration: administration.rotate_secret(client_id, keep_old))
    if as_json:
        print_json({"client_id": client_id, "client_secret": secret})
    else:
        _print_secret(client_id, secret)


@client.command()
@click.argument("client_id", metavar="ID")
@yes_option
@json_option
@click.pass_obj
def delete(store: Store, client_id: str, yes: bool, as_json: bool) -> None:
    """Delete a client; its codes and tokens end at once.

    On a terminal the command asks for confirmation.
    """
    ask = on_terminal() and not yes
    store.run(lambda administration: delete_client(administration, client_id, ask))
    print_result(as_json, {"client_id": client_id}, f"The client {client_id} is deleted.")


async def delete_client(administration: Administration, client_id: str, ask: bool) -> None:
    """Delete a client.

    :param ask: whether to ask for confirmation before.
    """
    known = await administration.registry.find_client(client_id) if ask else None
    if known is not None:
        grants = await grants_in_words(administration, client_id=client_id)
        confirm(f"Delete the client {known.name!r} ({client_id})? This ends {grants}.")
    await administration.delete_client(client_id)


def _given(fields: dict[str, Any]) -> dict[str, Any]:
    """The options that were given. A missing repeatable option is an empty tuple."""
    given = {name: value for name, value in fields.items() if value not in (None, ())}
    if "image" in given:
        given["image"] = _read(given["image"])
    if "scopes" in given:
        given["scopes"] = tuple(dict.fromkeys(given["scopes"]))
    return given


def _read(file: BinaryIO) -> bytes:
    try:
        return file.read(MAX_IMAGE_SIZE + 1)
    except OSError as error:
        raise click.ClickException(f"the picture cannot be read: {error.strerror}") from None


async def edit_client(administration: Administration, client_id: str, changes: dict[str, Any]) -> Client:
    """Change a client's fields, and its picture if the changes include one."""
    fields = {name: value for name, value in changes.items() if name != "image"}
    image = changes.get("image")
    if image is not None:
        image_of(image)
    if fields:
        await administration.edit_client(client_id, **fields)
    if "image" in changes:
        await administration.set_image(client_id, image)
    return await administration.client(client_id)


def entry(kept: Client) -> dict[str, Any]:
    """A client as JSON. ``scopes`` is null if it may request every scope."""
    return {
        "client_id": kept.client_id,
        "name": kept.name,
        "description": kept.description,
        "homepage_url": kept.homepage_url,
        "privacy_url": kept.privacy_url,
        "developer": kept.developer,
        "image_url": kept.image_url,
        "redirect_uris": list(kept.redirect_uris),
        "scopes": None if kept.scopes is None else list(kept.scopes),
        "resource_server": kept.resource_server,
        "disabled": kept.disabled,
        "id_token_alg": kept.id_token_alg,
        "post_logout_redirect_uris": list(kept.post_logout_redirect_uris),
        "backchannel_logout_uri": kept.backchannel_logout_uri,
    }


def _state(kept: Client) -> str:
    return state_of(resource_server=kept.resource_server, disabled=kept.disabled)


def _print_client(as_json: bool, kept: Client) -> None:
    if as_json:
        print_json(entry(kept))
        return
    print_fields(
        {
            "client id": kept.client_id,
            "name": kept.name,
            "description": kept.description,
            "homepage": kept.homepage_url,
            "privacy policy": kept.privacy_url,
            "developer": kept.developer,
            "image": kept.image_url,
            "picture": "none" if kept.image_digest is None else "uploaded",
            "redirect URIs": kept.redirect_uris,
            "scopes": "every scope" if kept.scopes is None else " ".join(kept.scopes) or "no scope",
            "state": _state(kept) or "enabled",
            "ID tokens": kept.id_token_alg,
            "after a logout": kept.post_logout_redirect_uris,
            "logouts to": kept.backchannel_logout_uri,
        }
    )
    if previous_secret_digest(kept, int(time.time())) is not None:
        print_fields({"old secret": f"valid until {moment(kept.previous_secret_expires or 0)}"})


def _print_secret(client_id: str, secret: str) -> None:
    print_fields({"client id": client_id, "client secret": secret})
    click.echo("Store the secret now. It is not shown again.")
