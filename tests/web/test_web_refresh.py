"""Refreshing an access token (RFC 6749, sections 6 and 10.4; RFC 9700, section 4.14.2)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import attrs
import pytest
from web_driver import (
    App,
    Browser,
    System,
    assert_challenge,
    assert_token_error,
    tokens_of,
)

from djoauth2_twisted import Settings
from djoauth2_twisted.models import Grant
from djoauth2_twisted.signals import refresh_token_used_after_invalidation

MakeSystem = Callable[..., System]


@pytest.fixture
def told() -> Iterator[list[tuple[object, Grant]]]:
    """What `refresh_token_used_after_invalidation` tells."""
    told: list[tuple[object, Grant]] = []

    def receive(sender: object, grant: Grant) -> None:
        told.append((sender, grant))

    with refresh_token_used_after_invalidation.connected_to(receive):
        yield told


def over(app: App, *answers: dict[str, str]) -> bool:
    """Whether none of these tokens is good for anything."""
    return all(app.system.call(said["access_token"]).status == 401 for said in answers) and all(
        app.refresh(said["refresh_token"]).status == 400 for said in answers
    )


def test_refresh_issues_a_new_pair_and_ends_the_old(system: System, app: App, alice: Browser) -> None:
    """RT-01."""
    first = app.tokens(alice)
    second = tokens_of(app.refresh(first["refresh_token"]))
    assert first.keys() == second.keys()
    assert first["access_token"] != second["access_token"]
    assert first["refresh_token"] != second["refresh_token"]
    assert_challenge(system.call(first["access_token"]), 401, "invalid_token")
    assert system.call(second["access_token"]).status == 200


@pytest.mark.parametrize("auth", ["basic", "post"])
def test_client_may_authenticate_by_header_or_by_form(app: App, alice: Browser, auth: str) -> None:
    assert tokens_of(app.refresh(app.tokens(alice)["refresh_token"], auth=auth))


@pytest.mark.parametrize("token", [None, ""])
def test_missing_refresh_token_is_refused(app: App, token: str | None) -> None:
    """RT-02."""
    assert_token_error(app.refresh(token), 400, "invalid_request")


@pytest.mark.parametrize("token", ["doesNotExist", "x" * 30_000, "\udcff", "é", "\x00", "*"])
def test_unknown_refresh_token_is_refused(app: App, alice: Browser, token: str) -> None:
    """RT-02, D8."""
    app.tokens(alice)
    answer = app.refresh(token)
    assert_token_error(answer, 400, "invalid_grant")
    assert "doesNotExist" not in answer.text


@pytest.mark.parametrize(
    "change", [str.swapcase, lambda t: t + " ", lambda t: t * 2, lambda t: t + "\x00"]
)
def test_refresh_token_with_one_character_changed_is_refused(
    app: App, alice: Browser, change: Callable[[str], str]
) -> None:
    """RT-17."""
    token = app.tokens(alice)["refresh_token"]
    assert_token_error(app.refresh(change(token)), 400, "invalid_grant")
    assert tokens_of(app.refresh(token))


def test_refresh_token_of_another_client_is_refused(app: App, other_app: App, alice: Browser) -> None:
    """RT-03: RFC 6749, section 10.4: it is bound to the client; its owner loses nothing."""
    token = app.tokens(alice)["refresh_token"]
    assert_token_error(other_app.refresh(token), 400, "invalid_grant")
    assert tokens_of(app.refresh(token))


def test_reused_refresh_token_revokes_its_grant_and_sends_the_signal(
    system: System, app: App, alice: Browser, told: list[tuple[object, Grant]]
) -> None:
    """RT-04, RT-05, RT-16 (pin: without a retry time, a repeat revokes); DJOAuth2's signal."""
    first = app.tokens(alice)
    second = tokens_of(app.refresh(first["refresh_token"]))
    third = tokens_of(app.refresh(second["refresh_token"]))
    assert_token_error(app.refresh(first["refresh_token"]), 400, "invalid_grant")
    assert over(app, first, second, third)
    ((sender, grant),) = told
    assert sender is system.server
    assert (grant.client_id, grant.owner.username, grant.revoked) == (app.client_id, "alice", True)


def test_reuse_by_another_client_revokes_nothing(
    app: App, other_app: App, alice: Browser, told: list[object]
) -> None:
    """CG-09's neighbour: by another client, or with a wrong secret."""
    first = app.tokens(alice)
    second = tokens_of(app.refresh(first["refresh_token"]))
    assert_token_error(other_app.refresh(first["refresh_token"]), 400, "invalid_grant")
    thief = attrs.evolve(app, secret="wrong")
    assert_token_error(thief.refresh(first["refresh_token"]), 401, "invalid_client")
    assert told == []
    assert tokens_of(app.refresh(second["refresh_token"]))


def test_two_refreshes_within_a_second_are_served(app: App, alice: Browser, told: list[object]) -> None:
    """RT-13: order does not hang on the clock."""
    first = app.tokens(alice)
    second = tokens_of(app.refresh(first["refresh_token"]))
    tokens_of(app.refresh(second["refresh_token"]))
    assert_token_error(app.refresh(second["refresh_token"]), 400, "invalid_grant")
    assert len(told) == 1


def test_reuse_leaves_other_grants_alone(app: App, alice: Browser, bob: Browser) -> None:
    """A replay ends its own grant alone."""
    others, first = [app.tokens(alice), app.tokens(bob)], app.tokens(alice)
    app.refresh(first["refresh_token"])
    assert_token_error(app.refresh(first["refresh_token"]), 400, "invalid_grant")
    for other in others:
        assert tokens_of(app.refresh(other["refresh_token"]))


def test_refresh_is_refused_where_tokens_are_not_refreshable(
    make_system: MakeSystem, app: App, alice: Browser
) -> None:
    """RT-06; DJOAuth2's ``DJOAUTH2_ACCESS_TOKENS_REFRESHABLE = False``, also for tokens from before."""
    token = app.tokens(alice)["refresh_token"]
    stores = (None, app.system.registry, app.system.tokens)
    after = make_system(Settings(access_tokens_refreshable=False), stores=stores)
    answer = attrs.evolve(app, site=after).refresh(token)
    assert_token_error(answer, 400, "invalid_grant")
    assert tokens_of(app.refresh(token))


# Scope.


@pytest.mark.parametrize(
    "scope", [None, "", "verify autologin", "autologin verify", "verify  autologin verify"]
)
def test_refresh_with_the_granted_scope(app: App, alice: Browser, scope: str | None) -> None:
    """RT-07: left out or repeated."""
    token = app.tokens(alice, "verify autologin")["refresh_token"]
    said = tokens_of(app.refresh(token, scope=scope))
    assert set(said["scope"].split()) == {"verify", "autologin"}


def test_refresh_with_a_narrower_scope_keeps_the_granted_one(
    system: System, app: App, alice: Browser
) -> None:
    """RT-07, D7 (pin: allowed, as RFC 6749, section 6, says; the next one keeps the full scope)."""
    token = app.tokens(alice, "user_info verify")["refresh_token"]
    narrow = tokens_of(app.refresh(token, scope="verify"))
    assert narrow["scope"] == "verify"
    assert_challenge(system.call(narrow["access_token"]), 403, "insufficient_scope")
    full = tokens_of(app.refresh(narrow["refresh_token"]))
    assert full["scope"] == "user_info verify"
    assert system.call(full["access_token"]).status == 200


@pytest.mark.parametrize(
    "scope",
    [
        "verify autologin example",
        "example",
        "nonexistent",
        "VERIFY",
        'a"b',
        "\udcff",
        "verify\tautologin",
    ],
)
def test_wider_or_unknown_scope_is_refused(app: App, alice: Browser, scope: str) -> None:
    """RT-07, RT-09: and the refresh token is neither rotated nor burnt."""
    tokens = app.tokens(alice, "verify autologin")
    assert_token_error(app.refresh(tokens["refresh_token"], scope=scope), 400, "invalid_scope")
    assert tokens_of(app.refresh(tokens["refresh_token"]))


def test_refresh_with_a_wrong_secret_does_not_use_the_token_up(app: App, alice: Browser) -> None:
    """RT-09."""
    token = app.tokens(alice)["refresh_token"]
    assert_token_error(attrs.evolve(app, secret="wrong").refresh(token), 401, "invalid_client")
    assert tokens_of(app.refresh(token))


# What ends refresh tokens.


@pytest.mark.parametrize(
    "what", ["user disabled", "user deleted", "client disabled", "grant revoked", "scope deleted"]
)
def test_refresh_token_ends_with_its_user_client_scope_or_grant(
    system: System, app: App, alice: Browser, what: str
) -> None:
    """RT-11, RT-14: at once, and access tokens with them."""
    tokens = app.tokens(alice)
    administration = system.administration
    actions = {
        "user disabled": lambda: administration.edit_user("alice", disabled=True),
        "user deleted": lambda: administration.delete_user("alice"),
        "client disabled": lambda: administration.edit_client(app.client_id, disabled=True),
        "grant revoked": lambda: administration.revoke_grant(system.grants()[0].id),
        "scope deleted": lambda: administration.delete_scope("user_info"),
    }
    system.do(actions[what]())
    assert app.refresh(tokens["refresh_token"]).status in {400, 401}
    assert_challenge(system.call(tokens["access_token"]), 401, "invalid_token")


def test_scope_taken_from_the_client_ends_at_the_next_refresh(
    system: System, app: App, alice: Browser
) -> None:
    """Also for a request that names it. Given back, it is there again, as the user has allowed it."""
    tokens = app.tokens(alice, scope="user_info verify")
    app.change(scopes=("verify",))
    tokens = tokens_of(app.refresh(tokens["refresh_token"]))
    assert tokens["scope"] == "verify"
    assert_challenge(system.call(tokens["access_token"]), 403, "insufficient_scope")
    tokens = tokens_of(app.refresh(tokens["refresh_token"], scope="verify user_info"))
    assert tokens["scope"] == "verify"
    assert_token_error(app.refresh(tokens["refresh_token"], scope="user_info"), 400, "invalid_scope")
    app.change(scopes=None)
    assert tokens_of(app.refresh(tokens["refresh_token"]))["scope"] == "user_info verify"


@pytest.mark.parametrize("left", [("example",), ()])
def test_client_that_may_have_nothing_any_more_gets_nothing(
    system: System, app: App, alice: Browser, left: tuple[str, ...]
) -> None:
    """`invalid_scope`, and nothing has changed: a mistake of the administrator costs no login."""
    code, tokens = app.code(alice), app.tokens(alice)
    app.change(scopes=left)
    assert_token_error(app.exchange(code), 400, "invalid_scope")
    assert_token_error(app.refresh(tokens["refresh_token"]), 400, "invalid_scope")
    app.change(scopes=None)
    assert tokens_of(app.exchange(code))
    assert tokens_of(app.refresh(tokens["refresh_token"]))


def test_new_password_ends_refresh_tokens(system: System, app: App, alice: Browser) -> None:
    """RT-14; INTERFACE, section 1: access tokens live out their time."""
    tokens = app.tokens(alice)
    system.do(system.administration.set_password("alice", "a new one for alice"))
    assert_token_error(app.refresh(tokens["refresh_token"]), 400, "invalid_grant")
    assert system.call(tokens["access_token"]).status == 200


def test_refresh_token_is_not_taken_as_access_token(system: System, app: App, alice: Browser) -> None:
    """RT-17."""
    assert_challenge(system.call(app.tokens(alice)["refresh_token"]), 401, "invalid_token")


# REFRESH_RETRY_SECONDS: the answer was lost, and the client asks again.

RETRY = Settings(refresh_retry_seconds=10, access_token_lifetime=5, refresh_token_lifetime=100)


@pytest.fixture
def forgiving(make_system: MakeSystem) -> App:
    return make_system(RETRY).add_client("App")


@pytest.fixture
def visitor(forgiving: App) -> Browser:
    return forgiving.system.browser("alice")


def test_exact_retry_gets_the_same_answer(forgiving: App, visitor: Browser, told: list[object]) -> None:
    """RT-16: exactly the same tokens, whose time has not begun again."""
    first = forgiving.tokens(visitor)["refresh_token"]
    answer = tokens_of(forgiving.refresh(first))
    for later in (0, 4, 5):
        forgiving.system.advance(later and 4 if later == 4 else later and 1)
        again = tokens_of(forgiving.refresh(first))
        assert again == {**answer, "expires_in": 5 - later}
    assert told == []
    assert tokens_of(forgiving.refresh(answer["refresh_token"]))


def test_retry_issues_no_second_pair(forgiving: App, visitor: Browser) -> None:
    """CC-02: never two live refresh tokens."""
    first = forgiving.tokens(visitor)["refresh_token"]
    answers = [tokens_of(forgiving.refresh(first)) for _ in range(5)]
    assert len({answer["refresh_token"] for answer in answers}) == 1
    assert len(forgiving.system.grants()) == 1


def test_only_the_last_used_token_may_be_retried(
    forgiving: App, visitor: Browser, told: list[object]
) -> None:
    """RT-12."""
    first = forgiving.tokens(visitor)
    second = tokens_of(forgiving.refresh(first["refresh_token"]))
    third = tokens_of(forgiving.refresh(second["refresh_token"]))
    assert tokens_of(forgiving.refresh(second["refresh_token"])) == third
    assert_token_error(forgiving.refresh(first["refresh_token"]), 400, "invalid_grant")
    assert len(told) == 1
    assert over(forgiving, first, second, third)


def test_retry_with_another_scope_is_a_reuse(make_system: MakeSystem, told: list[object]) -> None:
    """RT-12: the same request, or it is a replay."""
    app = make_system(RETRY).add_client("App")
    alice = app.system.browser("alice")
    first = app.tokens(alice, "user_info verify")
    second = tokens_of(app.refresh(first["refresh_token"], scope="verify"))
    assert tokens_of(app.refresh(first["refresh_token"], scope="verify")) == second
    assert_token_error(app.refresh(first["refresh_token"]), 400, "invalid_grant")
    assert len(told) == 1
    assert over(app, first, second)


def test_retry_by_another_client_is_refused(
    forgiving: App, visitor: Browser, told: list[object]
) -> None:
    other = forgiving.system.add_client("Other")
    first = forgiving.tokens(visitor)
    second = tokens_of(forgiving.refresh(first["refresh_token"]))
    answer = other.refresh(first["refresh_token"])
    assert_token_error(answer, 400, "invalid_grant")
    assert told == []
    assert tokens_of(forgiving.refresh(first["refresh_token"])) == second


@pytest.mark.parametrize(("later", "forgiven"), [(9, True), (9.99, True), (10, False), (11, False)])
def test_retry_after_the_time_is_a_reuse(
    forgiving: App, visitor: Browser, told: list[object], later: float, forgiven: bool
) -> None:
    """RT-12, RT-16."""
    first = forgiving.tokens(visitor)
    second = tokens_of(forgiving.refresh(first["refresh_token"]))
    forgiving.system.advance(later)
    answer = forgiving.refresh(first["refresh_token"])
    if forgiven:
        assert tokens_of(answer)["access_token"] == second["access_token"]
        assert told == []
    else:
        assert_token_error(answer, 400, "invalid_grant")
        assert len(told) == 1
        assert over(forgiving, first, second)


def test_retry_after_a_revocation_is_refused(forgiving: App, visitor: Browser) -> None:
    """RT-11: not even inside the time."""
    first = forgiving.tokens(visitor)["refresh_token"]
    tokens_of(forgiving.refresh(first))
    system = forgiving.system
    system.do(system.administration.revoke_grant(system.grants()[0].id))
    assert_token_error(forgiving.refresh(first), 400, "invalid_grant")


def test_retry_after_a_new_password_is_refused(forgiving: App, visitor: Browser) -> None:
    """RT-11, RT-14."""
    first = forgiving.tokens(visitor)["refresh_token"]
    tokens_of(forgiving.refresh(first))
    forgiving.system.do(forgiving.system.administration.set_password("alice", "a new one for alice"))
    assert_token_error(forgiving.refresh(first), 400, "invalid_grant")


def test_answer_kept_for_a_retry_is_sealed(forgiving: App, visitor: Browser) -> None:
    """CG-19: only who has the old refresh token can open it."""
    first = forgiving.tokens(visitor)["refresh_token"]
    second = tokens_of(forgiving.refresh(first))
    [(pair, _)] = vars(forgiving.system.tokens)["_retries"].values()
    assert pair.sealed_answer
    kept = repr(attrs.asdict(pair))
    assert second["access_token"] not in kept
    assert second["refresh_token"] not in kept


def test_code_exchange_cannot_be_retried(forgiving: App, visitor: Browser) -> None:
    """CG-05: the forgiving time is of refreshes alone."""
    code = forgiving.code(visitor)
    tokens = tokens_of(forgiving.exchange(code))
    assert_token_error(forgiving.exchange(code), 400, "invalid_grant")
    assert over(forgiving, tokens)
