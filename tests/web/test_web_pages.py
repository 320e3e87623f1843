"""Pages: whatever is shown on them stays text, and an operator can bring pages of one's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from web_driver import Answer, App, Browser, System, assert_not_sent

from djoauth2_twisted.credentials import digest
from djoauth2_twisted.errors import ConfigurationError
from djoauth2_twisted.models import Client, Scope, User
from djoauth2_twisted.web.pages import Pages, hidden_fields, templates_folder

from web_driver import wait  # isort: skip

MakeSystem = Callable[..., System]

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'><svg/onload=alert(1)>",
    "{{7*7}}{% raw %}{{config}}",
    "</p></main></body>",
    "javascript:alert(1)",
    "\u202egnol",
    "&lt;b&gt;&amp;",
    "x" * 100_000,
    "\\u003cscript\\u003e",
    "<!--",
    "]]>",
]
hostile = pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text[:18]))

SHIPPED_TAGS = {
    "html", "head", "meta", "title", "link", "body", "main", "h1", "p", "strong", "bdi", "ul", "li",
    "form", "input", "button", "label", "a",
}  # fmt: skip


def assert_inert(page: Answer) -> None:
    """Nothing of what was shown has become an element, an attribute or a template."""
    for tag, attributes in page.page.elements:
        assert tag in SHIPPED_TAGS
        assert not any(name.startswith("on") for name in attributes)
        for name in ("href", "action", "src"):
            assert not (attributes.get(name) or "").lower().startswith(("javascript:", "data:"))
    assert page.text.count("</main>") == 1
    assert page.text.rstrip().endswith("</html>")


def keep(system: System, **fields: Any) -> App:
    """A client as no registration would take it."""
    uri = "https://app.example/cb"
    system.oracle.redirect_uris.add(uri)
    client = {"name": "App", **fields}
    return system.keep_client(Client("odd", secret_digest=digest("x"), redirect_uris=(uri,), **client))


@hostile
@pytest.mark.parametrize("field", ["name", "description"])
def test_a_clients_words(system: System, alice: Browser, field: str, text: str) -> None:
    """UI-19; CVE-2018-1000088."""
    page = keep(system, **{field: text}).ask(alice)
    assert page.is_consent
    assert_inert(page)
    assert "".join(text.split()) in "".join("".join(page.page.text).split())


@pytest.mark.parametrize(
    "url",
    [
        'https://i.example/"onmouseover="alert(1)',
        "https://i.example/'><script>",
        "https://i.example/&quot;",
    ],
)
def test_a_clients_image(system: System, alice: Browser, url: str) -> None:
    """UI-19: a link, escaped, and never brought in by the page itself."""
    page = keep(system, image_url=url).ask(alice)
    assert_inert(page)
    assert url in [a.get("href") for tag, a in page.page.elements if tag == "a"]


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "data:text/html,x", "http://i.example/", "https://i.example/ x"]
)
def test_an_image_that_cannot_be_registered(system: System, url: str) -> None:
    """UI-19."""
    with pytest.raises(Exception, match="https"):
        system.add_client("App", image_url=url)


@hostile
def test_a_scopes_words(system: System, app: App, alice: Browser, text: str) -> None:
    """UI-19."""
    wait(system.registry.update_scope(Scope("verify", text)))
    page = app.ask(alice, scope="verify")
    assert_inert(page)
    assert "verify" in page.words


@hostile
def test_a_persons_name(system: System, app: App, text: str) -> None:
    """UI-19: on the consent, login and logout pages."""
    wait(system.registry.add_user(User(text, "")))
    system.checker.addUser(text.encode(), b"a password")
    browser = system.browser()
    wanted = 303 if len(text) < 50_000 else 413
    assert browser.log_in(text, "a password").status == wanted
    for page in (app.ask(browser), browser.get("/oauth2/login/"), browser.get("/oauth2/logout/")):
        if page.status == 200:
            assert_inert(page)


@hostile
def test_a_name_that_was_typed_wrong(system: System, text: str) -> None:
    """UI-19: it is shown again, in its field."""
    answer = system.browser().log_in(text[:5000], "a password")
    assert answer.status == 403
    assert_inert(answer)


@hostile
@pytest.mark.parametrize("name", ["login_hint", "state", "ui_locales", "next", "error"])
def test_what_an_address_says(system: System, app: App, alice: Browser, name: str, text: str) -> None:
    """UI-19."""
    from urllib.parse import quote

    text = quote(text[:2000], safe="")
    for page in (
        alice.get(f"/oauth2/login/?{name}={text}"),
        alice.get(f"/oauth2/logout/?{name}={text}"),
        alice.get(f"/oauth2/missing_redirect_uri/?{name}={text}"),
        alice.get(f"/oauth2/{text[:20]}?{name}={text}"),
        app.ask(alice, f"&x{name}={text}"),
    ):
        assert_inert(page)


@hostile
@pytest.mark.parametrize("name", ["client_id", "redirect_uri"])
def test_what_cannot_be_answered_is_not_repeated(app: App, alice: Browser, name: str, text: str) -> None:
    """RU-21."""
    answer = app.ask(alice, **{name: text[:3000]})
    assert_not_sent(answer)
    assert_inert(answer)
    assert text[:3000] not in answer.text


def test_hidden_fields_are_escaped() -> None:
    made = hidden_fields(a='"><script>', b="&'")
    assert "<script>" not in made
    assert made == (
        '<input type="hidden" name="a" value="&#34;&gt;&lt;script&gt;">\n'
        '<input type="hidden" name="b" value="&amp;&#39;">'
    )


# Headers.


@pytest.mark.parametrize(
    "address",
    [
        "/oauth2/login/",
        "/oauth2/logout/",
        "/oauth2/missing_redirect_uri/",
        "/oauth2/nothing",
        "/oauth2/authorization/",
    ],
)
def test_every_page_has_its_headers(system: System, alice: Browser, address: str) -> None:
    """UI-17, UI-20, UI-21."""
    for browser in (alice, system.browser()):
        page = browser.get(address)
        assert page.header("content-type") == "text/html; charset=utf-8"
        assert page.header("cache-control") == "no-store"
        assert page.header("x-frame-options") == "DENY"
        assert page.header("x-content-type-options") == "nosniff"
        assert page.header("referrer-policy") == "no-referrer"
        assert page.header("strict-transport-security") == "max-age=31536000"
        policy = page.header("content-security-policy") or ""
        for rule in (
            "default-src 'none'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "form-action 'self'",
        ):
            assert rule in policy
        assert "unsafe" not in policy


def test_the_style_sheet(system: System) -> None:
    answer = system.send("GET", "/oauth2/style.css")
    assert answer.header("content-type") == "text/css; charset=utf-8"
    assert answer.header("cache-control") == "max-age=3600"
    assert "url(" not in answer.text
    assert "@import" not in answer.text
    assert system.send("POST", "/oauth2/style.css", b"").status == 405


@pytest.mark.parametrize(
    ("accept", "json"),
    [
        (None, False),
        ("*/*", False),
        ("text/html,application/xhtml+xml,*/*;q=0.8", False),
        ("application/json", True),
        ("Application/JSON; q=1", True),
        ("application/json, text/html", False),
    ],
)
def test_errors_in_the_form_that_is_wanted(system: System, accept: str | None, json: bool) -> None:
    """HT-15."""
    headers = [] if accept is None else [("Accept", accept)]
    answer = system.send("GET", "/oauth2/nothing", None, headers)
    assert answer.status == 404
    kind = "application/json" if json else "text/html; charset=utf-8"
    assert answer.header("content-type") == kind


# Pages of an operator's own.


def test_one_page_of_ones_own(make_system: MakeSystem, tmp_path: Path) -> None:
    """INTERFACE, section 1: looked up before the shipped ones, which serve for the rest."""
    (tmp_path / "authorization.html").write_text(
        '{% extends "base.html" %}{% block main %}'
        "OURS: {{ client.name }}|{{ client.description }}|{{ client.image_url }}|"
        "{% for scope in scopes %}{{ scope.name }}={{ scope.description }};{% endfor %}"
        '<form action="{{ form_action }}" method="POST">{{ form }}'
        '<button name="user_action" value="Accept">Yes</button></form>{% endblock %}'
    )
    system = make_system(templates=str(tmp_path))
    app = system.add_client("App", description="<b>", image_url="https://i.example/")
    alice = system.browser("alice")
    page = app.ask(alice, scope="verify")
    assert "OURS: App|<b>|https://i.example/|verify=what verify is for;" in page.words
    assert "&lt;b&gt;" in page.text
    assert "code" in alice.submit(page, "user_action", user_action="Accept").parameters
    assert "Log in" in system.browser().get("/oauth2/login/").words


def test_a_style_of_ones_own(make_system: MakeSystem, tmp_path: Path) -> None:
    (tmp_path / "style.css").write_text("body { color: teal }")
    system = make_system(templates=str(tmp_path))
    assert system.send("GET", "/oauth2/style.css").text == "body { color: teal }"


def test_a_page_that_cannot_be_rendered(
    make_system: MakeSystem,
    tmp_path: Path,
    logged_failures,  # type: ignore[no-untyped-def]
) -> None:
    """U-02: StrictUndefined says so in the log, and to nobody else."""
    (tmp_path / "login.html").write_text("{{ no_such_thing }}")
    system = make_system(templates=str(tmp_path))
    answer = system.send("GET", "/oauth2/login/", None, (), True)
    assert answer.status == 500
    assert "no_such_thing" not in answer.text
    assert "Something is wrong on our side" in answer.words
    assert logged_failures.take()


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="does not exist"):
        Pages(str(tmp_path / "nothing"))


def test_a_template_is_not_looked_for_outside(tmp_path: Path) -> None:
    """Names of templates are the server's own; none comes from a request."""
    assert {path.name for path in templates_folder().iterdir()} >= {
        "authorization.html",
        "base.html",
        "error.html",
        "login.html",
        "logout.html",
        "missing_redirect_uri.html",
        "style.css",
    }
