"""Usernames and passwords as people type them (RFC 8265, which calls these rules PRECIS profiles).

One keyboard sends ``ü`` as one character and another as two, a phone adds a space after a name, and
people write their own name in capitals or not. What is compared is therefore never the text as typed.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import TypeVar

from ..models import User

#: The longest name of a client or user, in bytes of UTF-8.
MAX_NAME_LENGTH = 255

#: The longest password, in characters.
MAX_PASSWORD_LENGTH = 1024

#: Of how many groups of names that are alike the operator is warned at once.
MAX_NAMESAKES = 20

#: How many characters of a text may become one by normalization, at most.
_MAX_COMPOSED = 4

_U = TypeVar("_U", bound=User)


def username(typed: str) -> str:
    """A typed name as it is stored (RFC 8265, section 3.4): no white space around it, no characters of
    full or half width, and in Normalization Form C. Capital letters stay.
    """
    trimmed = typed.strip()
    # A longer text is never a name, and to normalize it may take long.
    if len(trimmed) > _MAX_COMPOSED * MAX_NAME_LENGTH:
        return trimmed
    return unicodedata.normalize("NFC", "".join(map(_usual_width, trimmed)))


def folded(name: str) -> str:
    """The form in which two usernames are equal if they differ only in case or Unicode form.

    RFC 8265, section 3.3, maps to lower case. This is the caseless matching of the Unicode Standard,
    section 3.13 (D145), which finds ``straße`` also for its capitals ``STRASSE``.
    """
    decomposed = unicodedata.normalize("NFD", username(name))
    return unicodedata.normalize("NFD", decomposed.casefold())


def password(typed: str) -> str:
    """A typed password as it is hashed (RFC 8265, section 4.2): each space is the usual one, and the
    text is in Normalization Form C.
    """
    # A longer text is never a password, as above.
    if len(typed) > _MAX_COMPOSED * MAX_PASSWORD_LENGTH:
        return typed
    return unicodedata.normalize("NFC", "".join(map(_usual_space, typed)))


def choose(typed: str, users: Sequence[_U]) -> _U | None:
    """The user whom a typed name means.

    :param users: those whose names are equal when folded. There may be several in a database from
        before names were folded: then the name must be typed as it is stored.
    """
    for form in (typed, username(typed)):
        for user in users:
            if user.username == form:
                return user
    return users[0] if len(users) == 1 else None


def warning_of(namesakes: Sequence[str]) -> str:
    """A line for the operator about names that differ only in case or Unicode form."""
    # In ASCII, as two Unicode forms of a name look the same.
    names = ", ".join(map(ascii, namesakes))
    return f"These users must log in with exactly their names, which are alike otherwise: {names}"


def _usual_width(character: str) -> str:
    # RFC 8265, section 3.3.1: "Width Mapping Rule: Map fullwidth and halfwidth code points to their
    # decomposition mappings".
    kind, _, mapped = unicodedata.decomposition(character).partition(" ")
    return chr(int(mapped, 16)) if kind in {"<wide>", "<narrow>"} else character


def _usual_space(character: str) -> str:
    # RFC 8265, section 4.2.2: "Any instances of non-ASCII space MUST be mapped to SPACE (U+0020)".
    return " " if unicodedata.category(character) == "Zs" else character
