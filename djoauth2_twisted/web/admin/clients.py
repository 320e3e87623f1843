"""The pages for clients: their list, and the forms that change one."""

from __future__ import annotations

from contextlib import suppress
from functools import partial

from attrs import frozen

from ...credentials import constant_time_equal, digest
from ...errors import NotFound, RegistrationError
from ...messages import Message
from ...models import Client, Scope
from ...paging import by_name
from ...protocol.client_authentication import previous_secret_digest
from ...protocol.redirection import host_of
from .. import respond
from ..image import image_address
from ..respond import Response
from .admin_request import (
    AdminRequest,
    changes,
    grants_end,
    moment,
    number,
    of_grants,
    shown,
)
from .client_form import FIELDS, MAX_BOXES, kept, registration, sent_fields

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
    totals = await admin_request.administration.registry.totals(admin_request.now)
    return admin_request.show(
        "clients.html",
        clients=[await _row(admin_request, client) for client in clients],
        total=number(totals.clients),
        pager=pager,
        search_action=admin_request.link("clients"),
        search=shown(search),
    )


@frozen
class _Row:
    """A client in the list.

    :param image: the address of its picture, or the empty string.
    :param hosts: of its redirect URIs.
    """

    client_id: str
    name: str
    resource_server: bool
    disabled: bool
    image: str
    hosts: list[str]
    grants: Message | str
    last_used: str


async def _row(admin_request: AdminRequest, client: Client) -> _Row:
    count = await admin_request.administration.tokens.count_grants(client_id=client.client_id)
    return _Row(
        client_id=client.client_id,
        name=client.name or client.client_id,
        resource_server=client.resource_server,
        disabled=client.disabled,
        image=image_address(admin_request.request, client),
        hosts=sorted({host_of(uri) for uri in client.redirect_uris}),
        grants=number(count),
        last_used=_last_used(client),
    )


def _last_used(client: Client) -> str:
    """The day on which a client last got tokens, in UTC; empty where there is none."""
    return "" if client.last_used is None else moment(client.last_used, "%Y-%m-%d")


async def show_add(admin_request: AdminRequest) -> Response:
    """The form for a new client."""
    return admin_request.show(
        "client_add.html",
        values=admin_request.values(FIELDS, {}),
        form=admin_request.hidden(),
        boxes=await _boxes(admin_request),
    )


async def _boxes(admin_request: AdminRequest) -> list[Scope]:
    """The scopes that the form shows as boxes; none where there are more than `MAX_BOXES`."""
    scopes: list[Scope] = await admin_request.administration.registry.scopes()
    return scopes if len(scopes) <= MAX_BOXES else []


async def add(admin_request: AdminRequest) -> Response:
    """Register a client."""
    administration = admin_request.allowed()
    fields = await registration(admin_request, administration)
    client, secret = await administration.add_client(**fields)
    return _go_to_new_secret(admin_request, client.client_id, secret)


def go_to_added(admin_request: AdminRequest) -> Response:
    """Redirect to the list with the new client. Its secret was in the answer to the form before."""
    return admin_request.go("clients", search=admin_request.text("name"))


async def show(admin_request: AdminRequest) -> Response:
    """A client, as a form."""
    client = await admin_request.administration.client(admin_request.id)
    refusals = admin_request.refusals
    return admin_request.show(
        "client.html",
        client=client,
        values=admin_request.values(FIELDS, kept(admin_request, client)),
        form=admin_request.hidden(),
        boxes=await _boxes(admin_request),
        metadata=await admin_request.metadata(admin_request.request),
        refusals=[(moment(each.time), each) for each in refusals.of(client.client_id)],
        since=moment(refusals.since),
        last_used=_last_used(client),
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
    admin_request.refuse_outdated(sent_fields(admin_request, kept(admin_request, client)))
    fields = await registration(admin_request, administration, client)
    typed = {**fields, "disabled": admin_request.ticked("disabled")}
    await administration.edit_client(admin_request.id, **changes(client, typed))
    return go_to_client(admin_request)


def go_to_client(admin_request: AdminRequest) -> Response:
    """Redirect to the client that the form has changed."""
    return admin_request.go("client", id=admin_request.id)


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
        raise RegistrationError(
            Message("choose how long the old secret stays valid beside the new one"), field="keep_old"
        )
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
        raise RegistrationError(Message("choose a picture"), field="image")
    image = None if admin_request.ticked("remove") else admin_request.upload
    await administration.set_image(admin_request.id, image)
    return go_to_client(admin_request)


async def show_delete(admin_request: AdminRequest) -> Response:
    """Ask whether to delete a client, and show what ends with it."""
    client = await admin_request.administration.client(admin_request.id)
    grants = await admin_request.administration.tokens.count_grants(client_id=client.client_id)
    return admin_request.show(
        "client_delete.html", client=client, form=admin_request.hidden(), ends=grants_end(grants)
    )


async def delete(admin_request: AdminRequest) -> Response:
    """Delete a client. A client that is deleted already is not an error."""
    administration = admin_request.allowed()
    with suppress(NotFound):
        await administration.delete_client(admin_request.id)
    return admin_request.go("clients")
