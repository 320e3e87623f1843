"""Signatures of ID tokens: JWS, JWK and JWT (RFC 7515, RFC 7517, RFC 7519), by joserfc.

The algorithm always comes from the key, and never from a token.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from attrs import field, frozen
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

#: RFC 7518, section 3.3: "A key of size 2048 bits or larger MUST be used with these algorithms."
RSA_BITS = 2048

#: The algorithms whose signature takes longer than 0.3 ms, so that a thread makes it.
SLOW = frozenset({"RS256"})

#: The longest token that is read, in characters.
MAX_LENGTH = 16 * 1024

_MAKERS: Mapping[str, Callable[[], RSAKey | ECKey]] = {
    "RS256": lambda: RSAKey.generate_key(RSA_BITS),
    "ES256": lambda: ECKey.generate_key("P-256"),
}
_READERS: Mapping[str, Callable[[Any], RSAKey | ECKey]] = {
    "RS256": RSAKey.import_key,
    "ES256": ECKey.import_key,
}


class BadToken(ValueError):
    """A token is malformed, or no key of ours has signed it."""


@frozen
class PrivateKey:
    """A private key.

    :param kid: the thumbprint of its public half (RFC 7638).
    """

    kid: str
    algorithm: str
    _key: Any = field(repr=False)

    def public(self) -> dict[str, str]:
        """The public half as a JWK (RFC 7517, section 4), as it is published."""
        members: dict[str, str] = self._key.as_dict(private=False)
        names = ("kty", "n", "e") if members["kty"] == "RSA" else ("kty", "crv", "x", "y")
        wanted = {name: members[name] for name in names}
        return {**wanted, "kid": self.kid, "use": "sig", "alg": self.algorithm}

    def secret(self) -> bytes:
        """The private key as a JWK, in JSON. It is sealed before it is stored."""
        return json.dumps(self._key.as_dict(private=True)).encode("ascii")

    def sign(self, claims: Mapping[str, Any], typ: str = "JWT") -> str:
        """A signed token (RFC 7519, section 7.1).

        :param typ: the header's ``typ`` (RFC 7519, section 5.1).
        """
        header = {"alg": self.algorithm, "kid": self.kid, "typ": typ}
        payload = json.dumps(claims, separators=(",", ":")).encode("ascii")
        return jws.serialize_compact(header, payload, self._key, algorithms=[self.algorithm])


def new_key(algorithm: str) -> PrivateKey:
    """A new key. It takes about 0.1 s for RS256."""
    while True:
        key = _named(algorithm, _MAKERS[algorithm]())
        # A command would take a name that begins so for an option.
        if not key.kid.startswith("-"):
            return key


def read_key(algorithm: str, secret: bytes) -> PrivateKey:
    """The key that `PrivateKey.secret` returned. It takes some 20 ms for RS256.

    :raises ValueError: the bytes are not such a key.
    """
    return _named(algorithm, _READERS[algorithm](json.loads(secret)))


def _named(algorithm: str, key: RSAKey | ECKey) -> PrivateKey:
    return PrivateKey(key.thumbprint(), algorithm, key)


def verify(token: str, keys: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """The claims of a token that one of our keys has signed. Its times are for the caller to judge.

    :param keys: the public keys as JWKs, by their ``kid``.
    :raises BadToken: it is malformed, or none of these keys has signed it.
    """
    try:
        if len(token) > MAX_LENGTH:
            raise BadToken("the token is too long")
        header = json.loads(_decoded(token.partition(".")[0]))
        kid = header.get("kid") if isinstance(header, dict) else None
        public = keys.get(kid) if isinstance(kid, str) else None
        if public is None:
            raise BadToken("no key of this server has signed the token")
        algorithm = public["alg"]
        key = _READERS[algorithm](dict(public))
        claims = json.loads(jws.deserialize_compact(token, key, algorithms=[algorithm]).payload)
    except BadToken:
        raise
    except (JoseError, ValueError, RecursionError, TypeError):
        # ValueError: Python does not convert a number of thousands of digits.
        # TypeError: joserfc expects that `crit` of the header is a list of texts.
        raise BadToken("the token is malformed, or its signature is wrong") from None
    if not isinstance(claims, dict):
        raise BadToken("the token has no claims")
    return claims


def _decoded(part: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except ValueError:
        raise BadToken("the token is malformed") from None


def access_token_hash(access_token: str) -> str:
    """The ``at_hash`` of an ID token that is signed with RS256 or ES256."""
    # OpenID Connect Core 1.0, section 3.1.3.6: "the base64url encoding of the left-most half of the
    # hash of the octets of the ASCII representation of the access_token value".
    half = hashlib.sha256(access_token.encode("ascii")).digest()[:16]
    return base64.urlsafe_b64encode(half).rstrip(b"=").decode("ascii")
