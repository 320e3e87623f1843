"""The cache of access tokens: what it keeps, what it forgets, and when it is silent.

Behaviours RV-01, RV-10, CC-05, BG-17.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from held_look_ups import HeldLookUps
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.components import proxyForInterface
from zope.interface import implementer

from djoauth2_twisted.credentials import digest
from djoauth2_twisted.errors import InsufficientScope, InvalidToken, TemporarilyUnavailable
from djoauth2_twisted.interfaces import IInvalidationFeed, ITokenStore
from djoauth2_twisted.models import Grant, Issued, RefreshProof
from djoauth2_twisted.stores.contract import ACCESS_LIFETIME, NOW, new_grant, new_issuance, proof_of
from djoauth2_twisted.stores.memory import MemoryTokenStore
from djoauth2_twisted.verification.local import UNKNOWN_SECONDS, StoreVerifier


@implementer(ITokenStore, IInvalidationFeed)
class Store(HeldLookUps, MemoryTokenStore):
    """A store in memory whose look-ups a test counts, refuses or holds."""

    def is_current(self) -> bool:
        return self.sure

    def find_access_token(self, access_digest: bytes) -> Deferred[Any]:
        return self.look_up(partial(super().find_access_token, access_digest))

    def miss(self) -> None:
        """Tokens may have ended without an invalidation."""
        self._feed.publish(None)


class Guarded:
    """A store, and a verifier that keeps three of its tokens."""

    def __init__(self, size: int = 3) -> None:
        self.clock = Clock()
        self.clock.advance(NOW)
        self.store = Store()
        self.verifier = StoreVerifier(self.clock, self.store, size)

    def issuance(self, token: str, **changes: Any) -> Grant:
        """A grant with an access token, and a refresh token of almost the same name."""
        grant = new_grant(**changes)
        assert now(self.store.add_code(grant))
        issuance = new_issuance(access_digest=digest(token), refresh_digest=digest(f"{token}-refresh"))
        assert isinstance(
            now(self.store.redeem_code(grant.code_digest, proof_of(grant), issuance)), Issued
        )
        return grant

    def verify(self, token: str, *scopes: str) -> Any:
        return now(self.verifier.verify(token, scopes))

    def is_kept(self, token: str) -> bool:
        """Whether a good token is not looked up. It is kept afterwards."""
        before = self.store.look_ups
        self.verify(token)
        return self.store.look_ups == before


def now(deferred: Deferred[Any]) -> Any:
    """What a Deferred has fired with already."""
    results: list[Any] = []
    deferred.addBoth(results.append)
    (result,) = results
    if hasattr(result, "raiseException"):
        result.raiseException()
    return result


@pytest.fixture
def guarded() -> Guarded:
    return Guarded()


def test_a_token_is_looked_up_once(guarded: Guarded):
    """And the same is answered each time."""
    guarded.issuance("one")
    first = guarded.verify("one")
    assert guarded.store.look_ups == 1
    assert guarded.verify("one") == first
    assert guarded.store.look_ups == 1


def test_time_is_judged_each_time(guarded: Guarded):
    """BG-08: a token that is kept is refused from its last second on."""
    guarded.issuance("one")
    guarded.clock.advance(ACCESS_LIFETIME - 1)
    guarded.verify("one")
    guarded.verify("one")
    guarded.clock.advance(1)
    with pytest.raises(InvalidToken):
        guarded.verify("one")


def test_scopes_are_judged_each_time(guarded: Guarded):
    """What it covers does not depend on what was asked first."""
    guarded.issuance("one")
    guarded.verify("one", "read")
    with pytest.raises(InsufficientScope):
        guarded.verify("one", "read", "admin")
    guarded.verify("one", "write")
    assert guarded.store.look_ups == 1


def test_token_refused_for_its_scope_is_cached(guarded: Guarded):
    """It is good elsewhere."""
    guarded.issuance("one")
    with pytest.raises(InsufficientScope):
        guarded.verify("one", "admin")
    assert guarded.is_kept("one")


def refused(guarded: Guarded, *tokens: str) -> int:
    """How many look-ups it takes to refuse these tokens."""
    before = guarded.store.look_ups
    for token in tokens:
        with pytest.raises(InvalidToken):
            guarded.verify(token)
    return guarded.store.look_ups - before


def test_unknown_token_is_looked_up_once_in_ten_seconds(guarded: Guarded):
    """A client that goes on with an old token costs the store nothing.

    No token is sent before it is issued.
    """
    assert refused(guarded, "one") == 1
    guarded.clock.advance(UNKNOWN_SECONDS - 1)
    assert refused(guarded, "one") == 0
    guarded.clock.advance(1)
    assert refused(guarded, "one") == 1


def test_unknown_token_is_looked_up_after_ten_seconds(guarded: Guarded):
    """As when the database was restored by hand."""
    refused(guarded, "one")
    guarded.issuance("one")
    guarded.clock.advance(UNKNOWN_SECONDS)
    guarded.verify("one")


def test_unknown_tokens_push_no_token_out_of_the_cache(guarded: Guarded):
    """However many are made up. The last ones are remembered."""
    guarded.issuance("good")
    guarded.verify("good")
    assert refused(guarded, "one", "two", "three", "four") == 4
    assert refused(guarded, "two", "three", "four") == 0
    assert refused(guarded, "one") == 1
    assert guarded.is_kept("good")


def test_unknown_tokens_are_forgotten_after_a_gap(guarded: Guarded):
    """RV-10: the store may be another one, as after a restore."""
    refused(guarded, "one")
    guarded.issuance("one")
    guarded.store.miss()
    guarded.verify("one")


def test_answer_of_before_a_gap_is_not_remembered(guarded: Guarded):
    """RV-10"""
    guarded.store.holding = True
    verified = guarded.verifier.verify("one", ())
    guarded.issuance("one")
    guarded.store.miss()
    guarded.store.release()
    with pytest.raises(InvalidToken):
        now(verified)
    guarded.verify("one")


def test_unknown_tokens_are_looked_up_while_the_feed_is_not_current(guarded: Guarded):
    refused(guarded, "one")
    guarded.store.sure = False
    assert refused(guarded, "one", "one") == 2


def test_expired_token_is_refused_without_a_look_up(guarded: Guarded):
    """BG-08"""
    guarded.issuance("one")
    guarded.verify("one")
    guarded.clock.advance(ACCESS_LIFETIME)
    assert refused(guarded, "one") == 0


def test_each_unknown_token_is_looked_up_without_a_cache():
    assert refused(Guarded(size=0), "one", "one") == 2


PARTITIONS = {
    "the access token": lambda store, grant: store.revoke(digest("one"), grant.client_id),
    "the refresh token": lambda store, grant: store.revoke(digest("one-refresh"), grant.client_id),
    "the grant": lambda store, grant: store.revoke_grant(grant.id),
    "all grants": lambda store, grant: store.revoke_grants(),
    "a refresh": lambda store, grant: store.rotate_refresh_token(
        digest("one-refresh"), RefreshProof(grant.client_id, None), new_issuance()
    ),
    "a replay": lambda store, grant: store.redeem_code(
        grant.code_digest, proof_of(grant), new_issuance()
    ),
}


@pytest.mark.parametrize("way", PARTITIONS)
def test_ended_token_is_refused_at_once(guarded: Guarded, way: str):
    """RV-01: by the very next request."""
    grant = guarded.issuance("one")
    guarded.verify("one")
    assert guarded.is_kept("one")
    assert now(PARTITIONS[way](guarded.store, grant))
    with pytest.raises(InvalidToken):
        guarded.verify("one")


def test_other_tokens_stay_cached_when_one_ends(guarded: Guarded):
    """A revocation costs no more than the look-ups that it must."""
    grant = guarded.issuance("one")
    guarded.issuance("two")
    guarded.verify("one")
    guarded.verify("two")
    now(guarded.store.revoke_grant(grant.id))
    assert guarded.is_kept("two")


def test_missed_invalidation_empties_the_cache(guarded: Guarded):
    """RV-10: after a gap all are looked up."""
    guarded.issuance("one")
    guarded.verify("one")
    guarded.store.miss()
    assert not guarded.is_kept("one")
    assert guarded.is_kept("one")


def test_store_is_asked_while_the_feed_is_not_current(guarded: Guarded):
    """RV-10: whatever is kept meanwhile."""
    grant = guarded.issuance("one")
    guarded.verify("one")
    guarded.store.sure = False
    assert not guarded.is_kept("one")
    guarded.store._feed._subscribers.clear()  # as a process that gets no invalidations any more
    now(guarded.store.revoke_grant(grant.id))
    with pytest.raises(InvalidToken):
        guarded.verify("one")


def test_refused_token_is_not_accepted_again(guarded: Guarded):
    """RV-10: even before the invalidation arrives."""
    grant = guarded.issuance("one")
    guarded.verify("one")
    guarded.store._feed._subscribers.clear()
    now(guarded.store.revoke_grant(grant.id))
    guarded.store.sure = False
    with pytest.raises(InvalidToken):
        guarded.verify("one")
    guarded.store.sure = True
    with pytest.raises(InvalidToken):
        guarded.verify("one")


def test_unreachable_store_is_temporarily_unavailable(guarded: Guarded):
    """BG-17: nor a refusal."""
    guarded.issuance("one")
    guarded.verify("one")
    guarded.store.away = True
    guarded.store.sure = False
    with pytest.raises(TemporarilyUnavailable):
        guarded.verify("one")


class TestLookUpsUnderWay:
    """CC-05: a look-up that began before an invalidation and was answered after it is not cached."""

    def _during_a_look_up(self, guarded: Guarded, happen: Any) -> None:
        guarded.store.holding = True
        verdict = guarded.verifier.verify("one", ())
        happen()
        guarded.store.release()
        # It was asked for before.
        assert now(verdict)

    def test_revoked_meanwhile(self, guarded: Guarded):
        """The next request is refused."""
        grant = guarded.issuance("one")
        self._during_a_look_up(guarded, lambda: guarded.store.revoke_grant(grant.id))
        with pytest.raises(InvalidToken):
            guarded.verify("one")

    def test_token_is_looked_up_after_a_missed_invalidation(self, guarded: Guarded):
        """The next request is looked up."""
        guarded.issuance("one")
        self._during_a_look_up(guarded, guarded.store.miss)
        assert not guarded.is_kept("one")

    def test_a_look_up_is_cached_although_another_token_was_revoked_meanwhile(self, guarded: Guarded):
        """That is none of its business."""
        guarded.issuance("one")
        other = guarded.issuance("two")
        self._during_a_look_up(guarded, lambda: guarded.store.revoke_grant(other.id))
        assert guarded.is_kept("one")

    def test_more_revoked_meanwhile_than_is_remembered(self, guarded: Guarded):
        """Then it might be one of them."""
        grant = guarded.issuance("one")
        others = [guarded.issuance(str(number)) for number in range(3)]

        def end_all() -> None:
            for each in (grant, *others):
                guarded.store.revoke_grant(each.id)

        self._during_a_look_up(guarded, end_all)
        with pytest.raises(InvalidToken):
            guarded.verify("one")

    def test_look_up_after_an_invalidation_is_cached(self, guarded: Guarded):
        """What is looked up after an ending is kept again."""
        grant = guarded.issuance("one")
        now(guarded.store.revoke(digest("unknown"), grant.client_id))
        guarded.store.miss()
        self._during_a_look_up(guarded, lambda: None)
        assert guarded.is_kept("one")

    def test_two_look_ups_of_one_token_are_both_answered(self, guarded: Guarded):
        """Both are answered, and one is kept."""
        guarded.issuance("one")
        guarded.store.holding = True
        verdicts = [guarded.verifier.verify("one", ()) for _ in range(2)]
        guarded.store.release()
        assert now(verdicts[0]) == now(verdicts[1])
        assert guarded.is_kept("one")


def test_least_recently_used_token_is_dropped_first(guarded: Guarded):
    """Three are kept, whatever they belong to."""
    tokens = ["one", "two", "three", "four"]
    for token in tokens:
        guarded.issuance(token)
    for token in ("one", "two", "three", "one", "four"):
        guarded.verify(token)
    # A look-up of a token that was dropped drops the next one.
    assert [guarded.is_kept(token) for token in ("four", "one", "three", "two")] == [True] * 3 + [False]


def test_memory_is_bounded(guarded: Guarded):
    """However many tokens come, and end."""
    cache = guarded.verifier.cache
    assert cache is not None
    for number in range(50):
        grant = guarded.issuance(str(number))
        guarded.verify(str(number))
        if number % 2:
            now(guarded.store.revoke_grant(grant.id))
        assert len(cache) <= 3
        assert len(cache._partitions) <= 3
        assert len(cache._invalidated) <= 3


def test_tokens_share_the_client_id_and_the_scopes(guarded: Guarded):
    """A store makes new objects for each look-up; of equal ones, the cache has one."""
    for token in ("one", "two"):
        guarded.issuance(
            token, client_id="-".join(["a", "client"]), scopes=tuple(sorted({"read", "write"}))
        )
        guarded.verify(token)
    one, two = guarded.verify("one"), guarded.verify("two")
    assert one.client_id is two.client_id
    assert one.scopes is two.scopes


def test_cache_can_be_switched_off():
    """RV-10: then each is looked up."""
    guarded = Guarded(size=0)
    guarded.issuance("one")
    guarded.verify("one")
    assert not guarded.is_kept("one")


def test_store_without_a_feed_is_asked_each_time():
    """One of a user's own that provides nothing but the store."""
    guarded = Guarded()
    guarded.verifier = StoreVerifier(guarded.clock, OnlyTokenStore(guarded.store), 3)
    guarded.issuance("one")
    guarded.verify("one")
    assert not guarded.is_kept("one")


#: A store that provides `ITokenStore` and nothing else.
OnlyTokenStore: Callable[[ITokenStore], ITokenStore] = proxyForInterface(ITokenStore)
