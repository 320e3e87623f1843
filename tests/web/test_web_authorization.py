"""The authorization endpoint (RFC 6749, sections 3.1, 4.1.1 and 4.1.2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import pytest
from web_driver import (
    CHALLENGE,
    STATE,
    App,
    Browser,
    Form,
    System,
    assert_not_sent,
    assert_sent_back,
    encoded,
    tokens_of,
)

from djoauth2_twisted import Settings
from djoauth2_twisted.errors import AccessDenied, InvalidScope, get_error_details

MakeSystem = Callable[..., System]


# Methods and transport.


def test_get_is_answered_with_the_consent_page(app: App, alice: Browser) -> None:
    """AZ-01; RFC 6749, section 3.1: "MUST support the use of the HTTP "GET" method"."""
    assert app.ask(alice).is_consent


def test_post_is_a_get_with_its_parameters_in_the_body(app: App, alice: Browser) -> None:
    """AZ-02; RFC 6749, section 3.1: "MAY support the use of the "POST" method as well"."""
    page = alice.post("/oauth2/authorization/", app.fields())
    assert page.is_consent
    assert app.system.grants() == []
    assert "code" in alice.submit(page, "user_action", user_action="Accept").parameters


def test_post_resumes_after_a_login(app: App) -> None:
    """AZ-02, UI-01: what stood in the body is asked for again after the login."""
    alice = app.system.browser()
    login = alice.follow(alice.post("/oauth2/authorization/", app.fields()))
    assert alice.follow(alice.log_in("alice", page=login)).is_consent


@pytest.mark.parametrize(
    "method", ["HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "get", "PROPFIND"]
)
@pytest.mark.parametrize("slash", ["/", ""])
def test_other_methods_are_refused(app: App, alice: Browser, method: str, slash: str) -> None:
    """AZ-03: 405 with `Allow`, and nothing happens."""
    query = encoded({**app.fields(), "user_action": "Accept"}).decode()
    answer = alice.get(f"/oauth2/authorization{slash}?{query}", method=method)
    assert_not_sent(answer, 405)
    assert answer.header("allow") == "GET, POST"
    assert app.system.grants() == []


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_without_tls_nothing_is_processed(app: App, alice: Browser, method: str) -> None:
    """AZ-29; RFC 6749, section 3.1: "MUST require the use of TLS"."""
    address = "http://as.example" + app.address()
    assert_not_sent(app.system.send(method, address, b"" if method == "POST" else None))


@pytest.mark.parametrize("scheme", ["https", "http"])
def test_without_ssl_only_both_schemes_are_served(make_system: MakeSystem, scheme: str) -> None:
    """DJOAuth2's ``DJOAUTH2_SSL_ONLY = False``, for development."""
    system = make_system(Settings(ssl_only=False), origin=f"{scheme}://as.example")
    app = system.add_client("App")
    assert system.call(app.tokens(system.browser("alice"))["access_token"]).status == 200


def test_no_origin_is_let_in(app: App, alice: Browser) -> None:
    """AZ-31: there is no `Access-Control-Allow-Origin` (the oracle looks at every answer)."""
    answer = alice.get(app.address(), headers=[("Origin", "https://evil.example")])
    assert answer.is_consent
    assert answer.header("access-control-allow-origin") is None


# Client and redirect URI: until they are good, nothing is sent anywhere.


@pytest.mark.parametrize(
    "client_id", [None, "", "unknown", "x" * 5000, "é", "\x00", "\udcff", "' OR 1=1--"]
)
def test_an_unknown_client_gets_nothing(app: App, alice: Browser, client_id: str | None) -> None:
    """AZ-04, D11: RFC 6749, section 4.1.2.1: "MUST NOT automatically redirect"."""
    assert_not_sent(app.ask(alice, client_id=client_id))


def test_a_deleted_or_disabled_client_gets_nothing(app: App, alice: Browser) -> None:
    """AZ-04."""
    app.change(disabled=True)
    assert_not_sent(app.ask(alice))
    app.system.do(app.system.administration.delete_client(app.client_id))
    assert_not_sent(app.ask(alice))


@pytest.mark.parametrize(
    "wrong",
    [
        {"response_type": "token"},
        {"response_type": None},
        {"scope": "openid"},
        {"state": None},
        {"request": "x"},
        {"response_mode": "fragment"},
    ],
)
@pytest.mark.parametrize("bad", [{"client_id": "unknown"}, {"redirect_uri": "https://evil.example/"}])
def test_client_and_redirect_uri_come_before_all_else(
    app: App, alice: Browser, wrong: dict[str, Any], bad: dict[str, Any]
) -> None:
    """AZ-07."""
    assert_not_sent(app.ask(alice, **{**wrong, **bad}))


@pytest.mark.parametrize("bad", [{"client_id": "unknown"}, {"redirect_uri": "https://evil.example/"}])
def test_prompt_none_is_no_open_redirector(app: App, bad: dict[str, Any]) -> None:
    """AZ-08: nor is a request without a login."""
    stranger = app.system.browser()
    assert_not_sent(app.ask(stranger, prompt="none", **bad))
    assert_not_sent(app.ask(stranger, **bad))


# Response type.


def test_a_missing_response_type(app: App, alice: Browser) -> None:
    """AZ-05; RFC 6749, section 3.1.1: "MUST return an error response"."""
    assert_sent_back(app.ask(alice, response_type=None), app, "invalid_request")
    assert_sent_back(app.ask(alice, response_type=""), app, "invalid_request")


@pytest.mark.parametrize("response_type", ["token", "code id_token"])
def test_other_response_types(app: App, alice: Browser, response_type: str) -> None:
    """AZ-06: by query, never by fragment (which the oracle looks for)."""
    answer = app.ask(alice, response_type=response_type)
    assert_sent_back(answer, app, "unsupported_response_type")


@pytest.mark.parametrize("mode", ["fragment", "form_post", "query.jwt", "bogus"])
def test_other_response_modes(app: App, alice: Browser, mode: str) -> None:
    """AZ-27."""
    assert_sent_back(app.ask(alice, response_mode=mode), app, "invalid_request")
    assert app.ask(alice, response_mode="query").is_consent


@pytest.mark.parametrize(
    ("name", "error"),
    [("request", "request_not_supported"), ("request_uri", "request_uri_not_supported")],
)
def test_request_objects_are_not_supported(app: App, alice: Browser, name: str, error: str) -> None:
    """AZ-26."""
    assert_sent_back(app.ask(alice, **{name: "https://attacker.example/jar"}), app, error)


# State.


@pytest.mark.parametrize("state", [None, ""])
def test_a_missing_state(app: App, alice: Browser, state: str | None) -> None:
    """AZ-09: it is demanded; an empty one counts as missing."""
    assert_sent_back(app.ask(alice, state=state), app, "invalid_request", state=None)


def test_state_may_be_left_out_where_it_is_not_required(make_system: MakeSystem) -> None:
    """DJOAuth2's ``DJOAUTH2_REQUIRE_STATE = False``."""
    system = make_system(Settings(require_state=False))
    app, alice = system.add_client("App"), system.browser("alice")
    assert "state" not in app.authorize(alice, state=None).parameters
    assert app.authorize(alice).parameters["state"] == STATE
    assert_sent_back(app.ask(alice, state=None, scope="unknown"), app, "invalid_scope", state=None)


@pytest.mark.parametrize(
    "state",
    [
        "a&b=c#d%25 é+\"<>'\\",
        "x" * 1000,
        "x" * 8000,
        "\r\nSet-Cookie: x=1",
        "nul\x00",
        "\udcff",
        "\udced\udca0\udc80",
        "日本語\U0001f600",
        " leading and trailing ",
        "{{7*7}}",
    ],
    ids=lambda state: ascii(state[:12]),
)
def test_state_comes_back_byte_by_byte(app: App, alice: Browser, state: str) -> None:
    """AZ-11, AZ-13, AZ-14; RFC 6749, section 4.1.2: "The exact value received from the client"."""
    for answer in (
        app.authorize(alice, state=state),
        app.authorize(alice, state=state, decision="Decline"),
        app.ask(alice, state=state, scope="unknown"),
    ):
        query = parse_qsl(urlsplit(answer.location).query, errors="surrogateescape")
        assert dict(query)["state"] == state
        assert answer.header("set-cookie") is None


def test_a_state_too_long_for_the_login_is_refused_cleanly(app: App) -> None:
    """AZ-13: what would not fit into a request line after the login is not cut off."""
    stranger, state = app.system.browser(), "%" * 5000
    assert_sent_back(app.ask(stranger, state=state), app, "invalid_request", state=state)


def test_a_semicolon_separates_nothing(app: App, alice: Browser) -> None:
    """AZ-12."""
    page = app.ask(alice, "&state=abc;def=1", state=None)
    said = alice.submit(page, "user_action", user_action="Accept").parameters
    assert said["state"] == "abc;def=1"
    answer = app.ask(alice, "&scope=user_info;redirect_uri=https://evil.example", scope=None)
    assert_sent_back(answer, app, "invalid_scope")


# Parameters twice, unknown, and in two places.


@pytest.mark.parametrize("again", ["same", "other"])
@pytest.mark.parametrize("name", ["client_id", "redirect_uri"])
def test_a_repeated_client_id_or_redirect_uri_is_not_redirected(
    app: App, alice: Browser, name: str, again: str
) -> None:
    """AZ-15."""
    value = app.fields()[name] if again == "same" else "https://evil.example/"
    assert_not_sent(app.ask(alice, f"&{name}={quote(str(value), safe='')}"))


@pytest.mark.parametrize("again", ["same", "other"])
@pytest.mark.parametrize("name", ["response_type", "state", "unheard_of"])
def test_any_other_repeated_parameter_is_an_error_for_the_client(
    app: App, alice: Browser, name: str, again: str
) -> None:
    """AZ-15; RFC 6749, section 3.1: "MUST NOT be included more than once"."""
    first = app.fields().get(name) or "same"
    value = first if again == "same" else again
    answer = app.ask(alice, f"&{name}={value}", **{name: first})
    assert_sent_back(answer, app, "invalid_request", state=None if name == "state" else STATE)


@pytest.mark.parametrize("name", ["scope", "state", "redirect_uri", "client_id", "response_type"])
def test_query_and_body_together_are_two_times(app: App, alice: Browser, name: str) -> None:
    """AZ-16."""
    answer = alice.post(app.address(), {name: "other"})
    if name in {"redirect_uri", "client_id"}:
        assert_not_sent(answer)
    else:
        state = None if name == "state" else STATE
        assert_sent_back(answer, app, "invalid_request", state=state)


def test_unknown_parameters_are_ignored(app: App, alice: Browser) -> None:
    """AZ-17; RFC 6749, section 3.1: "MUST ignore unrecognized request parameters"."""
    assert "code" in app.authorize(alice, extra="foobar", nonce="n", prompt="login").parameters


def test_too_many_parameters_are_an_error_of_the_request(app: App, alice: Browser) -> None:
    """U-01, HT-07."""
    answer = app.ask(alice, "".join(f"&a{number}=" for number in range(1000)))
    assert answer.status == 400
    assert answer.header("location") is None


@pytest.mark.parametrize(
    "kind", ["multipart/form-data; boundary=x", "application/json", "text/plain", None]
)
def test_a_body_that_is_no_form(app: App, alice: Browser, kind: str | None) -> None:
    """RFC 6749, appendix B."""
    headers = [] if kind is None else [("Content-Type", kind)]
    answer = app.system.send("POST", app.address(), encoded(app.fields()), headers)
    assert answer.status == 400
    assert answer.header("location") is None


# Scope.


@pytest.mark.parametrize("scope", [None, "", " "])
def test_a_missing_scope(app: App, alice: Browser, scope: str | None) -> None:
    """RFC 6749, section 3.3: "fail the request indicating an invalid scope"."""
    assert_sent_back(app.ask(alice, scope=scope), app, "invalid_scope")


@pytest.mark.parametrize("scope", ["nonexistent", "verify nonexistent", "nonexistent verify"])
def test_an_unknown_scope(app: App, alice: Browser, scope: str) -> None:
    """AZ-19."""
    answer = app.ask(alice, scope=scope)
    assert_sent_back(answer, app, "invalid_scope")
    assert "nonexistent" not in answer.location


@pytest.mark.parametrize(
    ("scope", "granted"),
    [
        ("verify", {"verify"}),
        ("verify autologin", {"verify", "autologin"}),
        ("autologin verify", {"verify", "autologin"}),
        ("verify verify", {"verify"}),
    ],
)
def test_known_scopes_are_granted(app: App, alice: Browser, scope: str, granted: set[str]) -> None:
    """AZ-20."""
    said = tokens_of(app.exchange(app.code(alice, scope=scope)))
    assert sorted(said["scope"].split(" ")) == sorted(granted)


@pytest.mark.parametrize("scope", ["verify\tautologin", "\x00", "v\udcff"], ids=ascii)
def test_a_malformed_scope(app: App, alice: Browser, scope: str) -> None:
    """AZ-21; RFC 6749, section 3.3: scope-token."""
    assert_sent_back(app.ask(alice, scope=scope), app, "invalid_scope")


@pytest.mark.parametrize("scope", ["verify  autologin", " verify autologin", "verify autologin "])
def test_spaces_too_many_are_passed_over(app: App, alice: Browser, scope: str) -> None:
    """AZ-21 (pin: normalised)."""
    assert tokens_of(app.exchange(app.code(alice, scope=scope)))["scope"] == "verify autologin"


def test_scopes_are_case_sensitive(app: App, alice: Browser) -> None:
    """AZ-22."""
    assert_sent_back(app.ask(alice, scope="VERIFY"), app, "invalid_scope")


def test_a_plus_is_a_space_and_its_escape_is_not(app: App, alice: Browser) -> None:
    """AZ-23."""
    assert app.ask(alice, "&scope=verify+autologin", scope=None).is_consent
    assert_sent_back(app.ask(alice, "&scope=verify%2Bautologin", scope=None), app, "invalid_scope")


@pytest.mark.parametrize(
    "scope", [" ".join(f"s{number}" for number in range(1000)), "x" * 12_000, "verify " * 1500]
)
def test_a_huge_scope_is_not_looked_up(
    app: App, alice: Browser, scope: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AZ-25."""
    looked_up: list[tuple[str, ...]] = []
    find_scopes = app.system.registry.find_scopes

    def note(names: tuple[str, ...]) -> Any:
        looked_up.append(names)
        return find_scopes(names)

    monkeypatch.setattr(app.system.registry, "find_scopes", note)
    answer = app.ask(alice, scope=scope)
    assert set(looked_up) <= {("verify",)}
    if "verify" in scope:
        assert answer.is_consent
    else:
        assert_sent_back(answer, app, "invalid_scope")


def test_a_client_is_kept_to_its_scopes(system: System, alice: Browser) -> None:
    """INTERFACE, section 1: `--scope` of a client is an allow-list."""
    app = system.add_client("Narrow", scopes=["verify"])
    assert_sent_back(app.ask(alice, scope="verify autologin"), app, "invalid_scope")
    assert app.ask(alice, scope="verify").is_consent


# PKCE's part of the authorization request (RFC 7636, section 4.3).


@pytest.mark.parametrize("challenge", ["A" * 42, "A" * 42 + "é"], ids=ascii)
def test_a_malformed_challenge(app: App, alice: Browser, challenge: str) -> None:
    """PK-06."""
    answer = app.ask(alice, code_challenge=challenge, code_challenge_method="S256")
    assert_sent_back(answer, app, "invalid_request")


@pytest.mark.parametrize("method", [None, "plain"])
def test_s256_is_the_only_method(app: App, alice: Browser, method: str | None) -> None:
    """RFC 7636, section 4.3; plain is the default, and not supported."""
    answer = app.ask(alice, code_challenge=CHALLENGE, code_challenge_method=method)
    assert_sent_back(answer, app, "invalid_request")


def test_a_method_without_a_challenge(app: App, alice: Browser) -> None:
    assert_sent_back(app.ask(alice, code_challenge_method="S256"), app, "invalid_request")


@pytest.mark.parametrize("challenge", [None, ""])
def test_a_challenge_can_be_required(make_system: MakeSystem, challenge: str | None) -> None:
    """PK-08."""
    system = make_system(Settings(require_pkce=True))
    app, alice = system.add_client("App"), system.browser("alice")
    answer = app.ask(alice, code_challenge=challenge, code_challenge_method="S256")
    assert_sent_back(answer, app, "invalid_request")
    assert app.ask(alice, code_challenge=CHALLENGE, code_challenge_method="S256").is_consent


# The answer.


def test_acceptance_sends_a_code_state_and_issuer(app: App, alice: Browser) -> None:
    """RFC 6749, section 4.1.2; RFC 9207, section 2 (MD-04)."""
    answer = app.authorize(alice)
    said = answer.parameters
    assert answer.location.partition("?")[0] == app.redirect_uri
    assert set(said) == {"code", "state", "iss"}
    assert (said["state"], said["iss"]) == (STATE, app.system.issuer)
    (grant,) = app.system.grants()
    assert (grant.client_id, grant.owner.username) == (app.client_id, "alice")
    assert grant.scopes == ("user_info",)


def test_denial_sends_access_denied(app: App, alice: Browser) -> None:
    """RFC 6749, section 4.1.2.1."""
    answer = app.authorize(alice, decision="Decline")
    assert_sent_back(answer, app, "access_denied")
    assert answer.parameters["error_description"] == "the resource owner denied the request"
    assert app.system.grants() == []


@pytest.mark.parametrize("decision", [None, "", "accept", "ACCEPT", "yes", "Accept "])
def test_whatever_is_not_accept_denies(app: App, alice: Browser, decision: str | None) -> None:
    answer = alice.submit(app.ask(alice), "user_action", user_action=decision)
    assert_sent_back(answer, app, "access_denied")


@pytest.mark.parametrize(
    ("changed", "error", "description"),
    [
        ({"response_type": "token"}, "unsupported_response_type", "response_type must be code"),
        ({"state": None}, "invalid_request", "state is missing"),
        ({"scope": None}, "invalid_scope", "scope is missing"),
        ({"scope": ""}, "invalid_scope", "scope is missing"),
        ({"scope": "unheard"}, "invalid_scope", "a scope is unknown"),
    ],
)
def test_errors_say_what_is_wrong(
    app: App, alice: Browser, changed: dict[str, Any], error: str, description: str
) -> None:
    """DJOAuth2's descriptions; but what was sent is never repeated (D8)."""
    said = app.ask(alice, **changed).parameters
    assert (said["error"], said["error_description"]) == (error, description)


def test_error_details_are_those_of_the_error() -> None:
    """DJOAuth2's ``errors.get_error_details``."""
    assert get_error_details(AccessDenied("no")) == {"error": "access_denied", "error_description": "no"}
    assert get_error_details(InvalidScope()) == {"error": "invalid_scope"}


def test_fifty_tabs_do_not_mix_their_requests(
    system: System, app: App, other_app: App, alice: Browser
) -> None:
    """AZ-32: nothing of a request is kept in the session."""
    pages: list[tuple[App, str, Form]] = []
    for number in range(50):
        client = (app, other_app)[number % 2]
        page = client.ask(alice, state=f"tab-{number}")
        pages.append((client, f"tab-{number}", page.form("user_action")))
    for client, state, form in sorted(pages, key=lambda tab: hash((tab[1], 7))):
        answer = alice.post(form.action, {**form.hidden, "user_action": "Accept"})
        assert answer.parameters["state"] == state
        assert answer.location.startswith(client.redirect_uri)
        assert tokens_of(client.exchange(answer.parameters["code"]))


@pytest.mark.parametrize("slash", ["", "/"])
def test_both_spellings_of_the_address(app: App, alice: Browser, slash: str) -> None:
    """INTERFACE, section 2: with and without the slash, without a redirect."""
    address = app.address().replace("/authorization/", f"/authorization{slash}")
    page = alice.get(address)
    assert page.is_consent
    assert "code" in alice.submit(page, "user_action", user_action="Accept").parameters


def test_the_missing_redirect_uri_page(system: System) -> None:
    """INTERFACE, section 2."""
    answer = system.send("GET", "/oauth2/missing_redirect_uri/")
    assert_not_sent(answer)
    assert "nothing was sent anywhere" in answer.words


def test_an_error_can_be_json(app: App, alice: Browser) -> None:
    """HT-15: by the Accept header, without a redirect in either form."""
    answer = alice.get(app.address(client_id="x"), headers=[("Accept", "application/json")])
    assert (answer.status, answer.error) == (400, "invalid_request")
    assert answer.header("location") is None


def test_a_bodys_form_type_is_found_in_any_case(app: App, alice: Browser) -> None:
    kind = ("Content-Type", "Application/X-WWW-Form-Urlencoded; charset=UTF-8")
    headers = [("Cookie", f"__Host-djoauth2={alice.secret}"), kind]
    answer = app.system.send("POST", "/oauth2/authorization/", encoded(app.fields()), headers)
    assert answer.is_consent


def test_settings_change_what_is_issued(make_system: MakeSystem) -> None:
    """INTERFACE, section 1: lengths, each with enough random bits."""
    system = make_system(
        Settings(access_token_length=40, refresh_token_length=50, authorization_code_length=22)
    )
    app, alice = system.add_client("App"), system.browser("alice")
    code = app.code(alice)
    said = tokens_of(app.exchange(code))
    assert (len(code), len(said["access_token"]), len(said["refresh_token"])) == (22, 40, 50)
