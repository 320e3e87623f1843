"""Colours of the pages, and their contrast (WCAG 2.2).

A colour is a text like ``#1b4f9c``.
"""

from __future__ import annotations

import re

from attrs import frozen

#: The grounds that text is on, as in ``style.css``: the card and the page behind it.
LIGHT_GROUNDS = ("#ffffff", "#eef1f6")
DARK_GROUNDS = ("#1a1e25", "#101318")

#: WCAG 2.2, section 1.4.3: "a contrast ratio of at least 4.5:1".
MIN_CONTRAST = 4.5

_WHITE, _BLACK = "#ffffff", "#10151d"
_COLOUR = re.compile(r"#[0-9A-Fa-f]{6}")

# A shade is searched for in so many steps from the colour to white or black.
_STEPS = 50


@frozen
class Accent:
    """The colour of links and the main button, and of the text on it, on light and dark grounds."""

    light: str
    on_light: str
    dark: str
    on_dark: str


def accent_of(colour: str) -> Accent:
    """The accent of a colour, which is used as it is on light grounds.

    On dark grounds a lighter shade is used where the colour cannot be read.

    :raises ValueError: it is not a colour, or cannot be read on light grounds. The text says what is
        allowed.
    """
    if not _COLOUR.fullmatch(colour):
        raise ValueError("a colour like #1b4f9c")
    light = colour.lower()
    if (least := _least_contrast(light, LIGHT_GROUNDS)) < MIN_CONTRAST:
        fitting = _shade(light, "#000000", LIGHT_GROUNDS)
        raise ValueError(
            f"a colour with a contrast of at least {MIN_CONTRAST}:1 on the light pages, "
            f"and has {int(least * 10) / 10}:1; {fitting} has enough"
        )
    dark = _shade(light, _WHITE, DARK_GROUNDS)
    return Accent(light, _text_on(light), dark, _text_on(dark))


def contrast(one: str, other: str) -> float:
    """The contrast of two colours, from 1 to 21 (WCAG 2.2, "contrast ratio")."""
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _parts(colour: str) -> tuple[int, ...]:
    return tuple(int(colour[at : at + 2], 16) for at in (1, 3, 5))


def _luminance(colour: str) -> float:
    """WCAG 2.2, "relative luminance"."""
    parts = [part / 255 for part in _parts(colour)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _least_contrast(colour: str, grounds: tuple[str, ...]) -> float:
    return min(contrast(colour, ground) for ground in grounds)


def _shade(colour: str, end: str, grounds: tuple[str, ...]) -> str:
    """The first shade from a colour to white or black that can be read on all grounds."""
    pairs = list(zip(_parts(colour), _parts(end), strict=True))
    for step in range(_STEPS + 1):
        mixed = [round(start + (stop - start) * step / _STEPS) for start, stop in pairs]
        shade = "#{:02x}{:02x}{:02x}".format(*mixed)
        if _least_contrast(shade, grounds) >= MIN_CONTRAST:
            return shade
    return end


def _text_on(colour: str) -> str:
    return max((_WHITE, _BLACK), key=lambda text: contrast(text, colour))
