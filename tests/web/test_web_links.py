"""Every link and form of every page leads somewhere, in each way of embedding the server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urljoin, urlsplit

import pytest
from admin_driver import PAGES, administrator
from twisted.web.resource import Resource
from twisted.web.static import Data
from web_driver import ORIGIN, Answer, App, Browser, System

from djoauth2_twisted.authorization import make_authorization_endpoint
from djoauth2_twisted.errors import ConfigurationError
from djoauth2_twisted.models import ResourceOwner

MakeSystem = Callable[..., System]


class Guest(Browser):
    """A browser that is logged in at the host application, as it says."""

    def __init__(self, system: System, name: str | None) -> None:
        super().__init__(system)
        self.name = name

    def cookie(self, address: str) -> list[tuple[str, str]]:
        known = [("X-Host-Session", self.name)] if self.name else []
        return [*super().cookie(address), *known]


def who(request: Any, returning_to: str) -> ResourceOwner | str:
    """The host's answer: who is logged in, or the address of its login page."""
    (name,) = request.requestHeaders.getRawHeaders("x-host-session") or [""]
    return ResourceOwner(name) if name else f"/app/login?then={quote(returning_to)}"


def page_of_the_host() -> Resource:
    """The host application, which has a page to log in and a page to log out."""
    app = Resource()
    for name in (b"login", b"logout"):
        app.putChild(name, Data(b"A page of the host.", "text/plain"))
    return app


def below(*segments: bytes) -> Callable[[Any], Resource]:
    """A site that has the tree at a path, beside the host application."""

    def make_root(server: Any) -> Resource:
        root = parent = Resource()
        root.putChild(b"app", page_of_the_host())
        for segment in segments[:-1]:
            child = Resource()
            parent.putChild(segment, child)
            parent = child
        parent.putChild(segments[-1], server.resource())
        return root

    return make_root


def one_by_one(server: Any) -> Resource:
    """A site that has the authorization endpoint at a place of its own."""
    root = below(b"rest")(server)
    endpoint = make_authorization_endpoint(server, authorization_endpoint_uri="/authorize")
    root.putChild(b"authorize", endpoint)
    return root


WAYS: dict[str, dict[str, Any]] = {
    "stand-alone": {},
    "below a path": {"root": below(b"deep", b"auth"), "prefix": "/deep/auth"},
    "below a path that is encoded": {"root": below(b"down there"), "prefix": "/down%20there"},
    "in a site of Twisted's": {"root": below(b"oauth2"), "embedded": True},
    "as the whole site": {"root": lambda server: server.resource(), "prefix": ""},
    "one by one": {"root": one_by_one, "prefix": "/rest"},
    "host's login": {"root": below(b"oauth2"), "who": who},
    "host's login and logout": {"root": below(b"oauth2"), "who": who, "logout": "/app/logout"},
    "host's logout elsewhere": {"root": below(b"oauth2"), "who": who, "logout": "https://host.example/"},
    "users of the database": {"checked_in_memory": False},
}


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> dict[str, Any]:
    return WAYS[request.param]


@pytest.fixture
def system(make_system: MakeSystem, way: dict[str, Any]) -> System:
    return make_system(**way)


@pytest.fixture
def browsers(system: System, app: App, way: dict[str, Any]) -> list[Browser]:
    """An administrator and a user, who have let an application in, and a stranger."""
    if "who" in way:
        system.add_user("root", "an administrator's password", admin=True)
        known: list[Browser] = [Guest(system, "root"), Guest(system, "alice")]
    else:
        known = [administrator(system), system.browser("alice")]
    for browser in known:
        app.code(browser)
    return [*known, Guest(system, None) if "who" in way else system.browser()]


class Crawler:
    """Follows every link of every page, and sends every form as it stands, but for its proof."""

    def __init__(self, system: System, browser: Browser) -> None:
        self.system = system
        self.browser = browser
        self.seen: set[str] = set()
        self.links: dict[str, str] = {}

    def crawl(self, address: str) -> None:
        """Open an address of the site, and all that it leads to."""
        waiting = [address]
        while waiting:
            found = waiting.pop()
            if found not in self.seen:
                self.seen.add(found)
                answer = self.browser.get(found)
                assert answer.status in {200, 303}, f"{found}: {answer.status}"
                waiting += self.led_to(found, answer)

    def led_to(self, address: str, answer: Answer) -> list[str]:
        """The addresses of this site that an answer leads to."""
        if answer.status == 303:
            return self.own(address, answer.location)
        if not (answer.header("content-type") or "").startswith("text/html"):
            return []
        assert "<h1>" in answer.text
        found: list[str] = []
        for _, attributes in answer.page.elements:
            for name in ("href", "src"):
                if attributes.get(name) is not None:
                    found += self.own(address, attributes[name] or "")
        assert len(answer.page.forms) == answer.text.count("<form")
        for form in answer.page.forms:
            (action,) = self.own(address, form.action)
            if form.method == "GET":
                found.append(f"{action}?{urlencode(form.values)}")
            else:
                sent = self.browser.post(action, {"nothing": "of it"})
                assert sent.status not in {404, 405}, f"{address} sends a form to {action}"
        return found

    def own(self, address: str, link: str) -> list[str]:
        absolute = urljoin(ORIGIN + address, link)
        assert urlsplit(absolute).scheme == "https"
        self.links[absolute] = address
        here = absolute.startswith(f"{ORIGIN}/")
        return [absolute.removeprefix(ORIGIN).partition("#")[0]] if here else []


def starts(system: System, app: App) -> list[str]:
    """The addresses that a browser can begin at."""
    tree = system.prefix
    query = app.address().partition("?")[2]
    pages = [f"{tree}/admin/{page.format(client=app.client_id)}" for page in PAGES]
    single = [f"/authorize?{query}"] if tree == "/rest" else []
    return [app.address(), f"{tree}/account/", f"{tree}/login/", *single, *pages]


def test_every_link_of_every_page_leads_somewhere(
    system: System, app: App, browsers: list[Browser]
) -> None:
    """For an administrator, for a user and without a login."""
    app.change(image_url="https://app.example/logo.png")
    for browser in browsers:
        crawler = Crawler(system, browser)
        for address in starts(system, app):
            answer = browser.get(address)
            # A page of the administration, for another user.
            found = crawler.led_to(address, answer) if answer.status == 403 else [address]
            for each in found:
                crawler.crawl(each)
        elsewhere = {link for link in crawler.links if not link.startswith(f"{ORIGIN}/")}
        assert elsewhere <= {"https://host.example/"}
        assert crawler.links


def test_every_link_of_a_page_of_an_error_leads_somewhere(
    system: System, app: App, browsers: list[Browser]
) -> None:
    for browser in browsers:
        crawler = Crawler(system, browser)
        for address, status in (
            (f"{system.prefix}/nothing", 404),
            (f"{system.prefix}/missing_redirect_uri/", 400),
            (app.address(client_id="unknown"), 400),
        ):
            answer = browser.get(address)
            assert answer.status == status
            for found in crawler.led_to(address, answer):
                crawler.crawl(found)
    expired = browsers[0].post(app.address(), {"user_action": "Accept"})
    assert expired.status == 403
    crawler = Crawler(system, browsers[0])
    for found in crawler.led_to(app.address(), expired):
        crawler.crawl(found)


class TestHostsLogout:
    """`logout=`, beside `who=`: the host's page to log out at."""

    ADDRESSES = ("/oauth2/account/", "/oauth2/admin/")

    def hosted(self, make_system: MakeSystem, **options: Any) -> Guest:
        system = make_system(root=below(b"oauth2"), who=who, **options)
        system.add_user("root", "an administrator's password", admin=True)
        return Guest(system, "root")

    def test_is_where_log_out_leads(self, make_system: MakeSystem) -> None:
        root = self.hosted(make_system, logout="/app/logout")
        for address in self.ADDRESSES:
            page = root.get(address)
            assert 'href="/app/logout"' in page.text
            assert "Log out" in page.words
        assert root.get("/oauth2/logout/").location == "/app/logout"
        assert root.post("/oauth2/logout/", {}).status == 405
        root.name = "alice"
        assert 'href="/app/logout"' in root.get("/oauth2/admin/").text

    def test_is_no_link_where_it_is_not_named(self, make_system: MakeSystem) -> None:
        root = self.hosted(make_system)
        for address in self.ADDRESSES:
            page = root.get(address)
            assert page.status == 200
            assert "Log out" not in page.words
            assert "logout" not in page.text
        assert root.get("/oauth2/logout/").status == 404
        root.name = "alice"
        assert "Log out" not in root.get("/oauth2/admin/").words

    def test_needs_a_hosts_login(self, make_system: MakeSystem, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError, match="who="):
            make_system(logout="/app/logout")
