"""Pages in the language that a browser asks for, and the catalogues that they are in."""

from __future__ import annotations

import ast
import io
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from gettext import GNUTranslations
from pathlib import Path
from typing import Any

import pytest
from admin_driver import ADMIN, administrator, form_of, send
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from jinja2 import Environment
from web_driver import App, Browser, System, assert_not_sent

from djoauth2_twisted.credentials import random_string
from djoauth2_twisted.errors import ConfigurationError
from djoauth2_twisted.messages import Message
from djoauth2_twisted.web import translation
from djoauth2_twisted.web.pages import Pages

ROOT = Path(__file__).resolve().parent.parent.parent
LOCALE = Path(translation.__file__).resolve().parent.parent / "locale"
PO = LOCALE / "de" / "LC_MESSAGES" / "djoauth2_twisted.po"

MakeSystem = Callable[..., System]


def in_german(browser: Browser, address: str) -> Any:
    return browser.get(address, [("Accept-Language", "de")])


# Which language.


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        (None, "en"),
        ("", "en"),
        ("de", "de"),
        ("DE", "de"),
        ("de-AT", "de"),
        ("de-CH-1996, en;q=0.9", "de"),
        ("de_AT", "en"),
        ("en, de", "en"),
        ("en-GB, de;q=0.9", "en"),
        ("fr, de;q=0.5, en;q=0.4", "de"),
        ("fr, en;q=0.5, de;q=0.6", "de"),
        ("fr", "en"),
        ("*", "en"),
        ("*, de;q=0.1", "de"),
        ("de;q=0", "en"),
        ("de;q=0, *", "en"),
        ("de;q=2", "en"),
        ("de;q=x, en", "en"),
        (",,;;=", "en"),
        ("d", "en"),
        ("de-", "de"),
        ("-de", "en"),
        ("../../etc/passwd", "en"),
        ("\udcff\udcfe", "en"),
        ('"de', "en"),
        ("de" * 2000, "en"),
        ("x," * 5000 + "de", "en"),
    ],
    ids=lambda value: ascii(value and value[:20]),
)
def test_the_language_that_is_liked_best(system: System, accepted: str | None, language: str) -> None:
    """RFC 9110, section 12.5.4; RFC 4647, section 3.4. What is malformed asks for nothing."""
    headers = [] if accepted is None else [("Accept-Language", accepted)]
    answer = system.send("GET", "/oauth2/login/", None, headers)
    assert answer.status == 200
    assert answer.header("content-language") == language
    assert "Accept-Language" in (answer.header("vary") or "")
    assert dict(answer.page.elements)["html"] == {"lang": language}
    assert ("Anmelden" in answer.words) == (language == "de")


def test_two_lines_are_one(system: System) -> None:
    lines = [("Accept-Language", "fr"), ("Accept-Language", "de")]
    assert system.send("GET", "/oauth2/login/", None, lines).header("content-language") == "de"


def test_the_whole_way_in_german(app: App, system: System) -> None:
    browser = system.browser()
    page = in_german(browser, "/oauth2/login/?next=/x")
    wrong = browser.post(
        "/oauth2/login/",
        {**page.form("password").hidden, "username": "alice", "password": "wrong"},
        [("Accept-Language", "de")],
    )
    assert "Der Name oder das Passwort ist falsch." in wrong.words
    browser.log_in("alice", page=wrong)
    consent = in_german(browser, app.address())
    assert "Darf App sehen, wer Sie sind?" in consent.words
    assert "Weiter geht es bei app.example." in consent.words
    app.tokens(browser)
    account = in_german(browser, "/oauth2/account/")
    assert "Zugelassen am 2023-11-14, zuletzt benutzt am 2023-11-14." in account.words
    assert "Sie sind angemeldet als alice." in in_german(browser, "/oauth2/logout/").words


def test_an_errors_description_stays_english(system: System, app: App) -> None:
    """RFC 6749, section 5.2: it is ASCII, and for the client's developer."""
    browser = system.browser()
    answer = in_german(browser, app.address(redirect_uri="https://evil.example/"))
    assert_not_sent(answer)
    assert "Diese Anfrage kann nicht beantwortet werden" in answer.words
    assert "Für die Entwickler der Anwendung: redirect_uri is not" in answer.words
    assert ("span", {"lang": "en"}) in answer.page.elements


def test_counts_agree(system: System) -> None:
    german = translation.read_catalogues([LOCALE])["de"]
    said = Message("%(num)s x", "%(num)s xs", 2).translated(german)
    assert said == "2 xs", "what a catalogue lacks is English"
    told = [_too_many(seconds).translated(german) for seconds in (1, 2)]
    assert ["1 Sekunde " in told[0], "2 Sekunden " in told[1]] == [True, True]


def test_a_text_speaks_of_something() -> None:
    """What stands in its places is translated where it is a text of ours, and never formatted itself."""
    german = translation.read_catalogues([LOCALE])["de"]
    message = Message("%(what)s has at most %(most)s characters")
    said = message.filled(what=Message("a password"), most=7)
    assert str(said) == "a password has at most 7 characters"
    assert said.translated(german) == "Ein Passwort darf höchstens 7 Zeichen haben"
    assert str(message.filled(what="%(most)s %d 100 %", most=7)).startswith("%(most)s %d 100 % has")
    assert str(Message("100 %")) == "100 %"


IN_GERMAN = ("Accept-Language", "de")


@pytest.mark.parametrize(
    ("page", "fields", "said"),
    [
        ("clients/add", {"name": ""}, "Der Name eines Clients muss 1 bis 255 Bytes lang sein, "),
        ("clients/add", {"description": "x" * 4001}, "Die Beschreibung eines Clients darf höchstens 4"),
        ("clients/add", {"redirect_uris": "http://a.example/"}, "Eine Redirect-URI muss mit https "),
        ("clients/add", {"redirect_uris": ""}, "Ein Client braucht mindestens eine Redirect-URI."),
        (
            "clients/add",
            {"scope_choice": "some", "scopes": "no%(x)sne"},
            "Es gibt keinen Scope 'no%(x)sne'.",
        ),
        ("client?id={client}", {"redirect_uris": "https://a.example/#"}, "Eine Redirect-URI darf kein"),
        ("scopes/add", {"name": "a b"}, "Der Name eines Scopes muss aus 1 bis 255 ASCII-Zeichen "),
        ("scopes/add", {"name": "verify"}, "Den Scope 'verify' gibt es schon."),
        ("users/add", {"username": "alice"}, "Den Benutzer 'alice' gibt es schon."),
        ("users/add", {"password": ""}, "Ein Passwort hat mindestens 8 Zeichen."),
        ("users/add", {"email": "x" * 256}, "Die E-Mail-Adresse darf höchstens 255 Zeichen haben, "),
        ("user/delete?id=root", {}, "Das ist der letzte Verwalter: Ernennen Sie erst einen anderen."),
        ("scopes/add", {"csrf_token": ""}, "Diese Seite ist abgelaufen: Bitte prüfen Sie, was hier "),
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_refusals_on_forms(
    app: App, system: System, page: str, fields: dict[str, str], said: str
) -> None:
    """Those that the command line prints in English."""
    good = {
        "clients": {"name": "App", "redirect_uris": "https://a.example/"},
        "scopes": {"name": "new", "description": "x"},
        "users": {"username": "new", "password": "a good password"},
    }
    root = administrator(system)
    where = ADMIN + page.format(client=app.client_id)
    everything = {**good.get(page.partition("/")[0], {}), **fields}
    answer = send(root, form_of(root.get(where)), [IN_GERMAN], **everything)
    assert answer.status in (400, 403, 409)
    assert said in answer.words
    (_,) = [found for _, found in answer.page.elements if found.get("role") == "alert"]


def test_no_refusal_is_only_english() -> None:
    """Those of a store's look-ups are no form's, and end as a page that is not there."""
    found = 0
    for place in ("protocol", "web", "administration.py"):
        path = ROOT / "djoauth2_twisted" / place
        for source in [path] if path.is_file() else path.rglob("*.py"):
            for node in ast.walk(ast.parse(source.read_text())):
                if isinstance(node, ast.Call) and getattr(node.func, "id", "") in REFUSALS:
                    assert all(isinstance(said, ast.Call) for said in node.args), source
                    found += 1
    assert found > 20


REFUSALS = {"RegistrationError", "AlreadyExists"}


def _too_many(seconds: int) -> Message:
    from djoauth2_twisted.web.throttle import too_many

    return too_many(seconds)


# The catalogue.


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    """Every text of templates and code, as the first command of docs/templates.md finds it."""
    told = (ROOT / "docs" / "templates.md").read_text("utf-8")
    command = shlex.split(told.partition("<!-- translate -->\n```sh\n")[2].partition("\n")[0])
    made = tmp_path_factory.mktemp("sources") / "made.pot"
    command[command.index("-o") + 1] = str(made)
    assert command[:2] == ["pybabel", "extract"]
    frontend = [sys.executable, "-m", "babel.messages.frontend"]
    subprocess.run([*frontend, *command[1:]], cwd=ROOT, check=True, capture_output=True)
    with made.open("rb") as file:
        return read_po(file)


@pytest.fixture(scope="module")
def catalogue() -> Catalog:
    with PO.open("rb") as file:
        return read_po(file, locale="de", abort_invalid=True)


def forms(text: Any) -> tuple[str, ...]:
    """The singular and the plural of a text of a catalogue, or the text alone."""
    return (text,) if isinstance(text, str) else tuple(text)


def test_the_catalogue_has_every_text(catalogue: Catalog, sources: Catalog) -> None:
    """And no other, and none is missing or in doubt."""
    texts, wanted = ({message.id for message in each if message.id} for each in (catalogue, sources))
    assert texts == wanted
    assert not catalogue.obsolete
    for message in catalogue:
        assert not message.fuzzy, message.id
        if message.id:
            assert all(forms(message.string)), message.id


def test_every_message_of_the_code_is_extracted(catalogue: Catalog) -> None:
    """`pybabel` looks at the call's shape; one that it overlooks would stay English."""
    texts = {message.id if isinstance(message.id, str) else message.id[0] for message in catalogue}
    calls = [
        node
        for path in (ROOT / "djoauth2_twisted").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Message"
    ]
    assert len(calls) >= 6
    for call in calls:
        assert ast.literal_eval(call.args[0]) in texts


_PLACEHOLDER = re.compile(r"%\(\w+\)s|</?\w+|href|datetime")


def test_placeholders_and_elements_agree(catalogue: Catalog) -> None:
    for message in catalogue:
        if message.id:
            # German has a singular and a plural, as English has.
            for text, source in zip(forms(message.string), forms(message.id), strict=True):
                assert sorted(_PLACEHOLDER.findall(text)) == sorted(_PLACEHOLDER.findall(source))
                assert "%" not in _PLACEHOLDER.sub("", text)


def test_what_is_installed_is_what_the_catalogue_says(catalogue: Catalog) -> None:
    made = io.BytesIO()
    write_mo(made, catalogue)
    with PO.with_suffix(".mo").open("rb") as file:
        installed = GNUTranslations(file)
    compiled = GNUTranslations(io.BytesIO(made.getvalue()))
    texts, wanted = dict(vars(installed)["_catalog"]), dict(vars(compiled)["_catalog"])
    # The header tells Babel's version.
    texts.pop(""), wanted.pop("")
    assert texts == wanted
    assert str(catalogue.plural_expr) == "(n != 1)"


# Translations of an operator's own.


def keep_catalogue(folder: Path, language: str, **texts: str) -> Path:
    """A folder of templates with a catalogue in it."""
    path = folder / "locale" / language / "LC_MESSAGES" / "djoauth2_twisted.mo"
    path.parent.mkdir(parents=True)
    catalogue = Catalog(locale=language)
    for text, translated in texts.items():
        catalogue.add(text.replace("_", " "), translated)
    with path.open("wb") as file:
        write_mo(file, catalogue)
    return path


def test_a_translation_of_ones_own(make_system: MakeSystem, tmp_path: Path) -> None:
    """A further language; other words of a shipped one; other words of the English texts."""
    keep_catalogue(tmp_path, "pt_BR", Log_in="Entrar")
    keep_catalogue(tmp_path, "de", Log_in="Einloggen")
    keep_catalogue(tmp_path, "en", Log_in="Sign in")
    system = make_system(templates=str(tmp_path))
    for accepted, language, words in (
        ("pt-BR", "pt-br", "Entrar Name Password Entrar"),
        ("de", "de", "Einloggen Name Passwort Einloggen"),
        ("fr", "en", "Sign in Name Password Sign in"),
    ):
        answer = system.send("GET", "/oauth2/login/", None, [("Accept-Language", accepted)])
        assert answer.header("content-language") == language
        assert words in answer.words


@pytest.mark.parametrize("content", [b"", b"x", b"\xde\x12\x04\x95" + b"\xff" * 40])
def test_a_translation_that_cannot_be_read(tmp_path: Path, content: bytes) -> None:
    path = keep_catalogue(tmp_path, "de")
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"djoauth2_twisted\.mo cannot be read"):
        Pages(str(tmp_path))


def test_each_template_is_compiled_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """However many languages there are; the texts are those of each language."""
    # The tests share what the shipped templates are compiled to; this one is of this test alone.
    own = '{% extends "shipped/error.html" %}{# ' + random_string(30) + " #}"
    (tmp_path / "own.html").write_text(own)
    compiled: list[str] = []
    compile_source = Environment.compile

    def compile_and_note(self: Environment, source: Any, name: str, *arguments: Any) -> Any:
        compiled.append(name)
        return compile_source(self, source, name, *arguments)

    monkeypatch.setattr(Environment, "compile", compile_and_note)
    pages = Pages(str(tmp_path))
    texts = {}
    for language in ("en", "de", "en"):
        context = {"status": 400, "description": "x", "again": "", "request_id": "x", "client": None}
        texts[language] = pages.render(language, "own.html", {"mount": "/oauth2", **context})
    assert texts["en"] != texts["de"]
    assert compiled.count("own.html") == 1
