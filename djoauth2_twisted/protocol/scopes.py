"""Access token scopes (RFC 6749, section 3.3)."""

from __future__ import annotations

import re

from ..errors import InvalidScope

# RFC 6749, section 3.3: "scope-token = 1*( %x21 / %x23-5B / %x5D-7E )"
_SCOPE_TOKEN = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,255}")

#: How many scopes a request may name. A longer list on the consent page is not read.
MAX_SCOPES = 50


#: The scopes that let a client only see who the user is: that of the example API, and those of OpenID
#: Connect Core 1.0, sections 3.1.2.1 and 5.4.
IDENTITY = frozenset({"user_info", "openid", "profile", "email"})


def is_scope_token(name: str) -> bool:
    """Whether a text is a valid name of a scope, of at most 255 characters."""
    return _SCOPE_TOKEN.fullmatch(name) is not None


def split(text: str) -> tuple[str, ...]:
    """The names in a scope parameter, each once, in their order.

    :raises InvalidScope: a name is not valid, there is none, or there are more than `MAX_SCOPES`.
    """
    names = tuple(filter(None, dict.fromkeys(text.split(" "))))
    if len(names) > MAX_SCOPES:
        raise InvalidScope("there are too many scopes")
    if not names or not all(is_scope_token(name) for name in names):
        raise InvalidScope("the scope is malformed")
    return names
