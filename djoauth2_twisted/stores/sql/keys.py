"""`IKeys` on SQL: the table ``djoauth2_signing_key``."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from zope.interface import implementer

from ...errors import AlreadyExists
from ...interfaces import IKeys
from ...models import SigningKey
from ...protocol.key_states import slot_of, states_of
from . import schema, statements
from .database import OnDatabase


@implementer(IKeys)
class SQLKeys(OnDatabase):
    """The signing keys. Each verb is one step; the steps are the functions below the class."""

    def signing_keys(self) -> Deferred[list[SigningKey]]:
        return self.database.read(find_keys)

    def replace_signing_keys(self, before: list[SigningKey], after: list[SigningKey]) -> Deferred[bool]:
        def was_faster(failure: Failure) -> bool:
            failure.trap(AlreadyExists)
            return False

        replacing = self.database.write(_replace, before, after, key="signing keys")
        return replacing.addErrback(was_faster)


_key = schema.signing_key
_KEYS = sa.select(_key).order_by(_key.c.created, _key.c.kid)


def find_keys(connection: sa.Connection) -> list[SigningKey]:
    """All signing keys, as `IKeys.signing_keys` sorts them."""
    return [_to_key(row) for row in connection.execute(_KEYS)]


def _to_key(row: sa.Row[Any]) -> SigningKey:
    values = dict(row._mapping)
    del values["slot"]
    return SigningKey(**values)


def _replace(connection: sa.Connection, before: list[SigningKey], after: list[SigningKey]) -> bool:
    # Locked, so that of two steps the second sees what the first did. Where there are no rows to lock,
    # the unique slots refuse the second.
    found = [_to_key(row) for row in connection.execute(_KEYS.with_for_update())]
    if states_of(found) != states_of(before):
        return False
    kept = {key.kid for key in after}
    for key in found:
        if key.kid not in kept:
            connection.execute(sa.delete(_key).where(_key.c.kid == key.kid))
    known = {key.kid for key in found}
    # A slot is left before another key takes it: retired keys first, then the current ones.
    for key in sorted(after, key=lambda key: (slot_of(key) is not None, slot_of(key) or "")):
        row = {**statements.row_of(key), "slot": slot_of(key)}
        if key.kid in known:
            statements.update(connection, _key.c.kid, key.kid, row)
        else:
            statements.insert(connection, _key, row)
    return True
