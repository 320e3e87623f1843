"""Reads an ``id_token_hint``: an ID token of ours that a client sends back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from attrs import frozen

from ..errors import InvalidRequest
from ..protocol import logout
from ..protocol.logout import Hint


@frozen
class Hints:
    """Reads hints. Their signature and issuer are checked, and not their expiry.

    :param verify: returns the claims of a token that this server has signed; it raises ValueError for
        another.
    """

    issuer: str
    verify: Callable[[str], Awaitable[Mapping[str, Any]]]

    async def read(self, token: str) -> Hint:
        """What a hint says.

        :raises InvalidRequest: it is not an ID token of this server.
        """
        try:
            claims = await self.verify(token)
        except ValueError:
            raise InvalidRequest("id_token_hint is not an ID token of this server") from None
        return logout.hint_of(claims, self.issuer)
