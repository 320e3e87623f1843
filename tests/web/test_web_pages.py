"""Pages: all that they show stays text, and an operator can bring pages of their own."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jinja2 import Environment, meta
from twisted.logger import capturedLogs, formatEvent
from web_driver import Answer, App, Browser, System, assert_not_sent

from djoauth2_twisted.credentials import digest
from djoauth2_twisted.errors import ConfigurationError
from djoauth2_twisted.models import Client, Scope, User
from djoauth2_twisted.web import pages
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
    "form", "input", "button", "label", "a", "header", "footer", "span", "div", "small", "code",
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
def test_texts_of_a_client_are_escaped(system: System, alice: Browser, field: str, text: str) -> None:
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
def test_image_address_of_a_client_is_not_used(system: System, alice: Browser, url: str) -> None:
    """UI-19, UI-21: the page neither brings it in nor links to it."""
    page = keep(system, image_url=url).ask(alice)
    assert_inert(page)
    assert "i.example" not in page.text


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "data:text/html,x", "http://i.example/", "https://i.example/ x"]
)
def test_an_image_that_cannot_be_registered(system: System, url: str) -> None:
    """UI-19."""
    with pytest.raises(Exception, match="https"):
        system.add_client("App", image_url=url)


@hostile
def test_description_of_a_scope_is_escaped(system: System, app: App, alice: Browser, text: str) -> None:
    """UI-19."""
    wait(system.registry.update_scope(Scope("verify", text)))
    page = app.ask(alice, scope="verify")
    assert_inert(page)
    assert "verify" in page.words


@hostile
def test_name_of_a_user_is_escaped(system: System, app: App, text: str) -> None:
    """UI-19: on the consent, login and logout pages."""
    wait(system.registry.add_user(User(text, "")))
    system.checker.addUser(text.encode(), b"a password")
    browser = system.browser()
    wanted = 413 if len(text) >= 50_000 else 303 if text.isprintable() else 403
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
def test_text_in_an_address_is_inert_on_the_page(
    system: System, app: App, alice: Browser, name: str, text: str
) -> None:
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
def test_an_error_page_does_not_repeat_the_parameter(
    app: App, alice: Browser, name: str, text: str
) -> None:
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


# For people: every reader, with every device.


EVERY_PAGE = [
    "login", "wrong password", "consent", "account", "empty account", "logout", "logged out",
    "expired", "not found", "missing redirect URI", "method",
]  # fmt: skip


@pytest.fixture(params=["en", "de"])
def language(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=EVERY_PAGE)
def page(
    request: pytest.FixtureRequest, system: System, app: App, alice: Browser, language: str
) -> Answer:
    """Each page in each language."""
    said = [("Accept-Language", language)]
    stranger = system.browser()
    app.tokens(alice, scope="user_info verify")
    expired = {"user_action": "Accept"}
    wrong = {**stranger.get("/oauth2/login/").form("password").hidden, "username": "x", "password": "y"}
    makers: dict[str, Callable[[], Answer]] = {
        "login": lambda: stranger.get("/oauth2/login/", said),
        "wrong password": lambda: stranger.post("/oauth2/login/", wrong, said),
        "consent": lambda: alice.get(app.address(), said),
        "account": lambda: alice.get("/oauth2/account/", said),
        "empty account": lambda: system.browser("bob").get("/oauth2/account/", said),
        "logout": lambda: alice.get("/oauth2/logout/", said),
        "logged out": lambda: stranger.get("/oauth2/logout/", said),
        "expired": lambda: alice.post(app.address(), expired, said),
        "not found": lambda: alice.get("/oauth2/nothing", said),
        "missing redirect URI": lambda: alice.get("/oauth2/missing_redirect_uri/", said),
        "method": lambda: alice.post("/oauth2/missing_redirect_uri/", {}, said),
    }
    return makers[request.param]()


def test_each_page_is_made_for_everybody(page: Answer, language: str) -> None:
    """WCAG 2.2: language, title, landmarks, one main heading, a label for each field, no traps."""
    assert page.header("content-language") == language
    elements = page.page.elements
    tags = [tag for tag, _ in elements]
    assert dict(elements)["html"] == {"lang": language}
    for once in ("title", "header", "main", "footer", "h1"):
        assert tags.count(once) == 1, once
    assert len(page.text.partition("<title>")[2].partition("</title>")[0]) > 5
    labels = {found["for"] for tag, found in elements if tag == "label"}
    fields = [found for tag, found in elements if tag == "input" and found["type"] != "hidden"]
    assert labels == {found["id"] for found in fields}
    assert all(found.get("autocomplete") for found in fields)
    ids = [found["id"] for _, found in elements if "id" in found]
    assert len(ids) == len(set(ids))
    referred = {
        each for _, found in elements for name in ("aria-describedby", "aria-labelledby")
        for each in (found.get(name) or "").split()
    }  # fmt: skip
    assert referred <= set(ids)
    assert not any("tabindex" in found for _, found in elements)
    assert all(found.get("type") == "submit" for tag, found in elements if tag == "button")


def test_each_page_is_small_and_needs_nothing_else(system: System, page: Answer) -> None:
    """Under 30 kB with its style sheet; nothing inline, no script, nothing from elsewhere."""
    style = system.send("GET", "/oauth2/style.css").body
    assert len(style) < 8_000
    assert len(page.body) + len(style) < 30_000 / 2
    for tag, found in page.page.elements:
        assert tag not in {"script", "style", "iframe", "object", "embed", "base"}
        assert not any(name == "style" or name.startswith("on") for name in found)
        for name in ("src", "href", "action"):
            # The one link elsewhere leads back to the application.
            assert (found.get(name) or "/oauth2/").startswith(("/oauth2/", "https://app.example/"))
    assert page.header("cache-control") == "no-store"


def _luminance(colour: str) -> float:
    """WCAG 2.2, "relative luminance"."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(one: str, other: str) -> float:
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def test_every_colour_can_be_read(system: System) -> None:
    """WCAG 2.2, 1.4.3 and 1.4.11, level AA, by day and by night."""
    style = system.send("GET", "/oauth2/style.css").text
    light, dark = (
        dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", rule))
        for rule in re.findall(r":root \{([^}]*#[^}]*)\}", style)
    )
    assert light.keys() == dark.keys()
    for colours in (light, dark):
        assert _contrast(colours["accent"], colours["on-accent"]) >= 4.5
        for behind in ("card", "ground"):
            assert _contrast(colours["line"], colours[behind]) >= 3
            for text in ("ink", "muted", "accent", "danger", "done"):
                assert _contrast(colours[text], colours[behind]) >= 4.5
    # All others are named after these.
    assert len(re.findall(r"#[0-9a-f]{3,6}\b", style)) == len(light) + len(dark)
    assert "opacity" not in style


# Headers.


@pytest.mark.parametrize(
    "address",
    [
        "/oauth2/login/",
        "/oauth2/logout/",
        "/oauth2/missing_redirect_uri/",
        "/oauth2/nothing",
        "/oauth2/authorization/",
        "/oauth2/account/",
    ],
)
def test_every_page_has_its_headers(system: System, alice: Browser, address: str) -> None:
    """UI-17, UI-20, UI-21."""
    for browser in (alice, system.browser()):
        page = browser.get(address)
        page = browser.follow(page) if page.status == 303 else page
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
    assert answer.header("cache-control") == "no-cache"
    assert "url(" not in answer.text
    assert "@import" not in answer.text
    assert system.send("POST", "/oauth2/style.css", b"").status == 405


def test_the_style_sheet_is_sent_once(system: System) -> None:
    """RFC 9110, section 13.1.2; a proxy that compresses may have made the tag a weak one."""
    first = system.send("GET", "/oauth2/style.css")
    tag = first.header("etag")
    assert tag is not None
    assert re.fullmatch(r'"[0-9a-f]{64}"', tag)
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = system.send("GET", "/oauth2/style.css", None, [("If-None-Match", known)])
        assert (again.status, again.body, again.header("etag")) == (304, b"", tag)
        assert again.header("cache-control") == "no-cache"
    for known in ('"other"', "", "\xff", tag.strip('"')[:10]):
        again = system.send("GET", "/oauth2/style.css", None, [("If-None-Match", known)])
        assert (again.status, again.body) == (200, first.body)


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


def test_a_template_of_the_operator_replaces_one_page(make_system: MakeSystem, tmp_path: Path) -> None:
    """INTERFACE, section 1: looked up before the shipped ones, which serve for the rest."""
    (tmp_path / "authorization.html").write_text(
        '{% extends "base.html" %}{% block main %}'
        "OURS: {{ client.name }}|{{ client.description }}|{{ client.image_url }}|"
        "{% for scope in scopes %}{{ scope.name }}={{ scope.description }};{% endfor %}"
        '<form action="{{ form_action }}" method="POST">{{ form }}'
        '<button name="user_action" value="Accept">Yes</button></form>{% endblock %}'
    )
    system = make_system(templates=str(tmp_path))
    app = system.add_client("App", description="<b>", image=b"GIF89a")
    alice = system.browser("alice")
    page = app.ask(alice, scope="verify")
    address = f"/oauth2/image/?id={app.client_id}&v="
    assert f"OURS: App|<b>|{address}" in page.words
    assert "|verify=what verify is for;" in page.words
    assert "&lt;b&gt;" in page.text
    assert "code" in alice.submit(page, "user_action", user_action="Accept").parameters
    assert "Log in" in system.browser().get("/oauth2/login/").words


def example(name: str) -> str:
    """An example of docs/templates.md."""
    pages = Path(__file__).parent.parent.parent / "docs" / "templates.md"
    found = re.search(rf"<!-- {name} -->\n```html\n(.*?)```", pages.read_text("utf-8"), re.DOTALL)
    assert found, name
    return found[1]


def test_a_template_of_djoauth2(make_system: MakeSystem, tmp_path: Path) -> None:
    """After the little change that docs/templates.md tells, and no other."""
    changed = example("before").replace("  {% csrf_token %}\n", "")
    changed = re.sub(' style="[^"]*"', "", changed)
    assert changed == example("after")
    (tmp_path / "authorization.html").write_text(changed)
    system = make_system(templates=str(tmp_path))
    app, alice = system.add_client("App"), system.browser("alice")
    page = app.ask(alice, scope="user_info verify")
    assert "App is requesting access to the following scopes:" in page.words
    assert "verify: what verify is for" in page.words
    answer = alice.submit(page, "user_action", user_action="Accept")
    assert app.exchange(answer.parameters["code"]).status == 200
    assert app.authorize(alice, decision="Decline").parameters["error"] == "access_denied"


ALL_PAGES = {"mount", "site", "brand", "language", "gettext", "ngettext", "_"}


@pytest.mark.parametrize(
    "name", ["authorization", "login", "logout", "account", "error", "expired", "missing_redirect_uri"]
)
def test_the_documentation_names_what_each_page_gets(name: str) -> None:
    """docs/templates.md, "What each page gets": every name that the shipped page uses."""
    told = (Path(__file__).parents[2] / "docs" / "templates.md").read_text("utf-8")
    section = told.partition("## What each page gets")[2].partition("\n## ")[0]
    of_page = section.partition(f"`{name}.html`")[2].partition("\n\n`")[0]
    environment = Environment(extensions=["jinja2.ext.i18n"])
    source = environment.parse((templates_folder() / f"{name}.html").read_text("utf-8"))
    for used in meta.find_undeclared_variables(source) - ALL_PAGES - {"picture"}:
        assert f"`{used}`" in of_page, used
    for used in ALL_PAGES:
        assert f"`{used}`" in section


def test_a_part_of_a_shipped_page(make_system: MakeSystem, tmp_path: Path) -> None:
    """By its other name a page can be extended by the one that replaces it."""
    (tmp_path / "base.html").write_text(example("header"))
    (tmp_path / "login.html").write_text(
        '{% extends "shipped/login.html" %}{% block footer %}Ask for help{% endblock %}'
    )
    system = make_system(templates=str(tmp_path))
    page = system.browser().get("/oauth2/login/")
    assert page.is_login
    assert "Example Corporation" in page.words
    assert "Ask for help" in page.words
    assert "Example Corporation" in system.browser().get("/oauth2/logout/").words


def test_the_issuers_host_is_on_every_page(make_system: MakeSystem) -> None:
    """Not what a request says that it is."""
    system = make_system(issuer="https://login.example:8443/tenant")
    page = system.send("GET", "/oauth2/login/", None, [("Host", "evil.example")])
    assert "login.example:8443" in page.words
    assert "evil.example" not in page.text


def test_a_style_of_ones_own(make_system: MakeSystem, tmp_path: Path) -> None:
    (tmp_path / "style.css").write_text("body { color: teal }")
    system = make_system(templates=str(tmp_path))
    changed = system.send("GET", "/oauth2/style.css")
    assert changed.text == "body { color: teal }"
    assert changed.header("etag") != make_system().send("GET", "/oauth2/style.css").header("etag")


def test_a_page_that_cannot_be_rendered(
    make_system: MakeSystem,
    tmp_path: Path,
    logged_failures,
) -> None:
    """U-02: StrictUndefined says so in the log, and nowhere else."""
    (tmp_path / "login.html").write_text("{{ no_such_thing }}")
    system = make_system(templates=str(tmp_path))
    answer = system.send("GET", "/oauth2/login/", None, (), True)
    assert answer.status == 500
    assert "no_such_thing" not in answer.text
    assert "Something is wrong on our side" in answer.words
    assert logged_failures.take()


def test_health_tells_that_a_page_cannot_be_rendered(make_system: MakeSystem, tmp_path: Path) -> None:
    """INTERFACE, section 2: 503 with the reason's name."""
    (tmp_path / "login.html").write_text("{{ no_such_thing }}")
    system = make_system(templates=str(tmp_path))
    with capturedLogs() as logged:
        answer = system.send("GET", "/healthz", None, (), True)
    assert (answer.status, answer.json) == (503, {"status": "pages"})
    assert any("no_such_thing" in formatEvent(event) for event in logged)


def test_languages_and_servers_share_compiled_templates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A template is compiled once in a process, also where the operator has templates."""
    monkeypatch.setattr(pages, "_COMPILED", pages._Compiled())
    first = Pages(str(tmp_path))._environments["en"]
    names = sorted(path.relative_to(templates_folder()) for path in templates_folder().rglob("*.html"))
    assert len(names) > 40
    for name in names:
        first.get_template(name.as_posix())

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a template is compiled")

    monkeypatch.setattr(Environment, "compile", refuse)
    for environment in Pages(str(tmp_path))._environments.values():
        assert environment is not first
        for name in names:
            environment.get_template(name.as_posix())


def test_servers_share_the_shipped_templates() -> None:
    assert Pages()._environments["en"] is Pages()._environments["en"]


@pytest.mark.parametrize("whose", ["shipped", "operator's"])
def test_pages_stay_whole_while_their_files_are_replaced(
    make_system: MakeSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whose: str
) -> None:
    """All templates are read at the start, and those that others include, too."""
    folder = tmp_path / "templates"
    shutil.copytree(templates_folder(), folder)
    (folder / "error.html").write_text("{% include 'more/part.txt' %}")
    (folder / "more").mkdir()
    (folder / "more" / "part.txt").write_text("This is a part.")
    (folder / "picture.png").write_bytes(b"\x89PNG\xff")
    (folder / "dangling.html.swp").symlink_to("nowhere")
    if whose == "shipped":
        monkeypatch.setattr(pages, "templates_folder", lambda: folder)
    system = make_system(templates=None if whose == "shipped" else str(folder))
    shutil.rmtree(folder)
    for _ in range(2):
        assert system.send("GET", "/oauth2/login/").status == 200
        assert system.send("GET", "/oauth2/style.css").status == 200
        assert system.send("GET", "/oauth2/nothing/").text == "This is a part."
        folder.mkdir(exist_ok=True)
        (folder / "login.html").write_text("{{ a later release }}")


def test_shipped_templates_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line at the start, instead of an error for each visitor."""
    monkeypatch.setattr(pages, "templates_folder", lambda: tmp_path)
    with pytest.raises(
        ConfigurationError, match=f"^the templates in {tmp_path} cannot be read: "
    ) as caught:
        Pages()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("authorization.html", b"<p>\n{% csrf_token %}", "line 2: Encountered unknown tag 'csrf_token'"),
        ("base.html", b"{% block main %}", "Unexpected end of template"),
        ("admin/users.html", b"{{ 1|no_such_filter }}", "No filter named 'no_such_filter'"),
        ("part.html", b"\xff\xfe", "cannot be read"),
        ("style.css", b"{{", "Unexpected end of template|unexpected 'end of template'"),
    ],
)
def test_a_template_that_is_none(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    """The operator reads it at once, in one line, before the first visitor comes."""
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=said) as caught:
        Pages(str(tmp_path))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


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
