"""Headers by which a client makes itself look like somebody else, or a request like another.

Proxies that log people in tell the application behind them who came by headers, and rewriting ones
what was asked for first. From a client they are forged. New ones are made every year, so that there is a
rule, and no list: a header goes if a word of its name speaks of identity. "docs/guard.md" tells it to
those who use the guard.
"""

from __future__ import annotations

import re

from twisted.web.http_headers import Headers

# Names are looked at in lower case and with "-" for "_", for WSGI and CGI make one of both.

_HARMLESS = re.compile(
    rb"""
    # It is for the guard to say whether the access token comes through.
    authorization
    # What a browser says of itself; scripts in it cannot (Fetch, forbidden request-headers).
    | (x-)?user-?agent | sec-.*
    # Where a request came from and went to, which the guard does not judge.
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

    # As a word, or the last part of one.
    | (cert|certificate|group|role|scope)s? (-|$)

    # As a word of its own.
    | (^|-) (
        uid | upn | eppn | mail | dn | sub | idp | login | logon | creds
        | auth | authn | authz | remote | mtls | ssl | tls | verify | verified
        | consumer | cas | iap | iv | shib | sm | tailscale | pomerium | vouch | webauth
    ) (-|$)
    | client-?id (-|$) | (access|id|ms)-?tokens? (-|$)

    # What was asked for.
    | (^|-) (original|rewrite|rewritten|override) (-|$)
    | ^ x-(http-)?method $ | ^ (script-name|path-info) $

    # All that proxies forward but where from and where to. And what CGI makes a proxy's address of.
    | ^ x-forwarded- | ^ proxy $
    """,
    re.VERBOSE,
)


def is_forged(name: bytes) -> bool:
    """Whether a header, from a client, is not to be believed."""
    spelled = name.lower().replace(b"_", b"-")
    return _FORGED.search(spelled) is not None and _HARMLESS.fullmatch(spelled) is None


def drop_forged(headers: Headers) -> None:
    """Remove what a client made up."""
    for name, _ in list(headers.getAllRawHeaders()):
        if is_forged(name):
            headers.removeHeader(name)
