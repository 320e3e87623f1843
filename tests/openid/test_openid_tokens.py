"""ID tokens, UserInfo and scopes. A test of a module of the certification has its name."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from typing import Any

import attrs
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet
from openid_driver import NONCE, Provider, ask, unverified
from web_driver import (
    CHALLENGE,
    FORM,
    STATE,
    VERIFIER,
    Answer,
    App,
    Browser,
    assert_challenge,
    assert_not_sent,
    assert_sent_back,
    assert_token_error,
    basic,
    encoded,
    tokens_of,
    wait,
)

from djoauth2_twisted.models import ResourceOwner, Session

EVERYTHING = "openid profile email address phone"


def consent(rp: App, browser: Browser, **changed: str | None) -> str:
    """A code, after a consent or by a remembered one."""
    answer = ask(rp, browser, **changed)
    return rp.accept(browser, answer) if answer.is_consent else answer.parameters["code"]


def log_in(rp: App, browser: Browser, **changed: str | None) -> dict[str, Any]:
    """Log in, and exchange the code."""
    return tokens_of(rp.exchange(consent(rp, browser, **changed)))


def key_set(provider: Provider) -> KeySet:
    answer = provider.send("GET", "/oauth2/jwks/")
    assert answer.status == 200
    keys: Any = answer.json
    return KeySet.import_key_set(keys)


def verified(provider: Provider, rp: App, id_token: str, algorithm: str = "RS256") -> dict[str, Any]:
    """The claims of an ID token, as a careful client verifies it (Core, section 3.1.3.7)."""
    token = jwt.decode(id_token, key_set(provider), algorithms=[algorithm])
    claims: dict[str, Any] = token.claims
    assert token.header["typ"] == "JWT"
    assert claims["iss"] == provider.issuer
    assert claims["aud"] == rp.client_id
    assert claims["iat"] <= provider.reactor.seconds() < claims["exp"]
    assert None not in claims.values()
    assert "" not in claims.values()
    return claims


def ask_user_info(provider: Provider, token: str, method: str = "GET") -> Answer:
    return provider.call(token, method, "/oauth2/userinfo/")


@pytest.fixture
def es256(provider: Provider) -> App:
    return provider.add_client("Small", id_token_alg="ES256")


def test_oidcc_server(provider: Provider, rp: App, alice: Browser) -> None:
    """The happy flow: the ID token, with what was asked for and nothing else, and UserInfo."""
    tokens = log_in(rp, alice)
    claims = verified(provider, rp, tokens["id_token"])
    assert set(claims) == {"iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "at_hash"}
    assert claims["nonce"] == NONCE
    half = hashlib.sha256(tokens["access_token"].encode()).digest()[:16]
    assert claims["at_hash"] == base64.urlsafe_b64encode(half).decode().rstrip("=")
    assert claims["sub"].isascii()
    assert 0 < len(claims["sub"]) <= 255
    assert claims["exp"] == claims["iat"] + 3600
    assert ask_user_info(provider, tokens["access_token"]).json == {"sub": claims["sub"]}


def test_oidcc_idtoken_signature(provider: Provider, rp: App, es256: App, alice: Browser) -> None:
    """RS256, or what the client is registered with. The key set has the key, and no private half."""
    for client, algorithm in ((rp, "RS256"), (es256, "ES256")):
        id_token = log_in(client, alice)["id_token"]
        verified(provider, client, id_token, algorithm)
        header = json.loads(base64.urlsafe_b64decode(id_token.split(".")[0] + "=="))
        assert header["alg"] == algorithm
        keys = provider.send("GET", "/oauth2/jwks/").json["keys"]
        assert [key["alg"] for key in keys if key["kid"] == header["kid"]] == [algorithm]


def test_oidcc_alternate_happy_flow(provider: Provider, alice: Browser) -> None:
    """A second client, whose redirect URI has a query."""
    second = provider.add_client("Second", "https://second.example/cb?dummy1=lorem&dummy2=ipsum")
    verified(provider, second, log_in(second, alice)["id_token"])


def test_oidcc_response_type_missing(rp: App, alice: Browser) -> None:
    assert_sent_back(rp.ask(alice, scope="openid", response_type=None), rp, "invalid_request")


def test_oidcc_ensure_request_without_nonce_succeeds_for_code_flow(
    provider: Provider, rp: App, alice: Browser
) -> None:
    """The ID token then has none, and no null."""
    assert "nonce" not in verified(provider, rp, log_in(rp, alice, nonce=None)["id_token"])


@pytest.mark.parametrize(
    "method",
    [
        pytest.param("GET", id="oidcc-userinfo-get"),
        pytest.param("POST", id="oidcc-userinfo-post-header"),
    ],
)
def test_user_info_is_asked(provider: Provider, rp: App, alice: Browser, method: str) -> None:
    tokens = log_in(rp, alice)
    answer = ask_user_info(provider, tokens["access_token"], method)
    assert (answer.status, answer.header("content-type")) == (200, "application/json")
    assert answer.header("cache-control") == "no-store"
    assert answer.json["sub"] == unverified(tokens["id_token"])["sub"]


def test_oidcc_userinfo_post_body(provider: Provider, rp: App, alice: Browser) -> None:
    """A token in the body is not taken, here as everywhere. The suite warns of it."""
    token = log_in(rp, alice)["access_token"]
    answer = provider.post("/oauth2/userinfo/", {"access_token": token})
    assert_challenge(answer, 401, None)


OF_PROFILE = {"name", "given_name", "family_name", "preferred_username", "updated_at"}
OF_EMAIL = {"email", "email_verified"}


@pytest.mark.parametrize(
    ("scope", "granted", "claims"),
    [
        pytest.param("openid profile", "openid profile", OF_PROFILE, id="oidcc-scope-profile"),
        pytest.param("openid email", "openid email", OF_EMAIL, id="oidcc-scope-email"),
        # The suite skips these three, since the metadata does not list the scopes.
        pytest.param("openid address", "openid", set(), id="oidcc-scope-address"),
        pytest.param("openid phone", "openid", set(), id="oidcc-scope-phone"),
        pytest.param(EVERYTHING, "openid profile email", OF_PROFILE | OF_EMAIL, id="oidcc-scope-all"),
    ],
)
def test_scopes_give_their_claims(
    provider: Provider, rp: App, alice: Browser, scope: str, granted: str, claims: set[str]
) -> None:
    """In UserInfo, and not in the ID token."""
    provider.do(provider.administration.edit_user("alice", email="alice@e.example"))
    tokens = log_in(rp, alice, scope=scope)
    assert tokens["scope"] == granted
    info = ask_user_info(provider, tokens["access_token"]).json
    assert set(info) == {"sub"} | claims
    assert not set(unverified(tokens["id_token"])) & claims
    assert info.get("name", "Alice Liddell") == "Alice Liddell"
    assert info.get("email_verified", False) is False


def test_oidcc_codereuse(rp: App, alice: Browser) -> None:
    code = consent(rp, alice)
    tokens_of(rp.exchange(code))
    assert_token_error(rp.exchange(code), 400, "invalid_grant")


def test_oidcc_codereuse_30seconds(provider: Provider, rp: App, alice: Browser) -> None:
    """What the first exchange gave is dead then."""
    code = consent(rp, alice)
    token = tokens_of(rp.exchange(code))["access_token"]
    provider.advance(30)
    assert_token_error(rp.exchange(code), 400, "invalid_grant")
    assert_challenge(ask_user_info(provider, token), 401, "invalid_token")


def test_oidcc_ensure_registered_redirect_uri(rp: App, alice: Browser) -> None:
    """An error page, and never a redirect."""
    other = "https://app.example/another"
    assert_not_sent(rp.ask(alice, scope="openid", redirect_uri=other))


def test_oidcc_server_client_secret_post(provider: Provider, rp: App, alice: Browser) -> None:
    tokens = tokens_of(rp.exchange(consent(rp, alice), auth="post"))
    verified(provider, rp, tokens["id_token"])


def test_oidcc_ensure_request_with_valid_pkce_succeeds(
    provider: Provider, rp: App, alice: Browser
) -> None:
    code = consent(rp, alice, code_challenge=CHALLENGE, code_challenge_method="S256")
    tokens = tokens_of(rp.exchange(code, code_verifier=VERIFIER))
    verified(provider, rp, tokens["id_token"])


def test_oidcc_refresh_token(provider: Provider, rp: App, es256: App, alice: Browser) -> None:
    """A new ID token of the same login, without the nonce. Another client gets an error."""
    first = log_in(rp, alice)
    before = verified(provider, rp, first["id_token"])
    provider.advance(100)
    second = tokens_of(rp.refresh(first["refresh_token"]))
    after = verified(provider, rp, second["id_token"])
    same = ("iss", "sub", "aud", "auth_time")
    assert [after[name] for name in same] == [before[name] for name in same]
    assert (after["iat"], after["exp"]) == (before["iat"] + 100, before["exp"] + 100)
    assert set(before) - set(after) == {"nonce"}
    assert after["at_hash"] != before["at_hash"]
    assert_token_error(es256.refresh(second["refresh_token"]), 400, "invalid_grant")


def test_a_refresh_without_openid_gives_no_id_token(rp: App, alice: Browser) -> None:
    """RFC 6749, section 6: the client may ask for less. With what is passed over it gets the same."""
    tokens = log_in(rp, alice, scope="openid profile")
    tokens = tokens_of(rp.refresh(tokens["refresh_token"], scope="profile"))
    assert "id_token" not in tokens
    tokens = tokens_of(rp.refresh(tokens["refresh_token"], scope="openid offline_access"))
    assert (tokens["scope"], "id_token" in tokens) == ("openid", True)
    assert_token_error(rp.refresh(tokens["refresh_token"], scope="openid other"), 400, "invalid_scope")


def test_a_retried_refresh_repeats_its_id_token(make_provider: Callable[..., Provider]) -> None:
    """Byte for byte, also where each signature differs and where time has passed."""
    provider = make_provider(refresh_retry_seconds=10)
    for algorithm in ("RS256", "ES256"):
        client = provider.add_client(algorithm, id_token_alg=algorithm)
        tokens = log_in(client, provider.browser("alice"))
        first = tokens_of(client.refresh(tokens["refresh_token"]))
        provider.advance(5)
        again = tokens_of(client.refresh(tokens["refresh_token"]))
        assert "nonce" not in verified(provider, client, again["id_token"], algorithm)
        assert again["id_token"] == first["id_token"]
        third = tokens_of(client.refresh(first["refresh_token"], scope="openid"))
        assert third["id_token"] != first["id_token"]


def test_an_id_token_without_openid_is_not_issued(rp: App, alice: Browser) -> None:
    tokens = rp.tokens(alice, scope="user_info", nonce=NONCE)
    assert set(tokens) == {"access_token", "token_type", "expires_in", "scope", "refresh_token"}


def test_a_scope_that_is_not_of_the_standard_is_still_unknown(rp: App, alice: Browser) -> None:
    """And those that are passed over are, where ``openid`` is not asked for."""
    for scope in ("openid other", "address", "user_info offline_access"):
        assert_sent_back(rp.ask(alice, scope=scope), rp, "invalid_scope")


def test_an_allow_list_holds_for_the_scopes_of_the_standard(provider: Provider, alice: Browser) -> None:
    few = provider.add_client("Few", scopes=("openid", "email"))
    assert log_in(few, alice, scope="openid email offline_access")["scope"] == "openid email"
    assert_sent_back(few.ask(alice, scope="openid profile"), few, "invalid_scope")
    none = provider.add_client("None", scopes=("user_info",))
    assert_sent_back(none.ask(alice, scope="openid"), none, "invalid_scope")
    # Taken from the client, it ends at the next refresh.
    tokens = log_in(few, alice, scope="openid email")
    few.change(scopes=("email",))
    assert "id_token" not in tokens_of(few.refresh(tokens["refresh_token"]))


def test_the_page_says_what_the_scopes_are_for(provider: Provider, rp: App, alice: Browser) -> None:
    """In the language of the browser. A registered scope has its own words."""
    page = rp.ask(alice, scope="openid profile email")
    assert "see your email address" in page.words
    german = alice.get(rp.address(scope="openid profile email"), headers=[("Accept-Language", "de")])
    assert "Ihre E-Mail-Adresse sehen" in german.words
    provider.do(provider.administration.add_scope("email", "write you letters"))
    for page in (rp.ask(alice, scope="openid email"), alice.get(rp.address(scope="openid email"))):
        assert "write you letters" in page.words
        assert "see your email address" not in page.words


def test_user_info_is_for_tokens_with_openid(provider: Provider, rp: App, alice: Browser) -> None:
    """By our guard: RFC 6750."""
    assert_challenge(provider.send("GET", "/oauth2/userinfo/"), 401, None)
    assert_challenge(ask_user_info(provider, "unknown"), 401, "invalid_token")
    token = rp.tokens(alice, scope="user_info")["access_token"]
    assert_challenge(ask_user_info(provider, token), 403, "insufficient_scope")
    token = log_in(rp, alice)["access_token"]
    answer = ask_user_info(provider, token, "DELETE")
    assert (answer.status, answer.header("allow")) == (405, "GET, POST")
    provider.advance(3600)
    assert_challenge(ask_user_info(provider, token), 401, "invalid_token")


@pytest.mark.parametrize("address", ["/oauth2/userinfo/", "/oauth2/jwks/"])
def test_scripts_may_ask(provider: Provider, address: str) -> None:
    """django-oauth-toolkit#1782: a preflight for the header, and the error can be read."""
    lines = [("Origin", "https://spa.example"), ("Access-Control-Request-Headers", "authorization")]
    preflight = provider.send("OPTIONS", address, None, lines)
    assert preflight.status == 204
    assert "Authorization" in (preflight.header("access-control-allow-headers") or "")
    assert "DPoP" in (preflight.header("access-control-allow-headers") or "")
    answer = provider.send("GET", address, None, lines[:1])
    for each in (preflight, answer):
        assert each.header("access-control-allow-origin") == "*"
        assert each.header("access-control-allow-credentials") is None


def test_email_is_verified_until_it_changes(provider: Provider, rp: App, alice: Browser) -> None:
    administration = provider.administration

    def email() -> dict[str, Any]:
        token = log_in(rp, alice, scope="openid email")["access_token"]
        return {k: v for k, v in ask_user_info(provider, token).json.items() if k != "sub"}

    assert email() == {}
    provider.do(administration.edit_user("alice", email="a@e.example", email_verified=True))
    assert email() == {"email": "a@e.example", "email_verified": True}
    provider.do(administration.edit_user("alice", first_name="Alicia"))
    assert email()["email_verified"] is True
    provider.do(administration.edit_user("alice", email="b@e.example"))
    assert email() == {"email": "b@e.example", "email_verified": False}


def test_introspection_names_the_same_subject(provider: Provider, rp: App, alice: Browser) -> None:
    tokens = log_in(rp, alice)
    form = {"token": tokens["access_token"], "client_id": rp.client_id, "client_secret": rp.secret}
    said = provider.post("/oauth2/introspect/", form).json
    assert said["sub"] == unverified(tokens["id_token"])["sub"]
    assert said["username"] == "alice"


def test_a_subject_is_never_given_again(provider: Provider, rp: App, alice: Browser) -> None:
    """Not to a user of the same name either."""
    first = unverified(log_in(rp, alice)["id_token"])["sub"]
    assert unverified(log_in(rp, provider.browser("alice"))["id_token"])["sub"] == first
    provider.do(provider.administration.delete_user("alice"))
    provider.add_user("alice", "correct horse battery")
    assert unverified(log_in(rp, provider.browser("alice"))["id_token"])["sub"] != first
    assert wait(provider.registry.was_deleted(first))


@attrs.frozen
class Guest:
    """A user of a host application."""

    username: str
    subject: str = ""
    email: str = ""
    email_verified: bool | None = None
    auth_time: int | None = None


def hosted(make_provider: Callable[..., Provider], guest: list[Guest]) -> Provider:
    return make_provider(who=lambda request, returning_to: guest[0])


def subject_at(provider: Provider, rp: App) -> str:
    subject: str = unverified(log_in(rp, provider.browser())["id_token"])["sub"]
    return subject


def test_a_user_of_a_host_gets_a_subject_at_the_first_login(
    make_provider: Callable[..., Provider],
) -> None:
    """A random one, the same at all clients, and permanent."""
    guest = [Guest("carol")]
    provider = hosted(make_provider, guest)
    one, two = provider.add_client("One"), provider.add_client("Two")
    first = subject_at(provider, one)
    assert first != "carol"
    assert len(first) == 22
    assert subject_at(provider, two) == first
    guest[0] = Guest("dave")
    assert subject_at(provider, one) != first


def test_a_host_may_bring_the_subject(make_provider: Callable[..., Provider]) -> None:
    """And when the user logged in, and whether the address is verified."""
    guest = [Guest("carol", "host-7", "c@e.example", True, 1_600_000_000)]
    provider = hosted(make_provider, guest)
    rp = provider.add_client("One")
    tokens = log_in(rp, provider.browser(), scope="openid email")
    claims = unverified(tokens["id_token"])
    assert (claims["sub"], claims["auth_time"]) == ("host-7", 1_600_000_000)
    info = ask_user_info(provider, tokens["access_token"]).json
    assert info == {"sub": "host-7", "email": "c@e.example", "email_verified": True}


def test_a_host_cannot_bring_the_subject_of_a_user_who_was_deleted(
    make_provider: Callable[..., Provider],
) -> None:
    guest = [Guest("carol")]
    provider = hosted(make_provider, guest)
    rp = provider.add_client("One")
    deleted = provider.do(provider.administration.delete_user("bob"))
    guest[0] = Guest("carol", deleted.subject)
    assert_sent_back(rp.ask(provider.browser(), scope="openid"), rp, "access_denied")


def test_a_login_of_before_gets_a_subject(provider: Provider, rp: App) -> None:
    """Of a user from elsewhere, from before the setting was on."""
    browser = provider.browser()
    provider.checker.addUser(b"carol", b"secret of carol")
    assert browser.log_in("carol", "secret of carol").status == 303
    [(digest, kept)] = [
        (digest, kept)
        for digest, kept in provider.registry._sessions.items()
        if kept.owner.username == "carol"
    ]
    old = Session(digest, ResourceOwner("carol"), kept.expires, kept.auth_time)
    provider.registry._sessions[digest] = old
    subject = unverified(log_in(rp, browser)["id_token"])["sub"]
    assert subject == kept.owner.subject != "carol"


def test_no_id_token_is_made_with_a_key_that_cannot_be_read(
    provider: Provider, rp: App, alice: Browser
) -> None:
    """The code is not lost by that."""
    code = consent(rp, alice)
    ring = provider.server.key_ring
    assert ring is not None
    kept, ring._private = ring._private, {}
    answer = with_fault(rp, code)
    assert (answer.status, answer.error) == (503, "temporarily_unavailable")
    ring._private = kept
    verified(provider, rp, tokens_of(rp.exchange(code))["id_token"])


def with_fault(rp: App, code: str) -> Answer:
    lines = (FORM, ("Authorization", basic(rp.client_id, rp.secret)))
    return rp.system.send("POST", "/oauth2/token/", encoded(rp.code_form(code)), lines, faults=True)


def test_state_of_128_characters_is_kept(rp: App, alice: Browser) -> None:
    state = STATE + "x" * (128 - len(STATE))
    page = rp.ask(alice, scope="openid", state=state)
    answer = alice.submit(page, "user_action", user_action="Accept")
    assert answer.parameters["state"] == state
