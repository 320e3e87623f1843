"""Where a browser returns to after a login or a logout."""

from __future__ import annotations

import re

from twisted.web.iweb import IRequest

from ..errors import InvalidRequest
from ..parameters import parse
from ..protocol import paths
from ..protocol.authentication_request import hints_of
from .mounting import IMount
from .reading import MAX_ADDRESS_LENGTH
from .translation import prefer

# The paths that a browser may return to. No browser takes one of them for another origin.
_LOCAL = re.compile(r"/(?![/\\])[!-\[\]-~]*")


def local_path(returning_to: str | None) -> str:
    """The path to return to after a login: the given one if it is local, or the empty string."""
    # RFC 9700, section 4.11: an authorization server must not be an open redirector.
    path = returning_to or ""
    return path if _LOCAL.fullmatch(path) and len(path) <= MAX_ADDRESS_LENGTH else ""


def next_path(request: IRequest, returning_to: str) -> str:
    """The path that a login leads to: the given one if it is local, or the login page."""
    return local_path(returning_to) or f"{IMount(request).path}{paths.LOGIN}"


def may_lead_away(request: IRequest, returning_to: str) -> bool:
    """Whether the redirects from a local path can end at a client, with a code or with an error.

    An authorization endpoint may be mounted anywhere. These pages of ours never redirect to a client.
    """
    own = tuple(IMount(request).path + path for path in (paths.ACCOUNT, paths.ADMIN, paths.LOGOUT))
    return returning_to != "" and not returning_to.startswith(own)


def follow_hints(request: IRequest, returning_to: str) -> str:
    """Prefer the languages that the authentication request names which a path repeats.

    :returns: the name that it wants to be filled in, or the empty string.
    """
    try:
        hint, languages = hints_of(parse(returning_to.partition("?")[2].encode()))
    except InvalidRequest:
        # The page that the browser returns to answers this.
        return ""
    prefer(request, languages)
    return hint
