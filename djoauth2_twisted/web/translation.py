"""Languages: each page in the one that its reader's browser asks for, where there is a catalogue of it.

The texts of templates and of this package are English; gettext catalogues have the others. How to make
or mend one is told in docs/templates.md.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from gettext import GNUTranslations, NullTranslations
from pathlib import Path

from attrs import frozen
from twisted.web.iweb import IRequest
from werkzeug.datastructures import LanguageAccept
from werkzeug.http import parse_accept_header

from ..errors import ConfigurationError, RegistrationError
from ..messages import Message

DOMAIN = "djoauth2_twisted"

#: The language that all texts are written in.
SOURCE = "en"

#: No browser says more about languages, in bytes.
MAX_HEADER_LENGTH = 500

Catalogues = dict[str, NullTranslations]


@frozen
class Sentence:
    """A refusal as a page says it, beginning with a capital and ending with a full stop."""

    refusal: RegistrationError

    def translated(self, catalogue: NullTranslations) -> str:
        """The sentence in a catalogue's language."""
        said = self.refusal.message
        text = said.translated(catalogue) if isinstance(said, Message) else said
        return f"{text[:1].upper()}{text[1:]}."


def read_catalogues(folders: Iterable[Path]) -> Catalogues:
    """The catalogues in folders named ``locale``, by language; what one lacks is in the one before.

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
    # The standard library raises one thing or another, by where the file is broken.
    except Exception as error:
        raise ConfigurationError(f"the translation {path} cannot be read: {error}") from None


def language_of(request: IRequest, known: Collection[str]) -> str:
    """Which of the known languages a request's browser likes best; English where it likes none."""
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
