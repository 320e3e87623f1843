"""Exchanging an authorization code (RFC 6749, section 4.1.3; RFC 7636, section 4.5)."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

import attrs
import pytest
from blinker import Signal
from web_driver import (
    CHALLENGE,
    VERIFIER,
    App,
    Browser,
    System,
    assert_challenge,
    assert_token_error,
    challenge_of,
    tokens_of,
    wait,
)

from djoauth2_twisted import Settings
from djoauth2_twisted.signals import authorization_code_used_twice

MakeSystem = Callable[..., System]


class Received:
    """What a signal has sent."""

    def __init__(self, signal: Signal) -> None:
        self.told: list[tuple[object, object]] = []
        signal.connect(self)

    def __call__(self, sender: object, **told: object) -> None:
        self.told.append((sender, told["grant"]))


def test_code_is_exchanged_for_one_pair_of_tokens(system: System, app: App, alice: Browser) -> None:
    """CG-01; RFC 6749, section 4.1.2: "MUST NOT be used more than once"."""
    code = app.code(alice)
    said = tokens_of(app.exchange(code))
    assert system.call(said["access_token"]).status == 200
    (grant,) = system.grants()
    assert grant.code_used
    assert_token_error(app.exchange(code), 400, "invalid_grant")


@pytest.mark.parametrize("code", [None, ""])
def test_missing_code_is_refused(app: App, code: str | None) -> None:
    """CG-02."""
    assert_token_error(app.exchange(code), 400, "invalid_request")


@pytest.mark.parametrize("code", ["doesNotExist", "x" * 30_000, "\udcff", "é", "'; --", "\x00", "*"])
def test_unknown_code_is_refused(app: App, alice: Browser, code: str) -> None:
    """CG-02: what was sent is not repeated (D8, held by the oracle too)."""
    app.code(alice)
    answer = app.exchange(code)
    assert_token_error(answer, 400, "invalid_grant")
    assert "doesNotExist" not in answer.text


@pytest.mark.parametrize(
    "change", [str.swapcase, lambda c: c + " ", lambda c: c * 2, lambda c: c + "\x00", lambda c: c[:-1]]
)
def test_code_with_one_character_changed_is_refused(
    app: App, alice: Browser, change: Callable[[str], str]
) -> None:
    """DB-01, DB-02's shape at the web."""
    code = app.code(alice)
    assert_token_error(app.exchange(change(code)), 400, "invalid_grant")
    assert tokens_of(app.exchange(code))


def test_code_of_another_client_is_refused(app: App, other_app: App, alice: Browser) -> None:
    """CG-03: who is not its owner can neither use it nor burn it."""
    code = app.code(alice)
    for _ in range(3):
        answer = other_app.exchange(code, redirect_uri=app.redirect_uri)
        assert_token_error(answer, 400, "invalid_grant")
    assert tokens_of(app.exchange(code))


def test_second_use_of_a_code_revokes_all_that_was_issued(
    system: System, app: App, alice: Browser
) -> None:
    """CG-05, CG-08: tokens that were refreshed since, too; and a signal tells the application."""
    received = Received(authorization_code_used_twice)
    code = app.code(alice)
    first = tokens_of(app.exchange(code))
    second = tokens_of(app.refresh(first["refresh_token"]))
    assert_token_error(app.exchange(code), 400, "invalid_grant")
    assert system.call(first["access_token"]).status == 401
    assert_challenge(system.call(second["access_token"]), 401, "invalid_token")
    assert_token_error(app.refresh(second["refresh_token"]), 400, "invalid_grant")
    assert system.grants() == []
    ((sender, grant),) = received.told
    assert sender is system.server
    assert grant.client_id == app.client_id  # type: ignore[attr-defined]


@pytest.mark.parametrize("later", [1, 30, 599, 600, 3599])
def test_late_second_use_of_a_code_revokes_all(
    system: System, app: App, alice: Browser, later: int
) -> None:
    """CG-06, CG-07: also after the code's own time, while its tokens live."""
    code = app.code(alice)
    tokens = tokens_of(app.exchange(code))
    system.advance(later)
    assert_token_error(app.exchange(code), 400, "invalid_grant")
    assert system.call(tokens["access_token"]).status == 401


def test_second_use_after_pruning_revokes_all(system: System, app: App, alice: Browser) -> None:
    """CG-07: the tombstone lives as long as the tokens (the service prunes every minute)."""
    code = app.code(alice)
    tokens = tokens_of(app.exchange(code))
    for _ in range(30):
        system.advance(60)
    assert_token_error(app.exchange(code), 400, "invalid_grant")
    assert system.call(tokens["access_token"]).status == 401


@pytest.mark.parametrize(
    "thief",
    ["another client", "a wrong secret", "another redirect URI", "no redirect URI", "a wrong verifier"],
)
def test_second_use_without_proof_revokes_nothing(
    system: System, app: App, other_app: App, alice: Browser, thief: str
) -> None:
    """CG-09: no denial of service by a stolen code."""
    code = app.code(alice)
    tokens = tokens_of(app.exchange(code))
    tries = {
        "another client": lambda: other_app.exchange(code, redirect_uri=app.redirect_uri),
        "a wrong secret": lambda: attrs.evolve(app, secret="wrong").exchange(code),
        "another redirect URI": lambda: app.exchange(code, redirect_uri="https://evil.example/"),
        "no redirect URI": lambda: app.exchange(code, redirect_uri=None),
        "a wrong verifier": lambda: app.exchange(code, code_verifier="v" * 43),
    }
    assert tries[thief]().status in {400, 401}
    assert system.call(tokens["access_token"]).status == 200
    assert tokens_of(app.refresh(tokens["refresh_token"]))


@pytest.mark.parametrize("scope", ["user_info verify", "verify", "unknown"])
def test_scope_at_the_token_endpoint_is_ignored(app: App, alice: Browser, scope: str) -> None:
    """CG-13 (pin: ignored, as RFC 6749, section 4.1.3, knows no such parameter)."""
    assert tokens_of(app.exchange(app.code(alice), scope=scope))["scope"] == "user_info"


def test_no_value_is_taken_for_one_of_another_kind(system: System, app: App, alice: Browser) -> None:
    """CG-14: codes, access tokens, refresh tokens and sessions are kept apart."""
    code = app.code(alice)
    assert_token_error(app.refresh(code), 400, "invalid_grant")
    assert_challenge(system.call(code), 401, "invalid_token")
    tokens = tokens_of(app.exchange(code))
    for value in (tokens["access_token"], tokens["refresh_token"], alice.secret, app.secret):
        assert_token_error(app.exchange(value), 400, "invalid_grant")
    for value in (tokens["access_token"], alice.secret, app.secret):
        assert_token_error(app.refresh(value), 400, "invalid_grant")
    for value in (tokens["refresh_token"], alice.secret, app.secret):
        assert_challenge(system.call(value), 401, "invalid_token")
    assert system.call(tokens["access_token"]).status == 200


def test_values_are_random_and_of_the_same_form(system: System, app: App, alice: Browser) -> None:
    """CG-16; RFC 6749, section 10.10: 128 bits, letters and digits, nothing in common."""
    values: list[str] = []
    for _ in range(60):
        code = app.code(alice)
        tokens = tokens_of(app.exchange(code))
        values += [code, tokens["access_token"], tokens["refresh_token"]]
    assert len(set(values)) == len(values)
    assert all(re.fullmatch(r"[A-Za-z0-9]{30}", value) for value in values)
    assert len({value[:4] for value in values}) > 170
    assert len({value[-4:] for value in values}) > 170


def test_values_do_not_depend_on_the_random_module(app: App, alice: Browser) -> None:
    """AB-04; DJOAuth2's `test_random_string_not_tied_to_system_random`."""
    state = random.getstate()
    values = []
    for _ in range(2):
        random.setstate(state)
        tokens = app.tokens(alice)
        values += [tokens["access_token"], tokens["refresh_token"], app.code(alice)]
    random.setstate(state)
    assert len(set(values)) == len(values)


def test_store_keeps_digests_only(system: System, app: App, alice: Browser) -> None:
    """CG-19: of codes, tokens, secrets and sessions there are digests alone."""
    code = app.code(alice)
    tokens = tokens_of(app.exchange(code))
    kept = repr(vars(system.tokens)) + repr(vars(system.registry)) + repr(system.grants())
    for value in (code, tokens["access_token"], tokens["refresh_token"], app.secret, alice.secret):
        assert value not in kept


def test_code_of_a_disabled_user_is_refused(system: System, app: App, alice: Browser) -> None:
    """As RT-14: the code is used."""
    code = app.code(alice)
    system.do(system.administration.edit_user("alice", disabled=True))
    assert_token_error(app.exchange(code), 400, "invalid_grant")


def test_new_password_ends_codes(system: System, app: App, alice: Browser) -> None:
    code = app.code(alice)
    system.do(system.administration.set_password("alice", "a new one for alice"))
    assert_token_error(app.exchange(code), 400, "invalid_grant")


def test_scope_taken_from_the_client_ends_in_its_codes(app: App, alice: Browser) -> None:
    """The exchange gives what the client may still have."""
    code = app.code(alice, scope="user_info verify autologin")
    app.change(scopes=("autologin", "verify", "example"))
    tokens = tokens_of(app.exchange(code))
    assert tokens["scope"] == "verify autologin"
    assert_challenge(app.system.call(tokens["access_token"]), 403, "insufficient_scope")


@pytest.mark.parametrize("who", ["client", "scope", "user"])
def test_deleting_user_client_or_scope_ends_codes_and_tokens(
    system: System, app: App, alice: Browser, who: str
) -> None:
    """INTERFACE, section 1: at once."""
    code, tokens = app.code(alice), app.tokens(alice)
    administration = system.administration
    if who == "client":
        system.do(administration.delete_client(app.client_id))
    elif who == "scope":
        system.do(administration.delete_scope("user_info"))
    else:
        system.do(administration.delete_user("alice"))
    assert app.exchange(code).status in {400, 401}
    assert app.refresh(tokens["refresh_token"]).status in {400, 401}
    assert_challenge(system.call(tokens["access_token"]), 401, "invalid_token")
    assert system.grants() == []


# PKCE.


@pytest.mark.parametrize("verifier", [VERIFIER, "a" * 43, "-._~" * 32, "Az09-._~" * 6])
def test_right_code_verifier_is_accepted(app: App, alice: Browser, verifier: str) -> None:
    """PK-01; RFC 7636, appendix B."""
    code = app.code(alice, code_challenge=challenge_of(verifier), code_challenge_method="S256")
    assert tokens_of(app.exchange(code, code_verifier=verifier))
    assert challenge_of(VERIFIER) == CHALLENGE


@pytest.mark.parametrize(
    "verifier",
    [None, VERIFIER.swapcase(), CHALLENGE, "\udcff"],
    ids=lambda v: ascii(v and v[-9:]),
)
def test_wrong_code_verifier_is_refused(app: App, alice: Browser, verifier: str | None) -> None:
    """PK-02; the code is not burnt."""
    code = app.code(alice, code_challenge=CHALLENGE, code_challenge_method="S256")
    assert_token_error(app.exchange(code, code_verifier=verifier), 400, "invalid_grant")
    assert tokens_of(app.exchange(code, code_verifier=VERIFIER))


def test_code_verifier_without_a_challenge_is_refused(app: App, alice: Browser) -> None:
    """PK-03; RFC 9700, section 4.8.2: no downgrade."""
    code = app.code(alice)
    assert_token_error(app.exchange(code, code_verifier=VERIFIER), 400, "invalid_grant")
    assert tokens_of(app.exchange(code))


@pytest.mark.parametrize("verifier", ["v" * 42, "v" * 129, "v" * 42 + "!", "v" * 42 + " "])
def test_malformed_code_verifier_is_refused_even_if_it_matches(
    app: App, alice: Browser, verifier: str
) -> None:
    """PK-07; RFC 7636, section 4.1."""
    code = app.code(alice, code_challenge=challenge_of(verifier), code_challenge_method="S256")
    assert_token_error(app.exchange(code, code_verifier=verifier), 400, "invalid_grant")


def test_pkce_can_be_required(make_system: MakeSystem) -> None:
    """PK-08."""
    system = make_system(Settings(require_pkce=True))
    app, alice = system.add_client("App"), system.browser("alice")
    code = app.code(alice, code_challenge=CHALLENGE, code_challenge_method="S256")
    assert_token_error(app.exchange(code), 400, "invalid_grant")
    assert_token_error(app.exchange(code, code_verifier=""), 400, "invalid_grant")
    assert tokens_of(app.exchange(code, code_verifier=VERIFIER))


def test_code_injected_into_another_session_is_refused(app: App, alice: Browser, bob: Browser) -> None:
    """CG-18; RFC 9700, section 4.5: the victim's verifier is not the attacker's."""
    stolen = app.code(alice, code_challenge=challenge_of("a" * 43), code_challenge_method="S256")
    assert_token_error(app.exchange(stolen, code_verifier="b" * 43), 400, "invalid_grant")
    assert tokens_of(app.exchange(stolen, code_verifier="a" * 43))


def test_failing_signal_receiver_does_not_change_the_answer(
    app: App,
    alice: Browser,
    logged_failures,
) -> None:
    """A signal's receiver belongs to the application; the answer is the same (U-01)."""

    def fail(sender: object, grant: object) -> None:
        raise ZeroDivisionError

    code = app.code(alice)
    tokens_of(app.exchange(code))
    with authorization_code_used_twice.connected_to(fail):
        assert_token_error(app.exchange(code), 400, "invalid_grant")
    assert logged_failures.take(ZeroDivisionError)
    assert wait(app.system.tokens.prune(0, 10)) == 2, "the grant and its pair of tokens"
