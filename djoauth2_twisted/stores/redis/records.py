"""Grants, pairs and access tokens as JSON, the values of the keys."""

from __future__ import annotations

import json

import attrs

from ...models import AccessToken, Grant, ResourceOwner, TokenPair
from .keys import entry

#: The fields of a grant's record that the scripts read and `Grant` does not have.
_FOR_SCRIPTS = ("live", "access", "entry")

_BYTES_OF_PAIR = ("access_digest", "refresh_digest", "predecessor", "sealed_answer")


def grant_record(grant: Grant, pair: TokenPair | None) -> str:
    """A grant with the keys of what is deleted with it.

    :param pair: its current tokens; None before its code is redeemed.
    """
    content = attrs.asdict(grant)
    content |= {
        "code_digest": grant.code_digest.hex(),
        "family_digest": grant.family_digest and grant.family_digest.hex(),
        "live": pair and pair.refresh_digest and pair.refresh_digest.hex(),
        "access": pair and pair.access_digest.hex(),
        "entry": entry(grant),
    }
    return json.dumps(content)


def read_grant(record: bytes | None) -> Grant | None:
    """The grant of a record."""
    if record is None:
        return None
    content = json.loads(record)
    content["owner"] = ResourceOwner(**content["owner"])
    content["scopes"] = tuple(content["scopes"])
    content["code_digest"] = bytes.fromhex(content["code_digest"])
    family = content.get("family_digest")
    content["family_digest"] = family and bytes.fromhex(family)
    for name in _FOR_SCRIPTS:
        content.pop(name, None)
    return Grant(**content)


def pair_record(pair: TokenPair) -> str:
    """A pair of tokens."""
    content = attrs.asdict(pair)
    content |= {name: content[name] and content[name].hex() for name in _BYTES_OF_PAIR}
    return json.dumps(content)


def read_pair(record: bytes | None) -> TokenPair | None:
    """The pair of a record."""
    if record is None:
        return None
    content = json.loads(record)
    content |= {name: content[name] and bytes.fromhex(content[name]) for name in _BYTES_OF_PAIR}
    return TokenPair(**{**content, "scopes": tuple(content["scopes"])})


def access_token_record(grant: Grant, pair: TokenPair) -> str:
    """An access token, without what its grant's record says."""
    return json.dumps(
        {
            "grant_id": grant.id,
            "scopes": pair.scopes,
            "issued": pair.issued,
            "expires": pair.access_expires,
        }
    )


def read_access_token(record: bytes | None, grant: Grant | None) -> AccessToken | None:
    """The access token of a record and its grant."""
    if record is None or grant is None:
        return None
    token = json.loads(record)
    return AccessToken(
        client_id=grant.client_id,
        user=grant.owner,
        scopes=tuple(token["scopes"]),
        issued=token["issued"],
        expires=token["expires"],
        grant_id=grant.id,
    )
