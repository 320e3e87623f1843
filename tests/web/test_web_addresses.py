"""Long values on their way through our own addresses: what is limited is the address as it is sent.

The site reads 16,384 bytes of a request's first line and headers, and answers more with an empty 400.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, unquote, unquote_to_bytes

import pytest
from admin_driver import PASSWORD, administrator
from admin_driver import address as admin_address
from twisted.web.resource import Resource
from twisted.web.static import Data
from web_driver import Answer, App, Browser, System, assert_sent_back, post_bytes

from djoauth2_twisted.credentials import random_string
from djoauth2_twisted.models import ResourceOwner
from djoauth2_twisted.web.reading import MAX_ADDRESS_LENGTH, with_parameter, with_query

MakeSystem = Callable[..., System]

#: States as they are sent, each of about 5,500 bytes, and whether they get through a login.
STATES = {
    "plain": (b"a" * 5500, True),
    "slashes": (b"/" * 5500, True),
    "escapes": (b"%7B" * 1833, True),
    "escaped escapes": (b"%25" * 1833, True),
    "escaped letters": (b"%C3%A9" * 916, True),
    "what browsers leave as it is": (b"|^`{}[]?:@!$()*,~" * 320, True),
    "semicolons": (b";" * 900 + b"a" * 4600, True),
    # No browser sends these as they are, since it takes three characters for each byte of them.
    "quotes": (b"'\"<>" * 1375, False),
    "backslashes": (b"\\" * 5500, False),
}


@pytest.fixture(params=STATES)
def state(request: pytest.FixtureRequest) -> tuple[bytes, bool]:
    """A state as it is sent, and whether it gets through a login."""
    return STATES[request.param]


def value_of(state: bytes) -> str:
    return unquote_to_bytes(state).decode()


def open_raw(browser: Browser, address: bytes) -> Answer:
    """Open an address byte by byte: no library encodes anything of it."""
    cookies = "".join(f"{name}: {value}\r\n" for name, value in browser.cookie("/"))
    head = b"GET " + address + b" HTTP/1.1\r\nHost: as.example\r\n" + cookies.encode()
    return browser.keep(browser.system.raw(head + b"\r\n"))


def ask(browser: Browser, app: App, state: bytes) -> Answer:
    return open_raw(browser, app.address(state=None).encode() + b"&state=" + state)


def assert_short(answer: Answer) -> Answer:
    assert len(answer.location) <= MAX_ADDRESS_LENGTH
    return answer


def assert_accepted(browser: Browser, page: Answer, state: bytes) -> None:
    assert len(page.form("user_action").action) <= MAX_ADDRESS_LENGTH
    answer = browser.submit(page, "user_action", user_action="Accept")
    assert answer.parameters["code"]
    assert answer.parameters["state"] == value_of(state)


def test_a_long_state_with_a_login_between(app: App, state: tuple[bytes, bool]) -> None:
    """It works, or the client gets its error."""
    sent, gets_through = state
    stranger = app.system.browser()
    answer = ask(stranger, app, sent)
    if not gets_through:
        assert_sent_back(answer, app, "invalid_request", state=value_of(sent))
        assert answer.parameters["error_description"] == "the request is too long"
        return
    login = stranger.follow(assert_short(answer))
    back = assert_short(stranger.log_in("alice", page=login))
    assert_accepted(stranger, stranger.follow(back), sent)


def test_a_long_state_of_a_user_who_is_logged_in(
    app: App, alice: Browser, state: tuple[bytes, bool]
) -> None:
    """The form of the consent page leads to an address, too."""
    sent, gets_through = state
    answer = ask(alice, app, sent)
    if not gets_through:
        assert_sent_back(answer, app, "invalid_request", state=value_of(sent))
    else:
        assert_accepted(alice, answer, sent)


def test_a_long_state_and_another_account(app: App, alice: Browser, state: tuple[bytes, bool]) -> None:
    """The button "Use another account" leads through the login as well."""
    sent, gets_through = state
    if gets_through:
        page = ask(alice, app, sent)
        away = assert_short(alice.submit(page, "user_action", user_action="Change"))
        back = assert_short(alice.log_in("bob", page=alice.follow(away)))
        assert_accepted(alice, alice.follow(back), sent)


@pytest.mark.parametrize("length", [9_000, 11_500, 11_800, 12_000, 15_900])
def test_a_state_of_any_length(app: App, alice: Browser, length: int) -> None:
    """A page that is shown has a form that can be sent, with the headers of a browser."""
    for browser in (alice, app.system.browser()):
        answer = ask(browser, app, b"x" * length)
        if answer.status == 303 and answer.location.startswith("/"):
            assert browser.follow(assert_short(answer)).is_login
        elif answer.status == 200:
            form = answer.form("user_action")
            headers = [("X-Padding", "x" * 3500)]
            fields = {**form.hidden, "user_action": "Accept"}
            assert "code" in browser.post(form.action, fields, headers).parameters
        else:
            assert_sent_back(answer, app, "invalid_request", state="x" * length)


@pytest.mark.parametrize(
    "sent", ["state=" + ";" * 5000, "&".join(f"f{n}=" for n in range(90)) + "&state=x"]
)
def test_a_long_request_that_was_posted(app: App, sent: str) -> None:
    """The login leads back to an address with all of it; a form holds more than an address."""
    stranger = app.system.browser()
    address = app.address(state=None)
    answer = stranger.keep(app.system.raw(post_bytes(address, sent.encode())))
    state = sent.partition("state=")[2]
    if not answer.location.startswith("/"):
        assert_sent_back(answer, app, "invalid_request", state=state)
        return
    back = stranger.log_in("alice", page=stranger.follow(assert_short(answer)))
    assert_accepted(stranger, stranger.follow(back), state.encode())


class Guest(Browser):
    """A browser that is logged in at the host application, as it says."""

    name = ""

    def cookie(self, address: str) -> list[tuple[str, str]]:
        return [*super().cookie(address), *([("X-Host-Session", self.name)] if self.name else [])]


@pytest.mark.parametrize("safe", ["", "/"])
def test_a_long_state_with_a_login_of_the_host(
    make_system: MakeSystem, state: tuple[bytes, bool], safe: str
) -> None:
    """`who=`: what counts is the address that the host makes of the path."""

    def who(request: Any, returning_to: str) -> Any:
        (name,) = request.requestHeaders.getRawHeaders("x-host-session") or [""]
        return ResourceOwner(name) if name else f"/app/login?then={quote(returning_to, safe=safe)}"

    def make_root(server: Any) -> Resource:
        root, app = Resource(), Resource()
        root.putChild(b"oauth2", server.resource())
        root.putChild(b"app", app)
        app.putChild(b"login", Data(b"The host's.", "text/plain"))
        return root

    system = make_system(root=make_root, who=who)
    app, guest = system.add_client("App"), Guest(system)
    answer = ask(guest, app, state[0])
    if not answer.location.startswith("/app/login?"):
        assert_sent_back(answer, app, "invalid_request", state=value_of(state[0]))
        return
    assert guest.follow(assert_short(answer)).text == "The host's."
    guest.name = "alice"
    assert_accepted(guest, guest.get(unquote(answer.location.partition("then=")[2])), state[0])


@pytest.mark.parametrize("search", [b"/" * 5500, b"%7B" * 1833, b"%C3%A9" * 916, b"%25" * 3000])
def test_an_administrators_way_back_from_a_login(system: System, search: bytes) -> None:
    """To the same page, or there is a page that says what is wrong."""
    administrator(system)
    stranger = system.browser()
    there = admin_address("users").encode() + b"?search=" + search
    answer = open_raw(stranger, there)
    if answer.status != 303:
        assert answer.status == 400
        assert "the request is too long" in answer.words
        return
    login = stranger.follow(assert_short(answer))
    back = stranger.log_in("root", PASSWORD, page=login)
    assert assert_short(back).location.encode() == there
    assert stranger.follow(back).status == 200


def test_an_administrators_list_whose_other_pages_cannot_be_reached(system: System) -> None:
    """The links to them would be longer than the address that was asked for."""
    root = administrator(system)
    answer = open_raw(
        root, admin_address("clients").encode() + b"?after=[%22%22,%22%22]&search=" + b"/" * 5500
    )
    assert answer.status == 400
    assert "the request is too long" in answer.words


def test_what_was_typed_is_kept_where_the_cookie_has_a_long_name(make_system: MakeSystem) -> None:
    """A browser keeps 4096 bytes of a cookie: its name, its value and its attributes together."""
    issuer = "https://as.example/" + "a" * 300
    for length in range(2000, 3200, 50):
        system = make_system(issuer=issuer)
        root = administrator(system)
        page = root.get(admin_address("clients/add"))
        root.log_out()
        answer = root.submit(page, "description", description=random_string(length))
        for line in answer.headers.getRawHeaders("set-cookie", []):
            assert len(line) <= 4096


class TestEncoding:
    """`with_query` and `with_parameter`: what a browser leaves as it is."""

    def test_a_query_is_a_query(self) -> None:
        """RFC 3986, section 3.4, but for some characters that browsers leave as they are."""
        every = bytes(range(256))
        assert not re.search(r"[^!-~]|[\"#<>\\]", with_query("/x", every).partition("?")[2])
        assert with_query("/x", b"a=%2F", b"", b"b='(;)") == "/x?a=%2F&b='(;)"

    def test_a_value_is_read_as_it_was(self) -> None:
        value = "/oauth2/authorization/?a=b+c&d=%2F;e#" + "".join(map(chr, range(0x20, 0x7F)))
        made = with_parameter("/login", "next", value)
        assert made.startswith("/login?next=/oauth2/authorization/?a=b%2Bc%26d=%252F%3Be")
        assert made.count("&") == 0
        assert unquote(made.partition("next=")[2]) == value
