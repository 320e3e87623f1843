"""The pages for clients: their list, and the forms that change one."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import Any

from ...credentials import constant_time_equal, digest
from ...errors import NotFound, RegistrationError
from ...messages import Message
from ...models import Client
from ...paging import by_name
from ...protocol.client_authentication import previous_secret_digest
from ...protocol.registration import ID_TOKEN_ALGORITHMS
from .. import respond
from ..image import image_address
from ..respond import Response
from .admin_request import (
    VERSION,
    AdminRequest,
    changes,
    grants_end,
    moment,
    of_grants,
    shown,
    versioned,
)

#: Those that are in the form with the setting ``OPENID``.
OPENID_FIELDS = ("id_token_alg", "post_logout_redirect_uris", "backchannel_logout_uri")

FIELDS = (
    "name",
    "description",
    "redirect_uris",
    "image_url",
    "scopes",
    "no_scope",
    "resource_server",
    "disabled",
    *OPENID_FIELDS,
    VERSION,
)

#: The fields that may have several entries.
LISTS = ("redirect_uris", "scopes", "post_logout_redirect_uris")

# The name of the flash message with a new secret.
_SECRET = "secret"

#: How long the old secret may stay valid beside a new one, in seconds.
OVERLAPS = (0, 3600, 86400, 7 * 86400, 30 * 86400)


async def show_list(admin_request: AdminRequest) -> Response:
    """Show all clients, or those that match a search, in the order of their names."""
    search = admin_request.query.get("search") or ""
    read = partial(admin_request.administration.registry.clients, search=search)
    said = {"search": search} if search else {}
    clients, pager = await admin_request.page_of(read, by_name, (str, str), **said)
    return admin_request.show(
        "clients.html",
        clients=clients,
        pager=pager,
        search_action=admin_request.link("clients"),
        search=shown(search),
    )


async def show_add(admin_request: AdminRequest) -> Response:
    """The form for a new client."""
    values = admin_request.values(FIELDS, {})
    return admin_request.show("client_add.html", values=values, form=admin_request.hidden())


async def add(admin_request: AdminRequest) -> Response:
    """Register a client."""
    administration = admin_request.allowed()
    client, secret = await administration.add_client(**_registration(admin_request))
    return _go_to_new_secret(admin_request, client.client_id, secret)


def go_to_added(admin_request: AdminRequest) -> Response:
    """Redirect to the list with the new client. Its secret was in the answer to the form before."""
    return admin_request.go("clients", search=admin_request.text("name"))


async def show(admin_request: AdminRequest) -> Response:
    """A client, as a form."""
    client = await admin_request.administration.client(admin_request.id)
    return admin_request.show(
        "client.html",
        client=client,
        values=admin_request.values(FIELDS, _kept(admin_request, client)),
        form=admin_request.hidden(),
        image=image_address(admin_request.request, client),
        grants=of_grants(
            await admin_request.administration.tokens.count_grants(client_id=client.client_id)
        ),
        old_secret_until=_old_secret_until(admin_request, client),
    )


async def edit(admin_request: AdminRequest) -> Response:
    """Change a client."""
    administration = admin_request.allowed()
    client = await administration.client(admin_request.id)
    admin_request.refuse_outdated(_kept(admin_request, client))
    typed = {**_registration(admin_request), "disabled": admin_request.ticked("disabled")}
    await administration.edit_client(admin_request.id, **changes(client, typed))
    return go_to_client(admin_request)


def go_to_client(admin_request: AdminRequest) -> Response:
    """Redirect to the client that the form has changed."""
    return admin_request.go("client", id=admin_request.id)


def _kept(admin_request: AdminRequest, client: Client) -> dict[str, str]:
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
    if admin_request.administration.settings.openid:
        fields |= {
            "id_token_alg": client.id_token_alg,
            "post_logout_redirect_uris": "\n".join(client.post_logout_redirect_uris),
            "backchannel_logout_uri": client.backchannel_logout_uri,
        }
    return versioned(fields)


def _registration(admin_request: AdminRequest) -> dict[str, Any]:
    """The fields of a client that a form contains."""
    scopes = tuple(dict.fromkeys(admin_request.text("scopes").split()))
    if scopes and admin_request.ticked("no_scope"):
        raise RegistrationError(Message("a client may ask for no scope, or for those that are named"))
    return {
        "name": admin_request.text("name"),
        "description": admin_request.text("description"),
        "redirect_uris": _lines(admin_request, "redirect_uris"),
        "image_url": admin_request.text("image_url"),
        "scopes": scopes if scopes or admin_request.ticked("no_scope") else None,
        "resource_server": admin_request.ticked("resource_server"),
        **_openid_registration(admin_request),
    }


def _openid_registration(admin_request: AdminRequest) -> dict[str, Any]:
    if not admin_request.administration.settings.openid:
        return {}
    return {
        "id_token_alg": admin_request.text("id_token_alg") or ID_TOKEN_ALGORITHMS[0],
        "post_logout_redirect_uris": _lines(admin_request, "post_logout_redirect_uris"),
        "backchannel_logout_uri": admin_request.text("backchannel_logout_uri"),
    }


def _lines(admin_request: AdminRequest, field: str) -> tuple[str, ...]:
    return tuple(line for line in admin_request.text(field).split("\n") if line)


def _old_secret_until(admin_request: AdminRequest, client: Client) -> str:
    if previous_secret_digest(client, admin_request.now) is None:
        return ""
    return moment(client.previous_secret_expires or 0)


async def show_secret(admin_request: AdminRequest) -> Response:
    """The form for a new secret."""
    client = await admin_request.administration.client(admin_request.id)
    chosen = admin_request.values(("keep_old",), {"keep_old": "0"})["keep_old"]
    return admin_request.show(
        "client_rotate.html",
        client=client,
        form=admin_request.hidden(),
        overlaps=OVERLAPS,
        chosen=chosen,
        old_secret_until=_old_secret_until(admin_request, client),
    )


async def rotate_secret(admin_request: AdminRequest) -> Response:
    """Give a client a new secret."""
    administration = admin_request.allowed()
    overlap = admin_request.form.get("keep_old") or "0"
    if overlap not in map(str, OVERLAPS):
        raise RegistrationError(Message("choose how long the old secret stays valid beside the new one"))
    secret = await administration.rotate_secret(admin_request.id, int(overlap))
    return _go_to_new_secret(admin_request, admin_request.id, secret)


def go_to_secret(admin_request: AdminRequest) -> Response:
    """Redirect to the new secret. It is shown if the answer to the form before has arrived."""
    return _go_to_secret_of(admin_request, admin_request.id)


def _go_to_secret_of(admin_request: AdminRequest, client_id: str) -> Response:
    address = admin_request.link("client/new-secret", id=client_id)
    return respond.redirect(admin_request.request, address)


def _go_to_new_secret(admin_request: AdminRequest, client_id: str, secret: str) -> Response:
    response = _go_to_secret_of(admin_request, client_id)
    return admin_request.sessions.flash(response, admin_request.browser, _SECRET, secret)


async def show_new_secret(admin_request: AdminRequest) -> Response:
    """Show the new secret of a client, once."""
    client = await admin_request.administration.client(admin_request.id)
    secret = admin_request.sessions.flashed(admin_request.request, admin_request.browser, _SECRET)
    # The secret may have been shown already, belong to another client, or be outdated.
    if not constant_time_equal(digest(secret), client.secret_digest):
        return respond.redirect(admin_request.request, admin_request.link("client", id=admin_request.id))
    until = _old_secret_until(admin_request, client)
    page = admin_request.show("client_secret.html", client=client, secret=secret, until=until)
    return admin_request.sessions.forget(page, _SECRET)


async def show_image(admin_request: AdminRequest) -> Response:
    """The form for a picture."""
    client = await admin_request.administration.client(admin_request.id)
    return admin_request.show(
        "client_image.html",
        client=client,
        form=admin_request.hidden(),
        image=image_address(admin_request.request, client),
    )


async def set_image(admin_request: AdminRequest) -> Response:
    """Set or remove a client's picture."""
    administration = admin_request.allowed()
    if admin_request.upload is None and not admin_request.ticked("remove"):
        raise RegistrationError(Message("choose a picture"))
    await administration.set_image(
        admin_request.id, None if admin_request.ticked("remove") else admin_request.upload
    )
    return go_to_client(admin_request)


async def show_delete(admin_request: AdminRequest) -> Response:
    """Ask whether to delete a client, and show what ends with it."""
    client = await admin_request.administration.client(admin_request.id)
    grants = await admin_request.administration.tokens.count_grants(client_id=client.client_id)
    return admin_request.show(
        "client_delete.html", client=client, form=admin_request.hidden(), ends=grants_end(grants)
    )


async def delete(admin_request: AdminRequest) -> Response:
    """Delete a client. One that is deleted already is no error."""
    administration = admin_request.allowed()
    with suppress(NotFound):
        await administration.delete_client(admin_request.id)
    return admin_request.go("clients")
