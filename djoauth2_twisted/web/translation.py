"""Languages: each page is in the language that the browser asks for, if there is a catalogue for it.

The texts of templates and of this package are English; gettext catalogues hold the other languages.
docs/templates.md explains how to make or correct one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from gettext import GNUTranslations, NullTranslations
from pathlib import Path
from typing import Any, cast

from attrs import frozen
from twisted.web.iweb import IRequest
from twisted.web.server import Request
from werkzeug.datastructures import LanguageAccept
from werkzeug.http import parse_accept_header
from zope.interface import Interface

from ..errors import ConfigurationError, RegistrationError
from ..messages import Message

DOMAIN = "djoauth2_twisted"

#: The language that all texts are written in.
SOURCE = "en"

#: The longest Accept-Language header that is read, in bytes. No browser sends a longer one.
MAX_HEADER_LENGTH = 500

Catalogues = dict[str, NullTranslations]


@frozen
class Sentence:
    """The text of a refusal on a page, which begins with a capital and ends with a full stop."""

    refusal: RegistrationError

    def translated(self, catalogue: NullTranslations) -> str:
        """The sentence in a catalogue's language."""
        said = self.refusal.message
        text = said.translated(catalogue) if isinstance(said, Message) else said
        return f"{text[:1].upper()}{text[1:]}."


def translated(value: Any, catalogue: NullTranslations) -> Any:
    """A value of a page's context: each `Message` or `Sentence` becomes its text in a language."""
    match value:
        case Message() | Sentence():
            return value.translated(catalogue)
        case dict():
            return {key: translated(each, catalogue) for key, each in value.items()}
        case _:
            return value


def read_catalogues(folders: Iterable[Path]) -> Catalogues:
    """The catalogues in folders named ``locale``, by language.

    Where a folder's catalogue lacks a text, that of an earlier folder is used.

    :raises ConfigurationError: a catalogue cannot be read.
    """
    found: Catalogues = {SOURCE: NullTranslations()}
    for folder in folders:
        for path in sorted(folder.glob(f"*/LC_MESSAGES/{DOMAIN}.mo")):
            language = path.parent.parent.name.replace("_", "-").lower()
            catalogue = _read(path)
            catalogue.add_fallback(found.get(language, found[SOURCE]))
            found[language] = catalogue
    return found


def _read(path: Path) -> GNUTranslations:
    try:
        with path.open("rb") as file:
            return GNUTranslations(file)
    # The standard library raises various errors, depending on how the file is broken.
    except Exception as error:
        raise ConfigurationError(f"the translation {path} cannot be read: {error}") from None


class _IPreferred(Interface):
    """The languages that the parameters of a request name."""


def prefer(request: IRequest, tags: Sequence[str]) -> None:
    """Prefer languages that a request's parameters name to those that the browser asks for.

    :param tags: language tags (RFC 5646), the preferred one first.
    """
    if tags:
        cast("Request", request).setComponent(_IPreferred, tuple(tags))


def language_of(request: IRequest, known: Collection[str]) -> str:
    """The known language that a request prefers, or else English.

    What its parameters name counts more than what the browser asks for (RFC 9110, section 12.5.4).
    """
    preferred: tuple[str, ...] = cast("Any", _IPreferred(request, ()))
    for tag in preferred:
        if language := _match(tag, known):
            return language
    headers = request.requestHeaders.getRawHeaders(b"accept-language") or []
    said = b",".join(headers)[:MAX_HEADER_LENGTH].decode("latin-1")
    for tag, quality in parse_accept_header(said, LanguageAccept):
        language = _match(tag, known)
        if quality and language:
            return language
    return SOURCE


def _match(tag: str, known: Collection[str]) -> str:
    # RFC 4647, section 3.4: "the language range is progressively truncated from the end until a
    # matching language tag is located".
    tag = tag.lower()
    while tag and tag not in known:
        tag = tag.rpartition("-")[0]
    return tag
