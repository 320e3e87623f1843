"""Metadata of the authorization server (RFC 8414) and of protected resources (RFC 9728)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from . import paths
from .redirection import origin_of

SERVER = "oauth-authorization-server"
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
    issuer: str, prefix: str, scopes: Iterable[str], elsewhere: Mapping[str, str]
) -> dict[str, Any]:
    """The metadata of the authorization server (RFC 8414, section 2).

    :param prefix: the path at which the server's tree is mounted.
    :param elsewhere: the paths of endpoints outside that tree, by their names in the metadata.
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
    }


def resource_metadata(address: str, issuer: str, scopes: Iterable[str]) -> dict[str, Any]:
    """The metadata of a protected resource (RFC 9728, section 2)."""
    return {
        "resource": address,
        "authorization_servers": [issuer],
        "scopes_supported": list(scopes),
        "bearer_methods_supported": ["header"],
    }
