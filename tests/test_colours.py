"""Colours of the pages: they can be read, or are refused."""

from __future__ import annotations

import re

import pytest

from djoauth2_twisted.colours import DARK_GROUNDS, LIGHT_GROUNDS, accent_of, contrast
from djoauth2_twisted.web.pages import templates_folder


def test_contrast_is_that_of_the_standard():
    """WCAG 2.2, "contrast ratio": from 1:1 to 21:1."""
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#777777") == 1
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)


def test_the_grounds_are_those_of_the_style_sheet():
    style = (templates_folder() / "style.css").read_text("utf-8")
    found = {name: re.findall(rf"--{name}: (#[0-9a-f]{{6}});", style) for name in ("card", "ground")}
    assert (found["card"][0], found["ground"][0]) == LIGHT_GROUNDS
    assert (found["card"][1], found["ground"][1]) == DARK_GROUNDS


@pytest.mark.parametrize("colour", ["#000000", "#1b4f9c", "#7A1F5C", "#0b6e4f", "#b00020", "#000080"])
def test_an_accent_can_be_read_on_every_ground(colour):
    """WCAG 2.2, 1.4.3: so can the text on it."""
    accent = accent_of(colour)
    assert accent.light == colour.lower()
    for shade, text, grounds in (
        (accent.light, accent.on_light, LIGHT_GROUNDS),
        (accent.dark, accent.on_dark, DARK_GROUNDS),
    ):
        assert contrast(shade, text) >= 4.5
        assert all(contrast(shade, ground) >= 4.5 for ground in grounds)


@pytest.mark.parametrize("colour", ["#ffff00", "#ffffff", "#ff6600", "#777777"])
def test_a_colour_that_cannot_be_read_is_refused_with_one_that_can(colour):
    with pytest.raises(ValueError, match=r"contrast of at least 4\.5:1") as caught:
        accent_of(colour)
    (fitting,) = re.findall("#[0-9a-f]{6}", str(caught.value))
    assert accent_of(fitting).light == fitting


@pytest.mark.parametrize(
    "text", ["", "blue", "#1b4", "1b4f9c", "#1b4f9", "#1b4f9c;", "#1b4f9g", "#1b4f9c\n"]
)
def test_what_is_no_colour_is_refused(text):
    with pytest.raises(ValueError, match="a colour like #1b4f9c"):
        accent_of(text)
