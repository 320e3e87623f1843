"""Headers with which a client can pretend to be another user, or to have sent another request.

A proxy that logs people in sends their names in headers to the application behind it. A proxy that
rewrites addresses sends the original one. From a client such headers are forged. New ones appear each
year, so there is a rule and no list: a header is dropped if a word of its name is about identity.
"docs/guard.md" describes the rule.
"""

from __future__ import annotations

import re
from functools import lru_cache

from twisted.web.http_headers import Headers

# Names are matched in lower case and with "-" for "_", since WSGI and CGI treat both alike.

_HARMLESS = re.compile(
    rb"""
    # The guard itself decides whether the resource sees the access token.
    authorization
    # Headers that only a browser itself can set, and no script (Fetch, forbidden request-headers).
    | (x-)?user-?agent | sec-.*
    # The addresses of a request, which the guard does not check.
    | x-forwarded-(for|host|port|proto|protocol|scheme|server|by|ssl)
    """,
    re.VERBOSE,
)

_FORGED = re.compile(
    rb"""
    # Anywhere in a name.
    user | principal | identity | subject | email | claims? | impersonat | authenti | authoriz
    | credential | entitlement | permission | assertion | affiliation
    | oauth | oidc | openid | saml | jwt

    # As a word, or at the end of one.
    | (cert|certificate|group|role|scope)s? (-|$)

    # As a separate word.
    | (^|-) (
        uid | upn | eppn | mail | dn | sub | idp | login | logon | creds
        | auth | authn | authz | remote | mtls | ssl | tls | verify | verified
        | consumer | cas | iap | iv | shib | sm | tailscale | pomerium | vouch | webauth
    ) (-|$)
    | client-?id (-|$) | (access|id|ms)-?tokens? (-|$)

    # The request's method and path.
    | (^|-) (original|rewrite|rewritten|override) (-|$)
    | ^ x-(http-)?method $ | ^ (script-name|path-info) $

    # Everything that proxies forward, except the addresses above. And the header that CGI takes for
    # a proxy's address.
    | ^ x-forwarded- | ^ proxy $
    """,
    re.VERBOSE,
)


@lru_cache(1024)
def is_forged(name: bytes) -> bool:
    """Whether a header that comes from a client must not be believed."""
    spelled = name.lower().replace(b"_", b"-")
    return _FORGED.search(spelled) is not None and _HARMLESS.fullmatch(spelled) is None


def drop_forged(headers: Headers) -> None:
    """Remove the forged headers."""
    for name in [name for name, _ in headers.getAllRawHeaders() if is_forged(name)]:
        headers.removeHeader(name)
