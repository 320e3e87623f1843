"""Metadata of the authorization server (RFC 8414) and of protected resources (RFC 9728)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from . import claims, paths
from .redirection import origin_of
from .registration import ID_TOKEN_ALGORITHMS

SERVER = "oauth-authorization-server"
OPENID = "openid-configuration"
RESOURCE = "oauth-protected-resource"


def well_known_path(kind: str, address: str) -> str:
    """The path of an address's metadata below ``/.well-known/``, percent-encoded.

    RFC 8414, section 3.1: "the well-known URI string [is inserted] between the host component and the
    path component"; RFC 9728, section 3.1: "and the path and/or query components".
    """
    parts = urlsplit(address)
    path = kind + parts.path.rstrip("/")
    return quote(f"{path}?{parts.query}" if parts.query else path, safe="%/:?[]@!$&'()*+,;=-._~")


def well_known_address(kind: str, address: str) -> str:
    """The full URL of an address's metadata."""
    return f"{origin_of(address)}/.well-known/{well_known_path(kind, address)}"


def server_metadata(
    issuer: str,
    prefix: str,
    scopes: Iterable[str],
    elsewhere: Mapping[str, str],
    languages: Iterable[str] | None = None,
) -> dict[str, Any]:
    """The metadata of the authorization server (RFC 8414, section 2).

    :param prefix: the path at which the server's tree is mounted.
    :param elsewhere: the paths of endpoints outside that tree, by their names in the metadata.
    :param languages: those of the pages (RFC 5646), with OpenID Connect; None without.
    """
    base = origin_of(issuer) + prefix
    secret = ["client_secret_basic", "client_secret_post"]
    return {
        "issuer": issuer,
        "authorization_endpoint": base + paths.AUTHORIZATION,
        "token_endpoint": base + paths.TOKEN,
        "revocation_endpoint": base + paths.REVOCATION,
        "introspection_endpoint": base + paths.INTROSPECTION,
        **{name: origin_of(issuer) + path for name, path in elsewhere.items()},
        "scopes_supported": list(scopes),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "token_endpoint_auth_methods_supported": secret,
        "revocation_endpoint_auth_methods_supported": secret,
        "introspection_endpoint_auth_methods_supported": secret,
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": True,
        **({} if languages is None else _openid_metadata(base, languages)),
    }


def openid_paths(issuer: str) -> list[str]:
    """The paths of the same metadata below ``/.well-known/``, with OpenID Connect.

    OpenID Connect Discovery 1.0, section 4, appends it to the issuer. A proxy in front takes the path of
    the issuer away. RFC 8414, section 5, puts the path of the issuer behind it.
    """
    return list(dict.fromkeys((OPENID, well_known_path(OPENID, issuer))))


def _openid_metadata(base: str, languages: Iterable[str]) -> dict[str, Any]:
    """What OpenID Connect Discovery 1.0, section 3, adds."""
    return {
        "userinfo_endpoint": base + paths.CLAIMS,
        "jwks_uri": base + paths.KEY_SET,
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": list(ID_TOKEN_ALGORITHMS),
        "claim_types_supported": ["normal"],
        "claims_supported": list(claims.SUPPORTED),
        "claims_parameter_supported": False,
        "request_parameter_supported": False,
        # Its default is true.
        "request_uri_parameter_supported": False,
        "display_values_supported": ["page"],
        "ui_locales_supported": sorted(languages),
    }


def resource_metadata(address: str, issuer: str, scopes: Iterable[str]) -> dict[str, Any]:
    """The metadata of a protected resource (RFC 9728, section 2)."""
    return {
        "resource": address,
        "authorization_servers": [issuer],
        "scopes_supported": list(scopes),
        "bearer_methods_supported": ["header"],
    }
