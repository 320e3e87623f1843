"""The ID tokens of the token endpoint (OpenID Connect Core 1.0, sections 3.1.3.3 and 12.2)."""

from __future__ import annotations

from collections.abc import Collection

from attrs import frozen

from ..conf import Settings
from ..key_ring import KeyRing
from ..models import Client, Grant
from ..protocol.id_token import claims_of
from ..protocol.jose import PrivateKey
from ..protocol.openid_scopes import OPENID


@frozen
class IdTokens:
    """Makes the ID tokens of one server."""

    issuer: str
    settings: Settings
    ring: KeyRing

    async def signer(self, client: Client) -> PrivateKey:
        """The key for a client. It is read before the store's step, so that no code is lost.

        :raises TemporarilyUnavailable: it cannot be read.
        """
        return await self.ring.signer(client.id_token_alg)

    async def issue(
        self,
        signer: PrivateKey,
        client: Client,
        grant: Grant,
        access_token: str,
        *,
        scopes: Collection[str],
        issued: int,
        is_first: bool,
    ) -> str | None:
        """An ID token; None where the scopes do not include ``openid``.

        :param scopes: those of the access token.
        :param issued: in seconds since the epoch.
        :param is_first: whether it is the answer to the code.
        """
        if OPENID not in scopes:
            return None
        claims = claims_of(
            self.issuer,
            client,
            grant,
            access_token,
            issued=issued,
            lifetime=self.settings.access_token_lifetime,
            is_first=is_first,
        )
        return await self.ring.sign(signer, claims)
