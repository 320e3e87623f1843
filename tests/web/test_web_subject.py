"""The subject: the identifier of one user, which a later user of the same name does not get."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import pytest
from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.credentials import UsernamePassword
from twisted.cred.error import LoginFailed
from twisted.cred.portal import IRealm, Portal
from twisted.internet.defer import Deferred, succeed
from web_driver import PASSWORDS, App, Browser, System, basic, tokens_of, wait
from zope.interface import implementer

from djoauth2_twisted import IResourceOwner, Settings
from djoauth2_twisted.credentials import digest, hash_password, random_string
from djoauth2_twisted.errors import TemporarilyUnavailable
from djoauth2_twisted.models import CodeProof, Grant, Issuance, ResourceOwner, User
from djoauth2_twisted.passwords import Turn
from djoauth2_twisted.resource_owners import RegistryChecker, ResourceOwnerRealm, admit
from djoauth2_twisted.stores.memory import MemoryRegistry

MakeSystem = Callable[..., System]


def told(app: App, token: str) -> dict[str, Any]:
    """What introspection says of a token."""
    headers = [("Authorization", basic(app.client_id, app.secret))]
    said: dict[str, Any] = app.system.post("/oauth2/introspect/", {"token": token}, headers).json
    return said


def subject_of(system: System, username: str) -> str:
    return str(wait(system.registry.find_user(username)).subject)


def replace_alice(system: System, **fields: Any) -> None:
    """Another user gets the name, and for this test the same password."""
    system.do(system.administration.delete_user("alice"))
    system.add_user("alice", PASSWORDS["alice"], **fields)


def leave_behind(app: App, owner: ResourceOwner) -> str:
    """An access token that was not ended, of whom has gone."""
    now = int(app.system.reactor.seconds())
    code, token = random_string(30), random_string(30)
    grant = Grant(
        id=random_string(30),
        client_id=app.client_id,
        owner=owner,
        scopes=("user_info",),
        created=now,
        last_used=now,
        expires=now + 600,
        code_digest=digest(code),
        code_expires=now + 600,
        redirect_uri=app.redirect_uri,
        code_challenge=None,
    )
    wait(app.system.tokens.add_code(grant))
    issuance = Issuance(now, digest(token), now + 3600, None, None)
    proof = CodeProof(app.client_id, app.redirect_uri, None)
    wait(app.system.tokens.redeem_code(grant.code_digest, proof, issuance))
    return token


def test_a_later_user_of_the_same_name_has_another_subject(app: App, alice: Browser) -> None:
    """Nothing of the former one is left, and what the API keeps by ``sub`` stays the former one's."""
    system = app.system
    before = app.tokens(alice)
    former = told(app, before["access_token"])
    replace_alice(system, first_name="Another")
    assert told(app, before["access_token"]) == {"active": False}
    assert app.refresh(before["refresh_token"]).status == 400
    assert app.ask(alice).location.startswith("/oauth2/login/"), "the browser is logged out"
    tokens = app.tokens(system.browser("alice"))
    said = told(app, tokens["access_token"])
    assert (said["username"], former["username"]) == ("alice", "alice")
    assert len({said["sub"], former["sub"], "alice"}) == 3
    assert said["sub"] == subject_of(system, "alice")
    again = tokens_of(app.refresh(tokens["refresh_token"]))
    assert told(app, again["access_token"])["sub"] == said["sub"]


def test_a_subject_stays(app: App, alice: Browser) -> None:
    """Whatever else changes of a user."""
    system, subject = app.system, subject_of(app.system, "alice")
    system.do(system.administration.edit_user("alice", email="a@b.example", disabled=True))
    system.do(system.administration.edit_user("alice", disabled=False))
    system.do(system.administration.set_password("alice", "another horse"))
    assert subject_of(system, "alice") == subject
    assert told(app, app.tokens(system.browser("alice"))["access_token"])["sub"] == subject


def test_a_user_of_before_goes_by_the_name(app: App, alice: Browser) -> None:
    """It was the subject so far, and what was kept by it is found again."""
    wait(app.system.registry.delete_user("alice"))
    wait(app.system.registry.add_user(User("alice", "")))
    assert told(app, app.tokens(app.system.browser("alice"))["access_token"])["sub"] == "alice"


def test_grants_left_of_a_deleted_user_end_before_the_name_is_reused(app: App) -> None:
    """The token store was away when the user went: what is left ends before the name is given again."""
    system = app.system
    former = wait(system.registry.find_user("alice"))
    wait(system.registry.delete_user("alice"))
    owner = ResourceOwner("alice", subject=former.subject)
    token = leave_behind(app, owner)
    assert told(app, token)["sub"] == former.subject
    system.add_user("alice", "correct horse")
    assert told(app, token) == {"active": False}


def test_a_name_is_not_given_while_the_token_store_is_away(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object, **__: object) -> int:
        raise TemporarilyUnavailable()

    monkeypatch.setattr(system.tokens, "revoke_grants", away)
    with pytest.raises(TemporarilyUnavailable):
        system.add_user("dora", "correct horse")
    assert wait(system.registry.find_user("dora")) is None


def test_a_token_of_the_former_user_shows_nothing_of_the_next(app: App, alice: Browser) -> None:
    """Even one that lives, which it should not."""
    replace_alice(app.system, email="next@alice.example")
    token = leave_behind(app, ResourceOwner("alice", "Former", subject="former"))
    said = app.system.call(token).json
    assert (said["first_name"], said["email"]) == ("Former", "")
    mine = app.tokens(app.system.browser("alice"))["access_token"]
    assert app.system.call(mine).json["email"] == "next@alice.example"


def test_consent_of_the_former_user_is_not_remembered(make_system: MakeSystem) -> None:
    system = make_system(Settings(remember_consent=True))
    app, alice = system.add_client("App"), system.browser("alice")
    leave_behind(app, ResourceOwner("alice", subject="former"))
    assert app.ask(alice).is_consent
    leave_behind(app, ResourceOwner("alice", subject=subject_of(system, "alice")))
    assert not app.ask(alice).is_consent


# Logins from elsewhere.


@attrs.define
class Avatar:
    username: str
    subject: object = None


def portal_of(*avatars: Avatar) -> Portal:
    """A Portal of a host application; the password is the name."""

    @implementer(IRealm)
    class Realm:
        def requestAvatar(self, avatarId: bytes | tuple[()], mind: object, *interfaces: object) -> Any:
            (avatar,) = (each for each in avatars if each.username.encode() == avatarId)
            return IResourceOwner, avatar, lambda: None

    names = {each.username: each.username.encode() for each in avatars}
    return Portal(Realm(), [InMemoryUsernamePasswordDatabaseDontUse(**names)])


def sub_at_login(system: System, app: App, username: str) -> str:
    browser = system.browser()
    assert browser.log_in(username, username).status == 303
    return str(told(app, app.tokens(browser)["access_token"])["sub"])


def test_subjects_of_a_portal(make_system: MakeSystem) -> None:
    """Its own, where it has one; whom the registry knows by the name, goes by the subject there."""
    system = make_system(portal=portal_of(Avatar("dora", "ldap-42"), Avatar("emil"), Avatar("bob", "x")))
    app = system.add_client("App")
    assert sub_at_login(system, app, "dora") == "ldap-42"
    assert sub_at_login(system, app, "emil") == "emil"
    assert sub_at_login(system, app, "bob") == subject_of(system, "bob")


@pytest.mark.parametrize("subject", [42, "\u00e9", "a" * 256, "a\n", b"bytes"])
def test_a_subject_that_is_none(make_system: MakeSystem, log: Any, subject: object) -> None:
    system = make_system(portal=portal_of(Avatar("dora", subject)))
    assert system.browser().log_in("dora", "dora").status == 403
    assert "no resource owner: " in log
    assert "Traceback" not in str(log.lines)


def test_subjects_of_a_host_application(make_system: MakeSystem) -> None:
    avatars = {"subject": "host-7"}
    system = make_system(who=lambda request, back: Avatar("dora", avatars["subject"]))
    app, browser = system.add_client("App"), system.browser()
    assert told(app, app.tokens(browser)["access_token"])["sub"] == "host-7"
    avatars["subject"] = "\u00e9"
    assert app.ask(browser).status in {303, 403}


# A name that changes hands during a login.


@pytest.mark.parametrize("taken", [False, True])
def test_a_name_that_is_freed_while_its_password_is_judged(taken: bool) -> None:
    """The login is that of the user whose password it was, or it fails."""
    registry = MemoryRegistry()
    wait(registry.add_user(User("alice", hash_password("correct horse"), subject="s-1")))

    class Threads:
        def verify(self, password_hash: str, password: str, turn: Turn) -> Deferred[str]:
            wait(registry.delete_user("alice"))
            if taken:
                wait(registry.add_user(User("alice", "", subject="s-2")))
            return succeed(password)

    threads: Any = Threads()
    portal = Portal(ResourceOwnerRealm(registry), [RegistryChecker(registry, threads)])
    presented = UsernamePassword(b"alice", b"correct horse")
    _, avatar, _ = wait(portal.login(presented, None, IResourceOwner))
    assert avatar.subject == "s-1"
    with pytest.raises(LoginFailed):
        wait(Deferred.fromCoroutine(admit(registry, avatar)))
