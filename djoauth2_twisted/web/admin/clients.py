"""Clients: their list, and what can be done with one."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from klein import Response

from ...credentials import digest, same
from ...errors import NotFound, RegistrationError
from ...messages import Message
from ...models import Client
from ...protocol.client_authentication import previous_secret_digest
from .. import respond
from ..image import image_address
from .visit import VERSION, Visit, changes, grants_end, moment, of_grants, versioned

FIELDS = (
    "name",
    "description",
    "redirect_uris",
    "image_url",
    "scopes",
    "no_scope",
    "resource_server",
    "disabled",
    VERSION,
)

#: Those that have several entries.
LISTS = ("redirect_uris", "scopes")

# A new secret on its way to the page that shows it.
_SECRET = "secret"

#: How long the old secret may be good beside a new one, in seconds.
OVERLAPS = (0, 3600, 86400, 7 * 86400, 30 * 86400)


async def show_list(visit: Visit) -> Response:
    """Clients in the order of their names, all or those that are searched for."""
    return await visit.show_list("clients.html", "clients", visit.administration.registry.clients)


async def show_add(visit: Visit) -> Response:
    """The form for a new client."""
    values = visit.values(FIELDS, {})
    return visit.show("client_add.html", values=values, form=visit.hidden())


async def add(visit: Visit) -> Response:
    """Register a client."""
    administration = visit.allowed()
    client, secret = await administration.add_client(**_registration(visit))
    return _go_to_new_secret(visit, client.client_id, secret)


async def show(visit: Visit) -> Response:
    """A client, as a form."""
    client = await visit.administration.client(visit.id)
    return visit.show(
        "client.html",
        client=client,
        values=visit.values(FIELDS, _kept(client)),
        form=visit.hidden(),
        image=image_address(visit.request, client),
        grants=of_grants(await visit.administration.tokens.count_grants(client_id=client.client_id)),
        old_secret_until=_old_secret_until(visit, client),
    )


async def edit(visit: Visit) -> Response:
    """Change a client."""
    administration = visit.allowed()
    client = await administration.client(visit.id)
    visit.refuse_outdated(_kept(client))
    typed = {**_registration(visit), "disabled": visit.ticked("disabled")}
    await administration.edit_client(visit.id, **changes(client, typed))
    return visit.go("client", id=visit.id)


def _kept(client: Client) -> dict[str, str]:
    """A client as the fields of its form."""
    fields = {
        "name": client.name,
        "description": client.description,
        "redirect_uris": "\n".join(client.redirect_uris),
        "image_url": client.image_url,
        "scopes": "\n".join(client.scopes or ()),
        "no_scope": "yes" if client.scopes == () else "",
        "resource_server": "yes" if client.resource_server else "",
        "disabled": "yes" if client.disabled else "",
    }
    return versioned(fields)


def _registration(visit: Visit) -> dict[str, Any]:
    """What a form says of a client."""
    scopes = tuple(dict.fromkeys(visit.text("scopes").split()))
    if scopes and visit.ticked("no_scope"):
        raise RegistrationError(Message("a client may ask for no scope, or for those that are named"))
    return {
        "name": visit.text("name"),
        "description": visit.text("description"),
        "redirect_uris": tuple(line for line in visit.text("redirect_uris").split("\n") if line),
        "image_url": visit.text("image_url"),
        "scopes": scopes if scopes or visit.ticked("no_scope") else None,
        "resource_server": visit.ticked("resource_server"),
    }


def _old_secret_until(visit: Visit, client: Client) -> str:
    if previous_secret_digest(client, visit.now) is None:
        return ""
    return moment(client.previous_secret_expires or 0)


async def show_secret(visit: Visit) -> Response:
    """The form for a new secret."""
    client = await visit.administration.client(visit.id)
    chosen = visit.values(("keep_old",), {"keep_old": "0"})["keep_old"]
    return visit.show(
        "client_rotate.html",
        client=client,
        form=visit.hidden(),
        overlaps=OVERLAPS,
        chosen=chosen,
        old_secret_until=_old_secret_until(visit, client),
    )


async def rotate_secret(visit: Visit) -> Response:
    """Give a client a new secret."""
    administration = visit.allowed()
    overlap = visit.form.get("keep_old") or "0"
    if overlap not in map(str, OVERLAPS):
        raise RegistrationError(Message("choose how long the old secret is good beside the new one"))
    secret = await administration.rotate_secret(visit.id, int(overlap))
    return _go_to_new_secret(visit, visit.id, secret)


def _go_to_new_secret(visit: Visit, client_id: str, secret: str) -> Response:
    gone = respond.redirect(visit.request, visit.link("client/new-secret", id=client_id))
    return visit.sessions.hand_on(gone, visit.browser, _SECRET, secret)


async def show_new_secret(visit: Visit) -> Response:
    """The secret that a client was just given, this once."""
    client = await visit.administration.client(visit.id)
    secret = visit.sessions.handed_on(visit.request, visit.browser, _SECRET)
    # It may be seen already, or another's, or not be the last any more.
    if not same(digest(secret), client.secret_digest):
        return respond.redirect(visit.request, visit.link("client", id=visit.id))
    until = _old_secret_until(visit, client)
    page = visit.show("client_secret.html", client=client, secret=secret, until=until)
    return visit.sessions.forget(page, _SECRET)


async def show_image(visit: Visit) -> Response:
    """The form for a picture."""
    client = await visit.administration.client(visit.id)
    return visit.show(
        "client_image.html",
        client=client,
        form=visit.hidden(),
        image=image_address(visit.request, client),
    )


async def set_image(visit: Visit) -> Response:
    """Give a client a picture, or take it away."""
    administration = visit.allowed()
    if visit.upload is None and not visit.ticked("remove"):
        raise RegistrationError(Message("choose a picture"))
    await administration.set_image(visit.id, None if visit.ticked("remove") else visit.upload)
    return visit.go("client", id=visit.id)


async def show_delete(visit: Visit) -> Response:
    """What goes with a client, before it goes."""
    client = await visit.administration.client(visit.id)
    grants = await visit.administration.tokens.count_grants(client_id=client.client_id)
    return visit.show("client_delete.html", client=client, form=visit.hidden(), ends=grants_end(grants))


async def delete(visit: Visit) -> Response:
    """Forget a client; one that is gone already is as good as deleted."""
    administration = visit.allowed()
    with suppress(NotFound):
        await administration.delete_client(visit.id)
    return visit.go("clients")
