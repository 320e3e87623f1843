"""Access token scopes (RFC 6749, section 3.3)."""

from __future__ import annotations

import re

from ..errors import InvalidScope

# RFC 6749, section 3.3: "scope-token = 1*( %x21 / %x23-5B / %x5D-7E )"
_SCOPE_TOKEN = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,255}")

#: How many scopes a request may name: more than a person reads. A longer list is not looked up.
MAX_SCOPES = 50


def is_scope_token(name: str) -> bool:
    """Whether a name may be a scope's."""
    return _SCOPE_TOKEN.fullmatch(name) is not None


def split(text: str) -> tuple[str, ...]:
    """The names of a scope parameter, each once, in the order sent.

    :raises InvalidScope: one of them cannot be a scope, or there are too many.
    """
    names = tuple(filter(None, dict.fromkeys(text.split(" "))))
    if len(names) > MAX_SCOPES:
        raise InvalidScope("there are too many scopes")
    if not names or not all(is_scope_token(name) for name in names):
        raise InvalidScope("the scope is malformed")
    return names
