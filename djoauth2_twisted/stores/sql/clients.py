"""`IClients` on SQL: the tables ``djoauth2_client`` and ``djoauth2_image``."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import sqlalchemy as sa
from twisted.internet.defer import Deferred
from zope.interface import implementer

from ...errors import ChangedMeanwhile, NotFound
from ...interfaces import IClientFeed, IClients
from ...models import Client, Image, Page
from ..invalidation import Partitions
from . import partitions, schema, statements
from .database import OnDatabase


@implementer(IClients, IClientFeed)
class SQLClients(OnDatabase):
    """The clients. Each verb is one step; the steps are the functions below the class."""

    def subscribe_to_clients(self, invalidate: Callable[[], None]) -> None:
        def invalidated(changed: Partitions) -> None:
            if changed is None or partitions.CLIENTS in changed:
                invalidate()

        self.database.invalidation.subscribe(invalidated)

    def clients_are_current(self) -> bool:
        return self.database.invalidation.is_current()

    def add_client(self, client: Client, image: Image | None = None) -> Deferred[None]:
        row = statements.row_of(client)
        return self.database.write(_add_client, row, image, key=client.client_id)

    def find_client(self, client_id: str) -> Deferred[Client | None]:
        return self.database.read(_find_client, client_id)

    def update_client(
        self, client: Client, only: Collection[str] | None = None, instead_of: bytes | None = None
    ) -> Deferred[None]:
        changes = statements.row_of(client, only)
        # Other verbs change these: the caller may have read the client before that.
        for name in ("image_digest", "last_used"):
            changes.pop(name, None)
        client_id = client.client_id
        return self.database.write(_update_client, client_id, changes, instead_of, key=client_id)

    def delete_client(self, client_id: str) -> Deferred[None]:
        return self.database.write(_delete_client, client_id, key=client_id)

    def set_image(self, client_id: str, image: Image | None) -> Deferred[None]:
        return self.database.write(_set_image, client_id, image, key=client_id)

    def find_image(self, client_id: str) -> Deferred[Image | None]:
        return self.database.read(_find_image, client_id)

    def note_uses(self, uses: Mapping[str, int]) -> Deferred[None]:
        return self.database.write(_note_uses, uses, key=_USES)

    def clients(self, page: Page, search: str = "") -> Deferred[list[Client]]:
        return self.database.read(_clients, page, search)


#: The key of all steps that note uses: each of them changes many clients.
_USES = "uses"

_client = schema.client
_image = schema.image

#: The columns that are NULL in the rows of an earlier release.
_ABOUT = ("homepage_url", "privacy_url", "developer")

_BY_ID = sa.select(_client).where(_client.c.client_id == sa.bindparam("client_id", type_=schema.Sought))


def _add_client(connection: sa.Connection, row: dict[str, Any], image: Image | None) -> None:
    statements.insert(connection, _client, row)
    if image is not None:
        _set_image(connection, row["client_id"], image)


def _find_client(connection: sa.Connection, client_id: str) -> Client | None:
    row = connection.execute(_BY_ID, {"client_id": client_id}).first()
    return _to_client(row) if row else None


def _to_client(row: sa.Row[Any]) -> Client:
    values = dict(row._mapping)
    scopes = values.pop("scopes")
    values |= {name: values[name] or "" for name in _ABOUT}
    # NULL in rows that are older than these columns means the default.
    values["id_token_alg"] = values["id_token_alg"] or "RS256"
    values["backchannel_logout_uri"] = values["backchannel_logout_uri"] or ""
    return Client(
        post_logout_redirect_uris=tuple(values.pop("post_logout_redirect_uris") or ()),
        redirect_uris=tuple(values.pop("redirect_uris")),
        scopes=None if scopes is None else tuple(scopes),
        **values,
    )


def _update_client(
    connection: sa.Connection, client_id: str, changes: dict[str, Any], instead_of: bytes | None
) -> None:
    if instead_of is not None:
        secret = sa.select(_client.c.secret_digest).where(_client.c.client_id == client_id)
        if connection.scalar(secret.with_for_update()) not in (None, instead_of):
            raise ChangedMeanwhile()
    statements.update(connection, _client.c.client_id, client_id, changes)
    partitions.note_clients(connection)


def _delete_client(connection: sa.Connection, client_id: str) -> None:
    statements.delete(connection, _client.c.client_id, client_id)
    connection.execute(sa.delete(_image).where(_image.c.client_id == client_id))
    partitions.note_clients(connection)


def _set_image(connection: sa.Connection, client_id: str, image: Image | None) -> None:
    # The client's row first, as `_delete_client` does, so that no two steps wait for each other.
    change = sa.update(_client).where(_client.c.client_id == client_id)
    changed = connection.execute(change.values(image_digest=image and image.digest))
    if changed.rowcount != 1:
        raise NotFound()
    partitions.note_clients(connection)
    connection.execute(sa.delete(_image).where(_image.c.client_id == client_id))
    if image is not None:
        row = {"client_id": client_id, "media_type": image.media_type, "content": image.content}
        statements.insert(connection, _image, row)


def _find_image(connection: sa.Connection, client_id: str) -> Image | None:
    wanted = sa.select(_image.c.media_type, _image.c.content).where(_image.c.client_id == client_id)
    row = connection.execute(wanted).first()
    return Image(*row) if row else None


def _note_uses(connection: sa.Connection, uses: Mapping[str, int]) -> None:
    # All processes write in one order, so that no two of them wait for each other.
    for client_id, time in sorted(uses.items()):
        earlier = _client.c.last_used.is_(None) | (_client.c.last_used < time)
        change = sa.update(_client).where(_client.c.client_id == client_id, earlier)
        connection.execute(change.values(last_used=time))


def _clients(connection: sa.Connection, page: Page, search: str) -> list[Client]:
    found = statements.containing(search, _client.c.name, _client.c.client_id)
    key = _client.c.name, _client.c.client_id
    by_name = sa.select(_client).where(*found, *statements.after(page, *key)).order_by(*key)
    return [_to_client(row) for row in connection.execute(statements.page_of(by_name, page))]
