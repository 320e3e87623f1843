"""Redirect URIs: registered, compared, and added to (RFC 6749, section 3.1.2; RFC 9700, section 2.1)."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import parse_qsl, urlsplit

import pytest
from web_driver import (
    STATE,
    App,
    Browser,
    System,
    assert_not_sent,
    assert_sent_back,
    assert_token_error,
    tokens_of,
)

from djoauth2_twisted import Settings
from djoauth2_twisted.errors import RegistrationError
from djoauth2_twisted.models import Client

MakeSystem = Callable[..., System]

REGISTERED = "https://app.example/cb"


# What is sent is compared as a string.


def test_the_registered_uri_is_taken(app: App, alice: Browser) -> None:
    """RU-01; RFC 9700, section 2.1: "exact string matching"."""
    assert app.redirect_uri == REGISTERED
    assert app.authorize(alice, redirect_uri=REGISTERED).location.startswith(REGISTERED + "?")


@pytest.mark.parametrize(
    "uri",
    [
        pytest.param("https://app.example/other", id="RU-02 path"),
        pytest.param("https://app.example/cb#x", id="RU-04 fragment"),
        pytest.param("https://app.example\\@evil.example/cb", id="RU-14 backslash"),
        pytest.param("https://\u0430pp.example/cb", id="RU-15 homoglyph"),
        pytest.param("https://app.example/cb\n", id="RU-16 newline"),
        pytest.param("https://[::1/cb", id="RU-17 bracket"),
        pytest.param("javascript:alert(1)", id="javascript"),
        pytest.param("https://app.example/cb\udcff", id="not UTF-8"),
        pytest.param("x" * 10_000, id="long"),
    ],
)
def test_a_uri_that_is_not_registered_is_not_redirected_to(app: App, alice: Browser, uri: str) -> None:
    """RFC 6749, section 4.1.2.1; the protocol's tests have all spellings. DJOAuth2's page (D11)."""
    answer = app.ask(alice, redirect_uri=uri)
    assert_not_sent(answer)
    # RU-21: the page does not name what is registered, and what was sent is no link.
    assert REGISTERED not in answer.text
    assert not any(tag == "a" for tag, _ in answer.page.elements)
    assert "<h1>This request cannot be answered</h1>" in answer.text


def test_a_uri_of_another_client_is_not_redirected_to(app: App, other_app: App, alice: Browser) -> None:
    assert_not_sent(app.ask(alice, redirect_uri=other_app.redirect_uri))


@pytest.mark.parametrize(
    "sent",
    [
        "https://app.example/cb?b=2&a=1",
        "https://app.example/cb?a=1",
        "https://app.example/cb",
        "https://app.example/cb?a=1&b=2&",
    ],
)
def test_a_registered_query_is_part_of_the_uri(system: System, alice: Browser, sent: str) -> None:
    """RU-11: neither reordered nor shortened."""
    app = system.add_client("App", "https://app.example/cb?a=1&b=2")
    assert_not_sent(app.ask(alice, redirect_uri=sent))
    assert app.ask(alice).is_consent


# Which of them is meant.


@pytest.mark.parametrize("omitted", [None, ""])
def test_the_only_registered_uri_may_be_omitted(app: App, alice: Browser, omitted: str | None) -> None:
    """RFC 6749, section 3.1.2.3; an empty one counts as left out."""
    answer = app.authorize(alice, redirect_uri=omitted)
    assert answer.location.startswith(REGISTERED + "?")
    code = answer.parameters["code"]
    assert tokens_of(app.exchange(code, redirect_uri=None))


def test_with_several_uris_the_request_must_name_one(system: System, alice: Browser) -> None:
    """RFC 6749, section 3.1.2.3; ARCHITECTURE, section 6: several are allowed."""
    app = system.add_client("App", "https://app.example/one", "https://app.example/two")
    assert_not_sent(app.ask(alice, redirect_uri=None))
    two = app.named("https://app.example/two")
    assert two.authorize(alice).location.startswith("https://app.example/two?")


def test_where_a_code_was_sent_is_kept_with_it(app: App, alice: Browser) -> None:
    """And whether the request named it. DJOAuth2 kept only what was named."""
    app.code(alice)
    app.code(alice, redirect_uri=None)
    kept = {(grant.redirect_uri, grant.redirect_uri_sent) for grant in app.system.grants()}
    assert kept == {(REGISTERED, True), (REGISTERED, False)}


# What comes back is added to it.


@pytest.mark.parametrize(
    "registered",
    [
        "https://app.example/cb?value1=True&value2=4242424242&foo=bar",
        "https://app.example/cb?x",
        "https://app.example/cb?x=1&x=2",
        "https://app.example/cb?a=%C3%A9%26",
        "https://app.example/cb;v=1",
        "https://app.example/a%2fb",
        "https://app.example:8443/cb",
        "https://[2001:db8::1]/cb",
    ],
)
def test_the_registered_query_is_kept(system: System, alice: Browser, registered: str) -> None:
    """RU-06; RFC 6749, section 3.1.2: "MUST be retained when adding additional query parameters"."""
    app = system.add_client("App", registered)
    kept = parse_qsl(urlsplit(registered).query, keep_blank_values=True)
    for answer in (app.authorize(alice), app.ask(alice, scope="unknown")):
        assert answer.location.startswith(registered)
        there = urlsplit(answer.location)
        assert there.path == urlsplit(registered).path
        assert parse_qsl(there.query, keep_blank_values=True)[: len(kept)] == kept


def test_other_alphabets_are_kept_as_utf8(system: System, alice: Browser) -> None:
    """RU-06: DJOAuth2's `user_nåme` and `1500° Restaurant`."""
    app = system.add_client("App", "https://app.example/cb?user_nåme=Peter&name=1500%C2%B0")
    system.oracle.redirect_uris.add("https://app.example/cb?user_n%C3%A5me=Peter&name=1500%C2%B0")
    for answer in (app.authorize(alice), app.ask(alice, scope="unknown")):
        said = answer.parameters
        assert said["user_nåme"] == "Peter"
        assert said["name"] == "1500°"
        assert said["state"] == STATE


@pytest.mark.parametrize("name", ["code", "state", "iss", "error", "error_description", "error_uri"])
def test_an_answer_replaces_its_own_parameters_in_a_uri_of_old(
    system: System, alice: Browser, name: str
) -> None:
    """RFC 6749, section 3.1: a response parameter is there once. New URIs of this kind are refused."""
    uri = f"https://app.example/cb?a=1&{name}=theirs"
    app = system.keep_client(Client("old", "Old", bytes(32), redirect_uris=(uri,)))
    system.oracle.redirect_uris.add("https://app.example/cb?a=1")
    for answer in (app.authorize(alice), app.ask(alice, scope="unknown")):
        query = parse_qsl(urlsplit(answer.location).query)
        names = [name for name, _ in query]
        assert query[0] == ("a", "1")
        assert len(names) == len(set(names))
        assert dict(query)["state"] == STATE
        assert "theirs" not in dict(query).values()


# What may be registered.


@pytest.mark.parametrize(
    "uri",
    [
        "/relative/uri/",
        "https://app.example/cb#fragmentValue",
        " https://app.example/cb",
        "https://app.example/cb?state=x",
    ],
)
def test_a_uri_that_does_not_fit_cannot_be_registered(system: System, alice: Browser, uri: str) -> None:
    """RU-04, RU-16; RFC 6749, section 3.1.2; DJOAuth2 judged this at each request."""
    with pytest.raises(RegistrationError):
        system.add_client("App", uri)


@pytest.mark.parametrize("uri", ["/relative/uri/", "https://app.example/cb#frag", "http://app.example/"])
def test_what_was_registered_before_is_compared_all_the_same(
    system: System, alice: Browser, uri: str
) -> None:
    """Nothing else than the registered string is ever gone to, whatever a request says."""
    app = system.keep_client(Client("old", "Old", bytes(32), redirect_uris=(uri,)))
    assert_not_sent(app.ask(alice, redirect_uri="https://app.example/cb"))


def test_http_is_taken_where_tls_is_not_demanded(make_system: MakeSystem) -> None:
    """DJOAuth2's ``DJOAUTH2_SSL_ONLY = False``."""
    system = make_system(Settings(ssl_only=False))
    alice = system.browser("alice")
    for uri in ("http://app.example/cb", "https://app.example/cb"):
        app = system.add_client("App", uri)
        assert app.authorize(alice).location.startswith(uri + "?")
        assert_sent_back(app.ask(alice, scope="unknown"), app, "invalid_scope")


def test_an_http_uri_of_development_gets_nothing_later(make_system: MakeSystem) -> None:
    """DJOAuth2's `test_error_response_does_not_redirect_to_insecure_redirect_uri_when_ssl_required`."""
    system = make_system()
    app = system.keep_client(Client("old", "Old", bytes(32), redirect_uris=("http://app.example/cb",)))
    alice = system.browser("alice")
    for changed in ({}, {"redirect_uri": None}, {"scope": "unknown"}):
        assert_not_sent(app.ask(alice, **changed))


# Between the page and its form.


def test_a_uri_removed_meanwhile_is_not_redirected_to(app: App, alice: Browser) -> None:
    """RU-22: what was good when the page was made is judged again."""
    page = app.ask(alice)
    app.change(redirect_uris=("https://app.example/new",))
    assert_not_sent(alice.submit(page, "user_action", user_action="Accept"))
    assert app.system.grants() == []


def test_a_client_disabled_or_deleted_meanwhile_is_not_redirected_to(app: App, alice: Browser) -> None:
    """RU-22."""
    page = app.ask(alice)
    app.change(disabled=True)
    assert_not_sent(alice.submit(page, "user_action", user_action="Accept"))
    app.system.do(app.system.administration.delete_client(app.client_id))
    assert_not_sent(alice.submit(page, "user_action", user_action="Accept"))
    assert app.system.grants() == []


def test_a_scope_deleted_meanwhile_is_not_granted(app: App, alice: Browser) -> None:
    page = app.ask(alice, scope="verify")
    app.system.do(app.system.administration.delete_scope("verify"))
    answer = alice.submit(page, "user_action", user_action="Accept")
    assert_sent_back(answer, app, "invalid_scope")
    assert app.system.grants() == []


# At the token endpoint.


def test_the_same_uri_must_be_shown_again(app: App, alice: Browser) -> None:
    """RFC 6749, section 4.1.3; a failed try does not burn the code."""
    code = app.code(alice)
    assert_token_error(app.exchange(code, redirect_uri=None), 400, "invalid_grant")
    assert tokens_of(app.exchange(code, redirect_uri=REGISTERED))


@pytest.mark.parametrize("sent", [None, REGISTERED])
def test_a_uri_that_was_not_named_may_be_shown(app: App, alice: Browser, sent: str | None) -> None:
    """It is the one that the code was sent to; another one is refused, and burns nothing."""
    code = app.code(alice, redirect_uri=None)
    for other in ("https://app.example/other", REGISTERED + "/", REGISTERED.upper()):
        assert_token_error(app.exchange(code, redirect_uri=other), 400, "invalid_grant")
    assert tokens_of(app.exchange(code, redirect_uri=sent))


def test_another_uri_of_the_client_is_not_where_the_code_was_sent(app: App, alice: Browser) -> None:
    """Also where it was registered after the code was sent."""
    code = app.code(alice, redirect_uri=None)
    other = "https://app.example/other"
    app.change(redirect_uris=(other, REGISTERED))
    assert_token_error(app.exchange(code, redirect_uri=other), 400, "invalid_grant")
    assert tokens_of(app.exchange(code, redirect_uri=REGISTERED))


@pytest.mark.parametrize("named", [None, REGISTERED])
def test_a_code_is_worth_nothing_once_its_uri_is_taken_away(
    app: App, alice: Browser, named: str | None
) -> None:
    """It may be in the hands of whoever has the address now. Given back, the code is good again."""
    code = app.code(alice, redirect_uri=named)
    app.change(redirect_uris=("https://app.example/new",))
    for sent in (None, REGISTERED, "https://app.example/new"):
        assert_token_error(app.exchange(code, redirect_uri=sent), 400, "invalid_grant")
    app.change(redirect_uris=(REGISTERED,))
    assert tokens_of(app.exchange(code, redirect_uri=named))


def test_a_client_made_a_resource_server_only_gets_no_tokens(app: App, alice: Browser) -> None:
    """Neither for a code nor for a refresh token that it still has."""
    refresh_token = tokens_of(app.exchange(app.code(alice)))["refresh_token"]
    code = app.code(alice)
    app.change(redirect_uris=(), resource_server=True)
    assert_token_error(app.exchange(code), 400, "invalid_grant")
    assert_token_error(app.refresh(refresh_token), 400, "invalid_grant")
    assert_not_sent(app.ask(alice))


@pytest.mark.parametrize(
    "uri",
    [
        "https://other.example/cb",
        "https://app.example/CB",
        "https://app.example/cb/",
        "https://app.example/%63b",
        "https://app.example/cb#",
        "https://app.example/cb\udcff",
    ],
)
def test_another_uri_at_the_token_endpoint(app: App, alice: Browser, uri: str) -> None:
    """CG-11, D5: `invalid_grant` where DJOAuth2 said `invalid_request`; without the right one."""
    code = app.code(alice)
    answer = app.exchange(code, redirect_uri=uri)
    assert_token_error(answer, 400, "invalid_grant")
    assert REGISTERED not in answer.text
    assert tokens_of(app.exchange(code))
