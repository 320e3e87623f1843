"""What OpenID Connect adds to the example application: discovery, ID tokens, UserInfo and logout."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

from attrs import field, frozen
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from treq.client import HTTPClient

#: What the application asks for. With ``user_info`` it may call the API, too.
SCOPE = "openid profile email user_info"


class RefusedError(Exception):
    """The server or the API has refused, or its answer is not good. The text says why."""


@frozen
class RelyingParty:
    """A client that lets its users log in at an issuer (OpenID Connect Core 1.0).

    :param http: a client that trusts the issuer's certificate.
    :param seconds: the time, in seconds since the epoch.
    """

    issuer: str
    client_id: str
    http: HTTPClient = field(repr=False)
    seconds: Callable[[], float] = time.time

    async def discover(self) -> dict[str, Any]:
        """The issuer's addresses (OpenID Connect Discovery 1.0, section 4).

        :raises RefusedError: there is no document, or it is of another issuer.
        """
        found = await self._get(f"{self.issuer}/.well-known/openid-configuration")
        # Section 4.3: "The issuer value returned MUST be identical to the Issuer URL that was used as
        # the prefix".
        if found.get("issuer") != self.issuer:
            raise RefusedError("The discovery document is of another issuer.")
        return found

    async def validate(self, id_token: str, nonce: str | None) -> dict[str, Any]:
        """The claims of a good ID token (OpenID Connect Core 1.0, section 3.1.3.7).

        :param nonce: the one of the authorization request; None for the ID token of a refresh.
        :raises RefusedError: the signature or a claim is wrong.
        """
        found = await self.discover()
        keys: Any = await self._get(found["jwks_uri"])
        expected: dict[str, Any] = {
            "iss": {"essential": True, "value": self.issuer},
            "aud": {"essential": True, "value": self.client_id},
            "sub": {"essential": True},
            "iat": {"essential": True},
            "exp": {"essential": True},
        }
        if nonce is not None:
            expected["nonce"] = {"essential": True, "value": nonce}
        try:
            token = jwt.decode(id_token, KeySet.import_key_set(keys), algorithms=["RS256"])
            jwt.JWTClaimsRegistry(now=lambda: int(self.seconds()), **expected).validate(token.claims)
        except (JoseError, ValueError) as error:
            raise RefusedError(f"The ID token is not good: {error}.") from None
        # "The ID Token MUST be rejected if [...] it contains additional audiences not trusted by the
        # Client."
        if token.claims["aud"] not in (self.client_id, [self.client_id]):
            raise RefusedError("The ID token is not good: it is for other clients, too.")
        return token.claims

    async def validate_renewed(self, id_token: str, known: Mapping[str, Any]) -> dict[str, Any]:
        """The claims of the ID token of a refresh (OpenID Connect Core 1.0, section 12.2).

        :param known: the claims of the ID token before it.
        :raises RefusedError: it is not good, or not of the same login.
        """
        claims = await self.validate(id_token, None)
        # "its sub Claim Value MUST be the same", and "its auth_time Claim MUST represent the time of the
        # original authentication".
        if any(claims.get(name) != known.get(name) for name in ("sub", "auth_time")):
            raise RefusedError("The new ID token is of another login.")
        return claims

    async def user_info(self, access_token: str, subject: str) -> dict[str, Any]:
        """The claims of UserInfo (OpenID Connect Core 1.0, section 5.3).

        :param subject: the ``sub`` of the ID token.
        :raises RefusedError: the access token is refused, or the answer is of another user.
        """
        found = await self.discover()
        user = await self._get(found["userinfo_endpoint"], access_token)
        # Section 5.3.2: "if they do not match, the UserInfo Response values MUST NOT be used".
        if user.get("sub") != subject:
            raise RefusedError("UserInfo is of another user.")
        return user

    async def logout_address(self, id_token: str, return_to: str) -> str:
        """Where the browser is sent to log out (OpenID Connect RP-Initiated Logout 1.0, section 2).

        :param return_to: a ``post_logout_redirect_uri`` that is registered.
        :raises RefusedError: there is no discovery document.
        """
        parameters = {"id_token_hint": id_token, "post_logout_redirect_uri": return_to}
        return f"{(await self.discover())['end_session_endpoint']}?{urlencode(parameters)}"

    async def _get(self, address: str, access_token: str | None = None) -> dict[str, Any]:
        headers: Any = {} if access_token is None else {"Authorization": f"Bearer {access_token}"}
        response = await self.http.get(address, headers=headers)
        if response.code != 200:
            raise RefusedError(f"{address} answered {response.code}.")
        answer: dict[str, Any] = await response.json()
        return answer
