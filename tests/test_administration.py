"""What an administrator does leaves a row in the audit trail, and no secret in it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any

import attrs
import pytest
from twisted.internet.defer import Deferred, fail, succeed
from waiting import result_of

from djoauth2_twisted.administration import Administration
from djoauth2_twisted.conf import Settings
from djoauth2_twisted.credentials import digest
from djoauth2_twisted.errors import (
    AlreadyExists,
    LastAdmin,
    NotAllEnded,
    NotFound,
    RegistrationError,
    TemporarilyUnavailable,
)
from djoauth2_twisted.housekeeping import EVENTS_KEPT, STATISTICS_KEPT
from djoauth2_twisted.models import (
    Actor,
    Client,
    CodeProof,
    Event,
    Grant,
    Issuance,
    Issued,
    Page,
    ResourceOwner,
    Session,
)
from djoauth2_twisted.stores.memory import MemoryRegistry, MemoryTokenStore

NOW = 1_700_000_000
URI = "https://app.example/cb"
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def admin() -> Administration:
    return Administration(
        MemoryRegistry(),
        MemoryTokenStore(),
        Settings(),
        lambda password: succeed(f"<{password}>"),
        actor=Actor("carol", "192.0.2.7"),
        seconds=lambda: NOW + 0.25,
    )


def trail(admin: Administration) -> list[Event]:
    found: list[Event] = result_of(admin.registry.events(Page()))
    return found


def add_grant(admin: Administration, name: str, username: str = "alice") -> None:
    grant = Grant(
        id=name,
        client_id="app",
        owner=ResourceOwner(username),
        scopes=("read",),
        created=NOW,
        last_used=NOW,
        expires=NOW + 600,
        code_digest=digest(name),
        code_expires=NOW + 600,
        redirect_uri=None,
        code_challenge=None,
    )
    assert result_of(admin.tokens.add_code(grant))


Act = Callable[[Administration], Awaitable[Any]]

#: Each change, what it is called, of whom, and what is said of it.
CHANGES: dict[str, tuple[Act, str, dict[str, str]]] = {
    "client edit": (
        lambda a: a.edit_client("app", name="New", scopes=("read",), disabled=True),
        "app",
        {"name": "New", "scopes": "read", "disabled": "yes"},
    ),
    "client rotate-secret": (lambda a: a.rotate_secret("app", 60), "app", {"keep_old": "60"}),
    "client set-image": (lambda a: a.set_image("app", PNG), "app", {"image": "image/png"}),
    "client delete": (lambda a: a.delete_client("app"), "app", {"name": "App"}),
    "scope add": (lambda a: a.add_scope("write", "To write"), "write", {"description": "To write"}),
    "scope edit": (lambda a: a.edit_scope("read", "To read"), "read", {"description": "To read"}),
    "scope delete": (lambda a: a.delete_scope("read"), "read", {}),
    "user add": (
        lambda a: a.add_user("dave", "s3cret-pw", admin=True),
        "dave",
        {"username": "dave", "admin": "yes"},
    ),
    "user edit": (lambda a: a.edit_user("alice", email="a@e"), "alice", {"email": "a@e"}),
    "user set-password": (lambda a: a.set_password("alice", "s3cret-pw"), "alice", {}),
    "user delete": (lambda a: a.delete_user("alice"), "alice", {}),
    "grant revoke": (lambda a: a.revoke_grant("g1"), "g1", {"user": "alice", "client": "app"}),
    "grants revoke": (
        lambda a: a.revoke_grants("alice", None),
        "alice",
        {"user": "alice", "client": "any"},
    ),
}


def prepare(admin: Administration) -> Administration:
    """One of everything, of which nothing is noted."""
    result_of(admin.add_scope("read", "Reads"))
    client, _ = result_of(admin.add_client("App", (URI,)))
    registry = admin.registry
    result_of(registry.add_client(attrs.evolve(client, client_id="app")))
    result_of(registry.delete_client(client.client_id))
    result_of(admin.add_user("alice", "another pw"))
    add_grant(admin, "g1")
    result_of(registry.prune_events(2 * NOW * 1000, 100))
    return admin


@pytest.mark.parametrize("action", CHANGES)
def test_every_change_is_noted(admin: Administration, action: str) -> None:
    """AD-08: who did what, when and from where; U-03: no secret is in it."""
    act, subject, details = CHANGES[action]
    result_of(act(prepare(admin)))
    (event,) = trail(admin)
    assert len(event.id) == 30
    assert event == Event(event.id, NOW * 1000 + 250, "carol", action, subject, "192.0.2.7", details)
    assert "s3cret-pw" not in str(event)


def test_a_new_client_is_noted_without_its_secret(admin: Administration) -> None:
    client, secret = result_of(admin.add_client("App", (URI, URI + "2"), "Does", image=PNG))
    (event,) = trail(admin)
    assert (event.action, event.subject) == ("client add", client.client_id)
    assert event.details["redirect_uris"] == f"{URI} {URI}2"
    assert secret not in str(event)
    assert digest(secret).hex() not in str(event)
    assert repr(digest(secret)) not in str(event)


@pytest.mark.parametrize("action", CHANGES)
def test_a_change_fails_if_its_audit_event_cannot_be_written(admin: Administration, action: str) -> None:
    """Where the trail cannot be written, nothing changes."""
    prepare(admin)
    before = snapshot(admin)
    admin.registry.add_event = lambda event: fail(TemporarilyUnavailable())  # type: ignore[method-assign]
    with pytest.raises(TemporarilyUnavailable):
        result_of(CHANGES[action][0](admin))
    assert snapshot(admin) == before


def snapshot(admin: Administration) -> dict[str, Any]:
    """All that is kept."""
    kept = {**vars(admin.registry), **vars(admin.tokens)}
    return {name: dict(value) for name, value in kept.items() if isinstance(value, dict)}


PARTITIONS: dict[str, Act] = {
    "client edit": lambda a: a.edit_client("app", disabled=True),
    "client delete": lambda a: a.delete_client("app"),
    "scope delete": lambda a: a.delete_scope("read"),
    "user edit": lambda a: a.edit_user("alice", disabled=True),
    "user delete": lambda a: a.delete_user("alice"),
    "user set-password": lambda a: a.set_password("alice", "new words"),
}


def test_a_scope_stays_whose_tokens_live_on(admin: Administration) -> None:
    """Where the grants are in a store of their own that is out of reach, nothing is half-done."""
    prepare(admin)
    before = snapshot(admin)
    tokens: Any = admin.tokens
    tokens.revoke_grants = lambda *_, **__: fail(TemporarilyUnavailable())
    with pytest.raises(TemporarilyUnavailable):
        result_of(admin.delete_scope("read"))
    (attempt,) = trail(admin)
    assert attempt.action == "scope delete"
    result_of(admin.registry.prune_events(2 * NOW * 1000, 100))
    assert snapshot(admin) == before


#: What is so at once, with any result of the grants.
FIRST: dict[str, Callable[[Administration], bool]] = {
    "client edit": lambda a: result_of(a.client("app")).disabled,
    "client delete": lambda a: result_of(a.client("app")).disabled,
    "user edit": lambda a: result_of(a.user("alice")).disabled,
    "user delete": lambda a: result_of(a.user("alice")).disabled,
    "user set-password": lambda a: result_of(a.user("alice")).password_hash == "<new words>",
}


def log_in(admin: Administration) -> Session:
    owner = ResourceOwner("alice", subject=result_of(admin.user("alice")).subject)
    session = Session(digest("login"), owner, NOW + 1000)
    result_of(admin.registry.add_session(session))
    return session


@pytest.mark.parametrize("action", FIRST)
def test_what_must_end_at_once_ends_first(admin: Administration, action: str) -> None:
    """However many grants end after it, and however long that takes; it continues to its end."""
    login = log_in(prepare(admin))
    ending: Deferred[int] = Deferred()
    tokens: Any = admin.tokens
    tokens.revoke_grants = tokens.end_refresh_tokens = lambda *_, **__: ending
    working = Deferred.fromCoroutine(_awaited(PARTITIONS[action](admin)))
    assert not working.called
    assert FIRST[action](admin)
    gone = result_of(admin.registry.find_session(login.digest, NOW)) is None
    assert gone is action.startswith("user")
    ending.callback(1)
    assert working.called
    with suppress(NotFound):
        assert FIRST[action](admin) is (action.partition(" ")[2] != "delete")


async def _awaited(act: Awaitable[Any]) -> Any:
    return await act


@pytest.mark.parametrize("action", FIRST)
def test_where_the_token_store_is_away(admin: Administration, action: str) -> None:
    """The first step holds, one line says what is to be repeated, and that ends the rest."""
    prepare(admin)
    tokens: Any = admin.tokens
    tokens.revoke_grants = tokens.end_refresh_tokens = lambda *_, **__: fail(TemporarilyUnavailable())
    with pytest.raises(
        NotAllEnded, match=r"^the .* is .*, but the token store does not answer: do this"
    ):
        result_of(PARTITIONS[action](admin))
    assert FIRST[action](admin)
    del tokens.revoke_grants, tokens.end_refresh_tokens
    result_of(PARTITIONS[action](admin))
    issuance = Issuance(NOW, digest("access"), NOW + 1, None, None)
    outcome = result_of(admin.tokens.redeem_code(digest("g1"), CodeProof("app", None, None), issuance))
    assert not isinstance(outcome, Issued)


@pytest.mark.parametrize("action", PARTITIONS)
def test_what_is_issued_until_it_is_gone_ends_too(
    admin: Administration, action: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CC-06."""
    prepare(admin)

    def first_issuing(change: Any) -> Any:
        def changing(*arguments: Any, **named: Any) -> Any:
            if result_of(admin.tokens.find_grant("late")) is None:
                add_grant(admin, "late")
            return change(*arguments, **named)

        return changing

    for name in ("delete_scope", "update_client", "update_user"):
        monkeypatch.setattr(admin.registry, name, first_issuing(getattr(admin.registry, name)))
    result_of(PARTITIONS[action](admin))
    assert result_of(admin.tokens.find_grant("late")) is None or action == "user set-password"
    issuance = Issuance(NOW, digest("access"), NOW + 1, None, None)
    outcome = result_of(admin.tokens.redeem_code(digest("late"), CodeProof("app", None, None), issuance))
    assert not isinstance(outcome, Issued)


@pytest.mark.parametrize("action", CHANGES)
def test_a_change_sent_twice_is_made_once(admin: Administration, action: str) -> None:
    """A form that is sent again finds its row there."""
    idempotency_key = attrs.evolve(prepare(admin), idempotency_key="the-form")
    result_of(CHANGES[action][0](idempotency_key))
    before = snapshot(admin)
    with pytest.raises((AlreadyExists, NotFound)):
        result_of(CHANGES[action][0](idempotency_key))
    assert snapshot(admin) == before
    assert len(trail(admin)) == 1


@pytest.mark.parametrize(
    "act",
    [
        lambda a: a.add_client("", (URI,)),
        lambda a: a.add_client("App", ("http://app.example/",)),
        lambda a: a.add_client("App", (URI + "?iss=x",)),
        lambda a: a.edit_client("app", name=""),
        lambda a: a.edit_client("app", redirect_uris=(URI + "?code=x",)),
        lambda a: a.edit_client("nobody", name="x"),
        lambda a: a.rotate_secret("nobody"),
        lambda a: a.rotate_secret("app", -1),
        lambda a: a.set_image("app", b"<svg>"),
        lambda a: a.set_image("nobody", PNG),
        lambda a: a.delete_client("nobody"),
        lambda a: a.add_scope("read", "again"),
        lambda a: a.edit_scope("nothing", "x"),
        lambda a: a.delete_scope("nothing"),
        lambda a: a.add_user("alice", "a password"),
        lambda a: a.add_user("dave", ""),
        lambda a: a.edit_user("nobody", email="x"),
        lambda a: a.set_password("nobody", "a password"),
        lambda a: a.delete_user("nobody"),
        lambda a: a.revoke_grant("nothing"),
        lambda a: a.revoke_grants(None, None),
    ],
)
def test_a_refused_change_leaves_nothing(admin: Administration, act: Act) -> None:
    """U-05."""
    prepare(admin)
    before = snapshot(admin)
    with pytest.raises(RegistrationError):
        result_of(act(admin))
    assert snapshot(admin) == before


def test_client_with_a_redirect_uri_that_is_refused_today_can_be_disabled(admin: Administration) -> None:
    """It was registered before the rule was made."""
    client = Client("old", "Old", digest("a secret"), redirect_uris=(URI + "?state=x",))
    result_of(admin.registry.add_client(client))
    assert result_of(admin.edit_client("old", disabled=True, name="Older")).disabled
    with pytest.raises(RegistrationError, match="parameter code"):
        result_of(admin.edit_client("old", redirect_uris=(URI + "?code=x",)))


def test_rows_are_bounded(admin: Administration) -> None:
    """LG-03: whatever is in names and words, a row is short and has nothing that a terminal obeys."""
    noisy = attrs.evolve(admin, actor=Actor("a\x1b[2J" * 100, "\u202e\r\n\udcff" * 100))
    result_of(noisy.add_scope("read", "line\nline\t" + "\U0001f511" * 1000))
    (event,) = trail(admin)
    for text in (event.actor, event.address, *event.details.values()):
        assert text.isprintable()
        assert len(text.encode("utf-8")) <= 255
    assert event.actor.startswith(r"a\x1b[2J")
    assert event.address.startswith(r"\u202e\r\n\udcff")
    assert event.details["description"].startswith(r"line\nline\t")


def test_revoking_all_of_a_user(admin: Administration) -> None:
    for name, username in (("1", "alice"), ("2", "alice"), ("3", "bob")):
        add_grant(admin, name, username)
    assert result_of(admin.revoke_grants("alice", "app")) == 2
    assert result_of(admin.tokens.count_grants()) == 1


def test_the_last_administrator(admin: Administration) -> None:
    """AD-08: kept where that is asked for; the command line asks for nothing and may do all."""
    result_of(admin.add_user("carol", "a password", admin=True))
    keeping = attrs.evolve(admin, keep_admin=True)
    before = snapshot(admin)
    for act in (
        keeping.edit_user("carol", admin=False),
        keeping.edit_user("carol", disabled=True),
        keeping.delete_user("carol"),
    ):
        with pytest.raises(LastAdmin):
            result_of(act)
    assert snapshot(admin) == before
    result_of(keeping.edit_user("carol", email="c@e"))
    result_of(admin.edit_user("carol", admin=False))
    result_of(keeping.delete_user("carol"))


def test_a_new_password_does_not_enable_a_user_disabled_meanwhile(admin: Administration) -> None:
    """Hashing a new password takes time, and does not undo what was changed meanwhile."""
    result_of(admin.add_user("alice", "a password", admin=True))
    hashing: Deferred[str] = Deferred()
    setting = attrs.evolve(admin, hash_password=lambda password: hashing)
    working = Deferred.fromCoroutine(setting.set_password("alice", "another password"))
    result_of(admin.edit_user("alice", disabled=True, admin=False))
    hashing.callback("<new>")
    assert working.called
    user = result_of(admin.user("alice"))
    assert (user.password_hash, user.disabled, user.admin) == ("<new>", True, False)


def test_old_events_and_statistics_are_deleted(admin: Administration) -> None:
    """Events are kept for a year, statistics for longer than the plots show."""
    for days in (EVENTS_KEPT - 1, EVENTS_KEPT + 1):
        before = partial(float, NOW - days * 86400)
        result_of(attrs.evolve(admin, seconds=before).add_scope(f"s{days}", ""))
    hours = [NOW // 3600 - days * 24 for days in (STATISTICS_KEPT - 1, STATISTICS_KEPT + 1)]
    result_of(admin.registry.add_statistics({(hour, "login"): 1 for hour in hours}))
    result_of(admin.clean_up(NOW))
    assert [event.subject for event in trail(admin)] == [f"s{EVENTS_KEPT - 1}"]
    assert result_of(admin.registry.statistics(0, 1)) == {(hours[0], "login"): 1}
