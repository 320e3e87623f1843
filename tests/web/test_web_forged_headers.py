"""Headers that proxies set, and that the server does not believe from a client."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from twisted.web.http_headers import Headers

from djoauth2_twisted.web.forged_headers import drop_forged, is_forged

FORGED = [
    "X-Endpoint-API-UserInfo", "X-Apigateway-Api-Userinfo", "X-Amzn-Mtls-Clientcert",
    "X-Amzn-Mtls-Clientcert-Subject", "X-Amzn-Oidc-Accesstoken", "X-Vouch-User",
    "X-Vouch-IdP-Claims-Sub", "X-Forwarded-Roles", "X-ARR-ClientCert", "X-ARR-SSL", "Client-Cert",
    "Client-Cert-Chain", "X-SSL-Cert", "X-Forwarded-Tls-Client-Cert-Info", "X-Client-DN",
    "X-Client-Verify", "SSL-Client-Verify", "Iv-User", "Iv-Groups", "Iv-Creds", "SMUser",
    "Remoteuser", "CAS-User", "X-Auth-Token", "X-ID-Token", "Eppn", "X-Goog-IAP-JWT-Assertion",
    "Cf-Access-Jwt-Assertion", "X-MS-Token-AAD-Access-Token", "X-Client-Id", "X-Consumer-Custom-Id",
    "X-Envoy-Original-Path", "X-Rewrite-Path", "X-Forwarded-Prefix", "Path-Info", "Script-Name",
    "X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "Proxy", "X-Permissions",
    "X-Anything-User-Roles-Of-Next-Year", "Mellon-Name-Id-Subject", "X-Authz-Policy",
    "X-SAML-Response",
]  # fmt: skip

#: What ordinary clients send, and applications need.
HARMLESS = [
    "X-Requested-With", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto",
    "X-Forwarded-Port", "X-Request-ID", "X-Correlation-ID", "User-Agent", "Cookie", "X-User-Agent",
    "X-CSRF-Token", "X-CSRFToken", "X-XSRF-Token", "X-Custom-Thing", "Idempotency-Key", "If-Match",
    "If-None-Match", "Content-Language", "Content-MD5", "Accept", "Accept-Language", "Range",
    "Prefer", "Referer", "Via", "Traceparent", "Tracestate", "Baggage", "X-B3-TraceId", "Forwarded",
    "X-Real-IP", "From", "Depth", "Last-Event-ID", "HX-Request", "SOAPAction", "X-GitHub-Event",
    "X-Hub-Signature-256", "DNT", "Sec-Fetch-User", "Sec-Fetch-Mode", "X-Api-Key", "X-API-Version",
    "X-Client-Version", "X-Tenant-ID", "X-Session-ID", "X-Amz-Date", "X-Goog-Api-Client",
    "X-MS-Version", "Signature", "DPoP", "X-Timezone", "X-HTTP-Methods", "X-Certainty", "Digest",
    "Tus-Resumable", "Upload-Offset", "X-Grouping", "Authorization", "Lock-Token", "Destination",
    "Sec-WebSocket-Key", "Access-Control-Request-Method", "Upgrade-Insecure-Requests",
    "X-Do-Not-Track", "Apollographql-Client-Name", "Service-Worker", "X-Forwarded-SSL", "Host",
    "Connection",
]  # fmt: skip

SPELLINGS: list[Callable[[str], str]] = [
    str,
    str.lower,
    str.upper,
    lambda name: name.replace("-", "_"),
    lambda name: name.replace("-", "_", 1),
]


@pytest.mark.parametrize("spell", SPELLINGS)
@pytest.mark.parametrize("name", FORGED)
def test_a_header_of_a_proxy_is_forged(name: str, spell: Callable[[str], str]) -> None:
    """GW-11: however spelled, for WSGI makes "_" of "-"."""
    assert is_forged(spell(name).encode())


@pytest.mark.parametrize("spell", SPELLINGS)
@pytest.mark.parametrize("name", HARMLESS)
def test_a_header_of_a_client_is_not_forged(name: str, spell: Callable[[str], str]) -> None:
    assert not is_forged(spell(name).encode())


def test_all_lines_of_a_header_go() -> None:
    headers = Headers({"X-User": ["a", "b"], "X_User": ["c"], "X-Request-ID": ["d"]})
    drop_forged(headers)
    assert [(name.lower(), values) for name, values in headers.getAllRawHeaders()] == [
        (b"x-request-id", [b"d"])
    ]
