"""Texts for people, which the pages say in each reader's language and the command line in English."""

from __future__ import annotations

from collections.abc import Mapping
from gettext import NullTranslations

import attrs
from attrs import field, frozen


@frozen
class Message:
    """A text that Python makes for a page, in English; the page says it in its reader's language.

    What it speaks of stands in places like ``%(name)s``, and is given by `filled`.

    :param plural: for every ``count`` but one, which is ``%(num)s`` in both texts.
    """

    text: str
    plural: str = ""
    count: int = 1
    values: Mapping[str, object] = field(factory=dict)

    def filled(self, **values: object) -> Message:
        """The same text with values in its places; a `Message` among them is translated with it."""
        return attrs.evolve(self, values=values)

    def translated(self, catalogue: NullTranslations) -> str:
        """The text in a catalogue's language."""
        values = {
            name: value.translated(catalogue) if isinstance(value, Message) else value
            for name, value in self.values.items()
        }
        if self.plural:
            text = catalogue.ngettext(self.text, self.plural, self.count)
            values["num"] = self.count
        else:
            text = catalogue.gettext(self.text)
        return text % values if values else text

    def __str__(self) -> str:
        return self.translated(NullTranslations())
