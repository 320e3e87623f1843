"""For all that is sent: never a redirect to an address that is not registered, and never a 5xx."""

from __future__ import annotations

import base64
from urllib.parse import urlsplit

from hypothesis import given, settings
from hypothesis import strategies as st
from openid_driver import Provider, follow
from web_driver import FORM, encoded

CALLBACK = "https://app.example/cb?own=1"
BYE = "https://app.example/bye"
PLACES = ["https://evil.example/cb", CALLBACK, f"{CALLBACK}&x=1", BYE, f"{BYE}?x=1", "//evil.example"]
PROMPTS = ["none", "login", "consent", "select_account", "none login"]

words = st.one_of(
    st.sampled_from([*PROMPTS, *PLACES, "0", "1", "-1", "openid", "de", "alice", ""]),
    st.text(max_size=30),
    st.binary(max_size=30).map(lambda raw: raw.decode("utf-8", "surrogateescape")),
    st.binary(max_size=90).map(lambda raw: base64.urlsafe_b64encode(raw).decode()),
)
AUTHORIZATION = [
    "response_type",
    "client_id",
    "redirect_uri",
    "scope",
    "state",
    "prompt",
    "max_age",
    "nonce",
    "display",
    "login_hint",
    "ui_locales",
    "claims_locales",
    "id_token_hint",
    "acr_values",
    "claims",
    "request",
    "request_uri",
    "response_mode",
    "code_challenge",
    "code_challenge_method",
    "djoauth2_login",
    "registration",
]
LOGOUT = [
    "id_token_hint",
    "client_id",
    "post_logout_redirect_uri",
    "state",
    "ui_locales",
    "logout_hint",
    "csrf_token",
]


def sent_fields(names: list[str]) -> st.SearchStrategy[list[tuple[str, str]]]:
    return st.lists(st.tuples(st.sampled_from(names), words), max_size=8)


def check(provider: Provider, location: str | None, registered: str) -> None:
    """A redirect leads to us, or to the registered address."""
    if location is None or urlsplit(location).netloc in ("", urlsplit(provider.origin).netloc):
        return
    assert location == registered or location.startswith((registered + "&", registered + "?"))


def test_any_authentication_request(provider: Provider) -> None:
    rp = provider.add_client("App", CALLBACK)
    browsers = provider.browser("alice"), provider.browser()

    @settings(max_examples=200, deadline=None)
    @given(
        usual=st.booleans(),
        number=st.sampled_from([0, 1]),
        method=st.sampled_from(["GET", "POST"]),
        changed=sent_fields(AUTHORIZATION),
    )
    def run(usual: bool, number: int, method: str, changed: list[tuple[str, str]]) -> None:
        names = {name for name, _ in changed}
        good = rp.fields(scope="openid").items() if usual else []
        fields = encoded([*[(name, value) for name, value in good if name not in names], *changed])
        browser, path = browsers[number].fork(), "/oauth2/authorization/"
        if method == "GET":
            answer = browser.get(f"{path}?{fields.decode('ascii')}")
        else:
            answer = browser.send("POST", path, fields, [FORM])
        for _ in range(5):
            assert answer.status < 500
            check(provider, answer.header("location"), CALLBACK)
            if answer.status != 303 or urlsplit(answer.location).netloc:
                return
            answer = browser.get(answer.location)

    run()


def test_any_request_to_end_a_session(provider: Provider) -> None:
    rp = provider.add_client("App", CALLBACK, post_logout_redirect_uris=(BYE,))
    provider.oracle.redirect_uris.add(BYE)
    browsers = provider.browser("alice"), provider.browser()

    @settings(max_examples=100, deadline=None)
    @given(
        number=st.sampled_from([0, 1]),
        method=st.sampled_from(["GET", "POST"]),
        fields=sent_fields(LOGOUT),
        own=st.booleans(),
    )
    def run(number: int, method: str, fields: list[tuple[str, str]], own: bool) -> None:
        if own:
            others = [each for each in fields if each[0] != "client_id"]
            fields = [("client_id", rp.client_id), *others]
        browser, path = browsers[number].fork(), "/oauth2/end_session/"
        if method == "GET":
            answer = browser.get(f"{path}?{encoded(fields).decode('ascii')}")
        else:
            answer = browser.send("POST", path, encoded(fields), [FORM])
        assert answer.status < 500
        check(provider, answer.header("location"), BYE)
        if answer.status == 303 and not answer.location.startswith(BYE):
            assert follow(browser, answer).status < 500

    run()
