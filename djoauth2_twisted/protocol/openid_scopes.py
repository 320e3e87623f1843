"""The scopes of OpenID Connect Core 1.0, section 5.4, which need no registration."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ..messages import Message
from ..models import Scope

OPENID = "openid"
PROFILE = "profile"
EMAIL = "email"

#: What the consent page says of them.
WORDS: Mapping[str, Message] = {
    OPENID: Message("log you in with your account here"),
    PROFILE: Message("see your name"),
    EMAIL: Message("see your email address"),
}

BUILT_IN: Mapping[str, Scope] = {name: Scope(name, str(words)) for name, words in WORDS.items()}

#: Scopes of the standard that are not supported.
_PASSED_OVER = frozenset({"address", "phone", "offline_access"})


def without_passed_over(names: tuple[str, ...], known: Collection[str]) -> tuple[str, ...]:
    """The names of scopes, without those of the standard that are not supported.

    :param known: the names that are registered or built in.
    """
    # OpenID Connect Core 1.0, section 3.1.2.1: "Scope values used that are not understood by an
    # implementation SHOULD be ignored." Clients ask for these at every provider. Refresh tokens are
    # issued without offline_access, as section 11 allows.
    if OPENID not in names:
        return names
    return tuple(name for name in names if name in known or name not in _PASSED_OVER)


def words_of(scope: Scope) -> Message | str:
    """What a page says of a scope, in the reader's language where it is built in."""
    # A registered scope of the same name has its own words.
    return WORDS[scope.name] if BUILT_IN.get(scope.name) == scope else scope.description
