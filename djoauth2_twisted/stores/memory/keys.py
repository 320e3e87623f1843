"""Signing keys."""

from __future__ import annotations

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from ...interfaces import IKeys
from ...models import SigningKey
from ...protocol.key_states import states_of
from .tables import Tables


@implementer(IKeys)
class MemoryKeys(Tables):
    """`IKeys` in memory."""

    def signing_keys(self) -> Deferred[list[SigningKey]]:
        return succeed(sorted(self._signing_keys.values(), key=lambda key: (key.created, key.kid)))

    def replace_signing_keys(self, before: list[SigningKey], after: list[SigningKey]) -> Deferred[bool]:
        if states_of(self._signing_keys.values()) != states_of(before):
            return succeed(False)
        self._signing_keys = {key.kid: key for key in after}
        return succeed(True)
