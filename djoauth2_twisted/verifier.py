"""`ITokenVerifier` over a store of our own."""

from __future__ import annotations

from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred
from zope.interface import implementer

from .credentials import digest
from .interfaces import ITokenStore, ITokenVerifier
from .models import AccessToken
from .protocol.bearer import check_token


@implementer(ITokenVerifier)
@frozen
class StoreVerifier:
    """Looks every token up.

    :param clock: provides IReactorTime.
    """

    clock: Any
    tokens: ITokenStore

    def verify(self, token: str, scopes: tuple[str, ...]) -> Deferred[AccessToken]:
        def judge(found: AccessToken | None) -> AccessToken:
            return check_token(found, scopes, int(self.clock.seconds()))

        return self.tokens.find_access_token(digest(token)).addCallback(judge)
