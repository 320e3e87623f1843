"""The look of a site by its settings: its name, logo, colour and links on every page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from web_driver import Answer, System

from djoauth2_twisted import Settings
from djoauth2_twisted.errors import ConfigurationError
from djoauth2_twisted.web.brand import Brand

MakeSystem = Callable[..., System]

PNG = b"\x89PNG\r\n\x1a\n"
LOGIN, STYLE = "/oauth2/login/", "/oauth2/style.css"


def addresses(page: Answer, tag: str, name: str) -> list[str | None]:
    return [found[name] for each, found in page.page.elements if each == tag and name in found]


def test_without_settings_the_host_stands_there(system: System) -> None:
    page = system.send("GET", LOGIN)
    assert "as.example" in page.words
    assert addresses(page, "img", "src") == []
    assert system.send("GET", "/oauth2/logo/").status == 404
    for word in ("Help", "Privacy", "Terms", "forgotten"):
        assert word not in page.words


def test_name_of_the_site(make_system: MakeSystem) -> None:
    """Everything that an operator writes is text on a page."""
    page = make_system(Settings(site_name="Müller & <b>Söhne</b>")).send("GET", LOGIN)
    assert "Müller & <b>Söhne</b>" in page.words
    assert "as.example" not in page.words


def test_logo_of_the_site(make_system: MakeSystem, tmp_path: Path) -> None:
    """It comes from us; on dark grounds it may be another; browsers keep it until it changes."""
    light, dark = tmp_path / "light", tmp_path / "dark"
    light.write_bytes(PNG + b"light")
    dark.write_bytes(b"GIF89a dark")
    system = make_system(Settings(site_logo=str(light), site_logo_dark=str(dark)))
    light.unlink()
    page = system.send("GET", LOGIN)
    (shown,), (shown_dark,) = addresses(page, "img", "src"), addresses(page, "source", "srcset")
    for address, kind, content in (
        (shown, "image/png", PNG + b"light"),
        (shown_dark, "image/gif", b"GIF89a dark"),
        ("/oauth2/logo/", "image/png", PNG + b"light"),
    ):
        answer = system.send("GET", address or "")
        assert (answer.status, answer.body) == (200, content)
        assert answer.header("content-type") == kind
        assert "max-age" in (answer.header("cache-control") or "")
        assert answer.header("content-security-policy") == "default-src 'none'; sandbox"
    assert system.send("GET", "/oauth2/logo/?v=0123456789abcdef").status == 404
    assert system.send("POST", "/oauth2/logo/", b"").status == 405


def test_icon_of_the_site(make_system: MakeSystem, tmp_path: Path) -> None:
    """Every page names it: the logo, or a drawing in the colour of the site."""
    logo = tmp_path / "logo.png"
    logo.write_bytes(PNG)
    drawn = make_system(Settings(accent_color="#7a1f5c"))
    assert '<link rel="icon" href="/oauth2/icon/">' in drawn.send("GET", LOGIN).text
    answer = drawn.send("GET", "/oauth2/icon/")
    assert answer.header("content-type") == "image/svg+xml"
    assert "#7a1f5c" in answer.text
    answer = make_system(Settings(site_logo=str(logo))).send("GET", "/oauth2/icon/")
    assert (answer.header("content-type"), answer.body) == ("image/png", PNG)


def test_colour_of_the_site(make_system: MakeSystem) -> None:
    """In the style sheet, because the pages' policy allows nothing inline; lighter by night."""
    style = make_system(Settings(accent_color="#7A1F5C")).send("GET", STYLE)
    assert "--accent: #7a1f5c; --on-accent: #ffffff;" in style.text
    accent = Brand.of(Settings(accent_color="#7A1F5C")).accent
    assert accent is not None
    assert f"--accent: {accent.dark}; --on-accent: #10151d;" in style.text
    assert style.text.index(accent.dark) < style.text.index("prefers-contrast")


@pytest.mark.parametrize(
    ("setting", "words"),
    [("support_url", "Help"), ("privacy_url", "Privacy"), ("terms_url", "Terms")],
)
def test_links_of_the_site(make_system: MakeSystem, setting: str, words: str) -> None:
    """On the consent page too, which has no other footer."""
    named: dict[str, Any] = {setting: "https://help.example/?a=1&b=2"}
    system = make_system(Settings(**named))
    pages = system.send("GET", LOGIN), system.add_client("App").ask(system.browser("alice"))
    for page in pages:
        assert words in page.words
        assert "https://help.example/?a=1&b=2" in addresses(page, "a", "href")


def test_where_to_go_with_a_forgotten_password(make_system: MakeSystem) -> None:
    page = make_system(Settings(recovery_url="mailto:help@example.com")).send("GET", LOGIN)
    assert "mailto:help@example.com" in addresses(page, "a", "href")
    assert "Forgotten your password?" in page.words


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("site_name", value) for value in ("a\nb", " a", "x" * 61, 7)),
        *(("accent_color", value) for value in ("blue", "#ffff00", 7)),
        *(
            ("support_url", value)
            for value in ("http://help.example", "javascript:alert(1)", "help", "mailto:", "https://", 7)
        ),
        *(("site_logo", value) for value in ("a\0b", 7)),
    ],
)
def test_a_setting_that_cannot_be_used(name: str, value: object) -> None:
    """One line at the start that says what is allowed."""
    named: dict[str, Any] = {name: value}
    with pytest.raises(ConfigurationError, match=f"^{name.upper()} is .*: it must be ") as caught:
        Settings(**named)
    assert "\n" not in str(caught.value)
    assert caught.value.about == name


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read"),
        (b"<svg/>", "a picture must be PNG, JPEG, GIF or WebP"),
        (PNG + bytes(16 * 1024), "a picture has at most 16 KiB"),
    ],
)
@pytest.mark.parametrize("setting", ["site_logo", "site_logo_dark"])
def test_a_logo_that_cannot_be_used(
    make_system: MakeSystem, tmp_path: Path, content: bytes | None, said: str, setting: str
) -> None:
    """It is judged like the picture of a client."""
    good, path = tmp_path / "good.png", tmp_path / "logo.png"
    good.write_bytes(PNG)
    if content is not None:
        path.write_bytes(content)
    named: dict[str, Any] = {"site_logo": str(good), setting: str(path)}
    with pytest.raises(ConfigurationError, match=f"^{setting.upper()}: .*{said}") as caught:
        make_system(Settings(**named))
    assert "\n" not in str(caught.value)
    assert caught.value.about == setting


def test_a_dark_logo_needs_another(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="SITE_LOGO_DARK needs SITE_LOGO"):
        Brand.of(Settings(site_logo_dark=str(tmp_path)))
