"""RP-initiated logout, back-channel logout and ``id_token_hint``, with ID tokens of the provider."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import attrs
import pytest
from joserfc import jws
from joserfc.jwk import KeySet
from openid_driver import (
    Provider,
    again,
    ask,
    follow,
    is_login_page,
    log_in,
    log_in_silently,
    unverified,
)
from test_openid_logout_sending import Receiver
from twisted.internet.defer import Deferred
from web_driver import Answer, App, Browser, assert_not_sent, encoded, wait

from djoauth2_twisted.protocol.logout import EVENT, TYPE
from djoauth2_twisted.testing.requests import MemoryAgent

BYE = "https://app.example/bye"
END = "/oauth2/end_session/"


@pytest.fixture(autouse=True)
def _registered(provider: Provider) -> None:
    provider.oracle.redirect_uris.add(BYE)


def end(browser: Browser, **sent: str | None) -> Answer:
    """Send a browser to the end_session_endpoint."""
    return browser.get(f"{END}?{encoded(sent).decode('ascii')}")


def is_logged_in(rp: App, browser: Browser) -> bool:
    return log_in_silently(rp, browser).parameters.get("error") != "login_required"


def asks(answer: Answer) -> bool:
    """Whether a page asks whether to log out."""
    return answer.status == 200 and "csrf_token" in answer.text


def modified(token: str) -> str:
    """A token whose claims were changed after it was signed."""
    header, _, signature = token.split(".")
    claims = json.dumps({**unverified(token), "sub": "another"}).encode()
    return f"{header}.{base64.urlsafe_b64encode(claims).rstrip(b'=').decode()}.{signature}"


@pytest.fixture
def hint(rp: App, alice: Browser) -> str:
    """The ID token of alice's login at the client."""
    token: str = log_in(rp, alice)["id_token"]
    return token


def test_oidcc_rp_initiated_logout_discovery_endpoint_verification(provider: Provider) -> None:
    metadata = provider.get("/.well-known/openid-configuration").json
    assert metadata["end_session_endpoint"] == f"{provider.issuer}{END}"
    assert metadata["backchannel_logout_supported"] is True
    assert metadata["backchannel_logout_session_supported"] is True


def test_oidcc_rp_initiated_logout(rp: App, alice: Browser, hint: str) -> None:
    """A hint of this very login ends it without a question."""
    answer = end(alice, id_token_hint=hint, post_logout_redirect_uri=BYE, state="a state")
    assert answer.location == f"{BYE}?state=a+state"
    assert not is_logged_in(rp, alice)


def test_oidcc_rp_initiated_logout_bad_post_logout_redirect_uri(
    rp: App, alice: Browser, hint: str
) -> None:
    answer = end(alice, id_token_hint=hint, post_logout_redirect_uri="https://evil.example/", state="s")
    assert_not_sent(answer)
    assert is_logged_in(rp, alice)


def test_oidcc_rp_initiated_logout_modified_id_token_hint(rp: App, alice: Browser, hint: str) -> None:
    answer = end(alice, id_token_hint=modified(hint), post_logout_redirect_uri=BYE, state="s")
    assert_not_sent(answer)
    assert is_logged_in(rp, alice)


@pytest.mark.parametrize("bad", ["x", "a.b.c", "e30.e30.", "{}", "." * 3999])
def test_oidcc_rp_initiated_logout_bad_id_token_hint(
    rp: App, alice: Browser, hint: str, bad: str
) -> None:
    assert_not_sent(end(alice, id_token_hint=bad, post_logout_redirect_uri=BYE, state="s"))
    assert is_logged_in(rp, alice)


def test_oidcc_rp_initiated_logout_no_id_token_hint(rp: App, alice: Browser, hint: str) -> None:
    """The client is not known, so no address is registered."""
    assert_not_sent(end(alice, post_logout_redirect_uri=BYE, state="s"))
    assert is_logged_in(rp, alice)


def test_oidcc_rp_initiated_logout_no_params(rp: App, alice: Browser, hint: str) -> None:
    """OPENID.md, failure 13: a page, which asks."""
    page = end(alice)
    assert asks(page)
    after = follow(alice, alice.submit(page, "csrf_token"))
    assert after.status == 200
    assert not is_logged_in(rp, alice)
    assert follow(alice, end(alice)).status == 200


def test_oidcc_rp_initiated_logout_no_post_logout_redirect_uri(
    rp: App, alice: Browser, hint: str
) -> None:
    assert follow(alice, end(alice, id_token_hint=hint, state="s")).status == 200
    assert not is_logged_in(rp, alice)


def test_oidcc_rp_initiated_logout_no_state(rp: App, alice: Browser, hint: str) -> None:
    assert end(alice, id_token_hint=hint, post_logout_redirect_uri=BYE).location == BYE
    assert not is_logged_in(rp, alice)


def test_oidcc_rp_initiated_logout_only_state(rp: App, alice: Browser, hint: str) -> None:
    assert asks(end(alice, state="s"))
    assert is_logged_in(rp, alice)


def test_oidcc_rp_initiated_logout_query_added_to_post_logout_redirect_uri(
    rp: App, alice: Browser, hint: str
) -> None:
    answer = end(alice, id_token_hint=hint, post_logout_redirect_uri=f"{BYE}?foo=bar", state="s")
    assert_not_sent(answer)
    assert is_logged_in(rp, alice)


def test_a_client_id_without_a_hint_asks_first(rp: App, alice: Browser, hint: str) -> None:
    page = end(alice, client_id=rp.client_id, post_logout_redirect_uri=BYE, state="s")
    assert asks(page)
    assert is_logged_in(rp, alice)
    assert alice.submit(page, "csrf_token").location == f"{BYE}?state=s"
    assert not is_logged_in(rp, alice)


def test_the_client_id_must_be_that_of_the_hint(
    provider: Provider, rp: App, alice: Browser, hint: str
) -> None:
    other = provider.add_client("Other", post_logout_redirect_uris=(BYE,))
    sent = {"id_token_hint": hint, "post_logout_redirect_uri": BYE}
    assert_not_sent(end(alice, client_id=other.client_id, **sent))
    assert end(alice, client_id=rp.client_id, **sent).location == BYE


def test_an_expired_hint_counts(provider: Provider, rp: App, alice: Browser, hint: str) -> None:
    provider.advance(2 * provider.settings.access_token_lifetime)
    assert end(alice, id_token_hint=hint, post_logout_redirect_uri=BYE).location == BYE
    assert not is_logged_in(rp, alice)


def test_the_hint_of_another_user_asks_first(
    provider: Provider, rp: App, alice: Browser, hint: str
) -> None:
    """The token of one user does not end the login of another."""
    bob = provider.browser("bob")
    log_in(rp, bob)
    assert asks(end(bob, id_token_hint=hint, post_logout_redirect_uri=BYE))
    assert is_logged_in(rp, bob)


def test_without_a_login_the_browser_goes_on(provider: Provider, rp: App, hint: str) -> None:
    stranger = provider.browser()
    sent = {"post_logout_redirect_uri": BYE, "state": "s"}
    assert end(stranger, id_token_hint=hint, **sent).location == f"{BYE}?state=s"
    assert end(stranger, client_id=rp.client_id, **sent).location == f"{BYE}?state=s"


def test_a_form_of_another_site_ends_the_login(
    provider: Provider, rp: App, alice: Browser, hint: str
) -> None:
    """It comes without a cookie. A form with the cookie is answered at once."""
    sent = {"id_token_hint": hint, "post_logout_redirect_uri": BYE, "state": "s;t"}
    answer = provider.post(END, sent)
    assert follow(alice, answer).location == f"{BYE}?state=s%3Bt"
    alice.log_in("alice")
    assert alice.post(END, sent).location == f"{BYE}?state=s%3Bt"
    assert not is_logged_in(rp, alice)


def test_a_form_is_bound_to_the_request_and_the_login(
    provider: Provider, rp: App, alice: Browser, hint: str
) -> None:
    page = end(alice, state="one")
    form = page.form("csrf_token")
    for other in (f"{END}?state=two", f"{END}?client_id={rp.client_id}"):
        answer = alice.post(other, form.hidden)
        assert answer.status == 403
    assert provider.browser("bob").post(form.action, form.hidden).status == 403
    assert is_logged_in(rp, alice)
    provider.advance(3601)
    late = alice.post(form.action, form.hidden)
    assert late.status == 403
    assert alice.submit(late, "csrf_token").status == 303


@pytest.mark.parametrize("sent", ["state=a&state=b", "id_token_hint=%C3%A9", "%=%&" * 60])
def test_a_malformed_request_gets_a_page(alice: Browser, sent: str) -> None:
    assert_not_sent(alice.get(f"{END}?{sent}"))


def test_ui_locales_choose_the_language(alice: Browser) -> None:
    assert end(alice, ui_locales="de").header("content-language") == "de"


def test_other_methods_and_no_tls_are_refused(alice: Browser) -> None:
    assert alice.get(END, method="PUT").status == 405
    assert alice.get("http://as.example" + END).status == 400


# id_token_hint at the authorization endpoint.


def test_oidcc_id_token_hint(provider: Provider, rp: App, alice: Browser, hint: str) -> None:
    """Silently, after an earlier consent, also where the token has expired."""
    assert "code" in log_in_silently(rp, alice, id_token_hint=hint).parameters
    provider.advance(2 * provider.settings.access_token_lifetime)
    assert "code" in log_in_silently(rp, alice, id_token_hint=hint).parameters


def test_the_hint_of_another_user_is_login_required(
    provider: Provider, rp: App, alice: Browser, hint: str
) -> None:
    """OPENID.md, failure 8: never silently another account."""
    bob = provider.browser("bob")
    log_in(rp, bob)
    for prompt in (None, "none", "login"):
        answer = ask(rp, bob, id_token_hint=hint, prompt=prompt)
        assert answer.parameters["error"] == "login_required"
    stranger = provider.browser()
    answer = again(rp, stranger, ask(rp, stranger, id_token_hint=hint), "bob")
    assert answer.parameters["error"] == "login_required"
    stranger = provider.browser()
    assert log_in_silently(rp, stranger, id_token_hint=hint).parameters["error"] == "login_required"
    page = ask(rp, stranger, id_token_hint=hint)
    assert is_login_page(page)
    assert "code" in again(rp, stranger, page).parameters


@pytest.mark.parametrize("change", [modified, lambda token: token[:-5], lambda token: "x"])
def test_a_hint_that_is_not_ours_is_refused(
    rp: App, alice: Browser, hint: str, change: Callable[[str], str]
) -> None:
    answer = ask(rp, alice, id_token_hint=change(hint))
    assert answer.parameters["error"] == "invalid_request"


def test_oidcc_prompt_login_and_max_age_are_seen_in_the_id_token(
    provider: Provider, rp: App, alice: Browser, hint: str
) -> None:
    """The second auth_time is later with both, and the same where the login is young enough."""
    first = unverified(hint)["auth_time"]
    young = rp.exchange(ask(rp, alice, max_age="10000").parameters["code"]).json
    assert unverified(young["id_token"])["auth_time"] == first
    for changed in ({"prompt": "login"}, {"max_age": "1"}):
        provider.advance(2)
        answer = again(rp, alice, ask(rp, alice, **changed))
        token = rp.exchange(answer.parameters["code"]).json["id_token"]
        assert unverified(token)["auth_time"] > first
        first = unverified(token)["auth_time"]


# Back-channel logout.


@pytest.fixture
def receiver(provider: Provider) -> Receiver:
    """Where all clients take logout tokens; it keeps them as they come."""
    receiver = Receiver()
    receiver.read = lambda token: token
    delivery: Any = provider.server._housekeeping._others[0]
    agent = MemoryAgent(receiver)
    delivery._sender = attrs.evolve(delivery._sender, agent=agent)

    def flush() -> None:
        for _ in range(5):
            provider.advance(0)
            agent.flush()

    receiver.flush = flush
    return receiver


def claims_of(provider: Provider, receiver: Receiver) -> list[dict[str, Any]]:
    """The claims of all logout tokens, after their signatures were verified."""
    receiver.flush()
    ring = provider.server.key_ring
    assert ring is not None
    published = wait(Deferred.fromCoroutine(ring.published()))
    keys = KeySet.import_key_set({"keys": published})
    found = []
    for token in receiver.got:
        read = jws.deserialize_compact(token, keys, algorithms=["RS256", "ES256"])
        assert read.headers()["typ"] == TYPE
        found.append(json.loads(read.payload))
    return found


@pytest.fixture
def told(provider: Provider) -> App:
    """A client that takes logout tokens."""
    return provider.add_client(
        "Told", post_logout_redirect_uris=(BYE,), backchannel_logout_uri="https://told.example/bye"
    )


def test_oidcc_backchannel_rp_initiated_logout(
    provider: Provider, rp: App, told: App, alice: Browser, receiver: Receiver
) -> None:
    """The other client gets a logout token, with the sid of its ID token, and without nonce."""
    other = log_in(told, alice)["id_token"]
    hint = log_in(rp, alice)["id_token"]
    assert end(alice, id_token_hint=hint, post_logout_redirect_uri=BYE).location == BYE
    (claims,) = claims_of(provider, receiver)
    assert claims["aud"] == told.client_id
    assert claims["sub"] == unverified(other)["sub"]
    assert claims["sid"] == unverified(other)["sid"]
    assert claims["events"] == {EVENT: {}}
    assert "nonce" not in claims


def test_a_logout_page_tells_clients_and_another_user_does_too(
    provider: Provider, told: App, alice: Browser, receiver: Receiver
) -> None:
    log_in(told, alice)
    alice.log_out()
    assert len(claims_of(provider, receiver)) == 1
    alice.log_in("alice")
    log_in_silently(told, alice)
    log_in(told, alice, prompt="consent")
    alice.log_in("bob", page=alice.get("/oauth2/login/?next=/x"))
    assert len(claims_of(provider, receiver)) == 2


def test_a_new_login_of_the_same_user_is_no_logout(
    provider: Provider, told: App, alice: Browser, receiver: Receiver
) -> None:
    """The login keeps its name, so that the clients from before learn of its end."""
    first = unverified(log_in(told, alice)["id_token"])
    again(told, alice, ask(told, alice, prompt="login"))
    assert claims_of(provider, receiver) == []
    alice.log_out()
    (claims,) = claims_of(provider, receiver)
    assert claims["sid"] == first["sid"]


def test_an_application_that_is_removed_is_told(
    provider: Provider, told: App, alice: Browser, receiver: Receiver
) -> None:
    log_in(told, alice)
    alice.remove(alice.get("/oauth2/account/"))
    (claims,) = claims_of(provider, receiver)
    assert (claims["aud"], "sid" in claims) == (told.client_id, False)


@pytest.mark.parametrize("change", ["set_password", "disable", "delete_user"])
def test_an_administrator_ends_the_logins_at_the_clients(
    provider: Provider, told: App, alice: Browser, receiver: Receiver, change: str
) -> None:
    log_in(told, alice)
    administration = provider.server.administration
    actions = {
        "set_password": lambda: administration.set_password("alice", "another horse battery"),
        "disable": lambda: administration.edit_user("alice", disabled=True),
        "delete_user": lambda: administration.delete_user("alice"),
    }
    administration = attrs.evolve(administration, hash_password=provider._hash)
    provider.do(actions[change]())
    assert [claims["aud"] for claims in claims_of(provider, receiver)] == [told.client_id]


def test_a_logout_token_is_no_hint(
    provider: Provider, told: App, alice: Browser, receiver: Receiver
) -> None:
    log_in(told, alice)
    alice.log_out()
    claims_of(provider, receiver)
    assert_not_sent(end(alice, id_token_hint=receiver.got[0]))
    answer = ask(told, alice, id_token_hint=receiver.got[0])
    assert answer.parameters["error"] == "invalid_request"


def test_a_client_that_hangs_does_not_hold_up_the_logout(
    provider: Provider, told: App, alice: Browser, receiver: Receiver
) -> None:
    receiver.is_silent = True
    log_in(told, alice)
    assert alice.log_out().status == 303
    assert not is_logged_in(told, alice)
