"""The token stores against a small model of them, in orders of events that nobody thought of."""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable
from typing import Any

import attrs
from attrs import define
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import blockingCallFromThread, deferToThread

from djoauth2_twisted.interfaces import ITokenStore
from djoauth2_twisted.models import Grant, GrantFilter, Issuance, Page, RefreshProof, ResourceOwner
from djoauth2_twisted.stores.contract import NOW, family_of, new_grant, new_issuance, proof_of
from djoauth2_twisted.stores.memory import MemoryTokenStore
from djoauth2_twisted.stores.urls import from_url

NAMES = st.sampled_from(["one", "One", "one ", "%"])
SCOPES = st.lists(NAMES.map(str.strip), min_size=1, unique=True).map(tuple)
RETRY_SECONDS = 10


@define
class ModelPair:
    """What was issued at one time."""

    issuance: Issuance
    scopes: tuple[str, ...]
    access_ended: bool = False


@define
class ModelGrant:
    """A grant as the standard tells of it: a code, a line of pairs, and whether it is over."""

    grant: Grant
    expires: int
    pairs: list[ModelPair]
    over: bool = False
    refresh_ended: bool = False
    forgotten: bool = False
    answered: int = 0  #: until when the last answer is kept

    def end(self) -> None:
        self.over = True
        self.expires = 0

    def issuance(self, issuance: Issuance, scopes: tuple[str, ...]) -> str:
        self.pairs.append(ModelPair(issuance, scopes))
        self.expires = max(self.expires, issuance.access_expires, issuance.refresh_expires or 0)
        return "Issued"

    def replay(self) -> str:
        self.end()
        return "Replayed"

    def redeem(self, client_id: str, issuance: Issuance) -> str:
        if self.over:
            return "Unknown"
        if client_id != self.grant.client_id:
            return "Refused"
        if self.pairs:
            return self.replay()
        if issuance.now >= self.grant.code_expires:
            return "Expired"
        return self.issuance(issuance, self.grant.scopes)

    def rotate(
        self, generation: int, client_id: str, scopes: tuple[str, ...] | None, issuance: Issuance
    ) -> str:
        pair, last = self.pairs[generation], self.pairs[-1]
        wanted = scopes or self.grant.scopes
        if self.over or self.refresh_ended:
            return "Unknown"
        if client_id != self.grant.client_id:
            return "Refused"
        if pair is not last:
            soon = issuance.now < last.issuance.now + issuance.retry_seconds and self.answered
            same = pair is self.pairs[-2] and set(wanted) == set(last.scopes)
            return "Repeated" if soon and same else self.replay()
        if issuance.now >= (pair.issuance.refresh_expires or math.inf):
            return "Expired"
        if not set(wanted) <= set(self.grant.scopes):
            return "Refused"
        self.answered = issuance.retry_seconds and issuance.now + issuance.retry_seconds
        return self.issuance(issuance, wanted)

    def is_good(self, pair: ModelPair) -> bool:
        return pair is self.pairs[-1] and not self.over and not pair.access_ended


class TokenStoreMachine(RuleBasedStateMachine):
    """Takes each step in the store and in the model, and compares what both say.

    A subclass says how a store is come by, and how its Deferreds are waited for.
    """

    grants = Bundle("grants")

    def wait_for(self, verb: Callable[..., Deferred[Any]], *arguments: Any, **named: Any) -> Any:
        results: list[Any] = []
        verb(*arguments, **named).addBoth(results.append)
        return results[0]

    def new_store(self) -> ITokenStore:
        return MemoryTokenStore()

    @initialize()
    def begin(self) -> None:
        self.now = NOW
        self.made: list[ModelGrant] = []
        self.store = self.new_store()

    def new_issuance(self, kept: ModelGrant, lifetimes: tuple[int, int], retry: bool) -> Issuance:
        issuance = new_issuance(
            self.now,
            access_expires=self.now + lifetimes[0],
            refresh_expires=self.now + lifetimes[1],
            family_digest=family_of(kept.grant),
            sealed_answer=secrets.token_bytes(8),
        )
        return attrs.evolve(issuance, retry_seconds=RETRY_SECONDS if retry else 0)

    @rule(target=grants, client_id=NAMES, username=NAMES, scopes=SCOPES)
    def authorize(self, client_id: str, username: str, scopes: tuple[str, ...]) -> ModelGrant:
        grant = new_grant(
            client_id=client_id,
            owner=ResourceOwner(username),
            scopes=scopes,
            created=self.now,
            expires=self.now + 600,
            code_expires=self.now + 600,
        )
        assert self.wait_for(self.store.add_code, grant) is True
        self.made.append(ModelGrant(grant, grant.expires, []))
        return self.made[-1]

    lifetimes = st.tuples(st.sampled_from([1, 3600]), st.sampled_from([1, 86400]))

    @rule(kept=grants, client_id=st.none() | NAMES, lifetimes=lifetimes)
    def exchange(self, kept: ModelGrant, client_id: str | None, lifetimes: tuple[int, int]) -> None:
        issuance = self.new_issuance(kept, lifetimes, False)
        proof = proof_of(kept.grant, client_id=client_id or kept.grant.client_id)
        outcome = self.wait_for(self.store.redeem_code, kept.grant.code_digest, proof, issuance)
        assert type(outcome).__name__ == kept.redeem(proof.client_id, issuance)

    @rule(
        kept=grants,
        generation=st.sampled_from([-1, -1, -2, -2, -3, 0]),
        client_id=st.none() | st.none() | NAMES,
        scopes=st.none() | SCOPES,
        lifetimes=lifetimes,
        retry=st.booleans(),
    )
    def refresh(
        self,
        kept: ModelGrant,
        generation: int,
        client_id: str | None,
        scopes: tuple[str, ...] | None,
        lifetimes: tuple[int, int],
        retry: bool,
    ) -> None:
        if not -len(kept.pairs) <= generation < len(kept.pairs):
            return
        issuance = self.new_issuance(kept, lifetimes, retry)
        proof = RefreshProof(client_id or kept.grant.client_id, scopes)
        digest = kept.pairs[generation].issuance.refresh_digest
        outcome = self.wait_for(self.store.rotate_refresh_token, digest, proof, issuance)
        assert type(outcome).__name__ == kept.rotate(generation, proof.client_id, scopes, issuance)

    @rule(kept=grants, generation=st.sampled_from([-1, -2, 0]), client_id=st.none() | NAMES)
    def revoke_access_token(self, kept: ModelGrant, generation: int, client_id: str | None) -> None:
        if -len(kept.pairs) <= generation < len(kept.pairs):
            pair = kept.pairs[generation]
            asking = client_id or kept.grant.client_id
            self.wait_for(self.store.revoke, pair.issuance.access_digest, asking)
            if asking == kept.grant.client_id:
                pair.access_ended = True

    @rule(kept=grants, generation=st.sampled_from([-1, -2, 0]), client_id=st.none() | NAMES)
    def revoke_refresh_token(self, kept: ModelGrant, generation: int, client_id: str | None) -> None:
        if -len(kept.pairs) <= generation < len(kept.pairs):
            pair = kept.pairs[generation]
            asking = client_id or kept.grant.client_id
            family = pair.issuance.family_digest
            self.wait_for(self.store.revoke, pair.issuance.refresh_digest, asking, family)
            if asking == kept.grant.client_id:
                kept.end()

    @rule(kept=grants)
    def revoke_grant(self, kept: ModelGrant) -> None:
        ended = self.wait_for(self.store.revoke_grant, kept.grant.id)
        assert ended is not kept.over
        kept.end()

    @rule(kind=st.sampled_from(["username", "client_id", "scope"]), name=NAMES)
    def revoke_grants(self, kind: str, name: str) -> None:
        name = name.strip() if kind == "scope" else name
        ending = [
            kept
            for kept in self.made
            if not kept.over
            and {
                "username": kept.grant.owner.username == name,
                "client_id": kept.grant.client_id == name,
                "scope": name in kept.grant.scopes,
            }[kind]
        ]
        assert self.wait_for(self.store.revoke_grants, **{kind: name}) == len(ending)
        for kept in ending:
            kept.end()

    @rule(username=NAMES)
    def end_refresh_tokens(self, username: str) -> None:
        self.wait_for(self.store.end_refresh_tokens, username)
        for kept in self.made:
            if kept.grant.owner.username == username and not kept.over:
                if kept.pairs:
                    kept.refresh_ended = True
                else:
                    kept.end()

    @rule(seconds=st.sampled_from([1, 9, 10, 599, 600, 3600, 86400]))
    def pass_time(self, seconds: int) -> None:
        self.now += seconds

    @rule()
    def prune(self) -> None:
        gone = [kept for kept in self.made if kept.expires <= self.now and not kept.forgotten]
        assert self.wait_for(self.store.prune, self.now, 1000) >= len(gone)
        assert self.wait_for(self.store.prune, self.now, 1000) == 0
        for kept in self.made:
            kept.answered = kept.answered if kept.answered > self.now else 0
        for kept in gone:
            kept.end()
            kept.forgotten = True

    @invariant()
    def guard(self) -> None:
        """Of all tokens ever issued, those that should be are good, for the right scopes."""
        for kept in self.made:
            for pair in kept.pairs:
                found = self.wait_for(self.store.find_access_token, pair.issuance.access_digest)
                assert (found is not None) == kept.is_good(pair)
                if found is not None:
                    assert (found.grant_id, found.user) == (kept.grant.id, kept.grant.owner)
                    assert (found.scopes, found.expires) == (pair.scopes, pair.issuance.access_expires)

    @invariant()
    def grants_listed(self) -> None:
        listed = self.wait_for(self.store.grants, GrantFilter(), Page(size=1000))
        alive = {kept.grant.id: kept.expires for kept in self.made if not kept.over}
        assert {grant.id: grant.expires for grant in listed} == alive


class SQLiteMachine(TokenStoreMachine):
    """The same on SQLite, from a thread in which one may wait for the reactor."""

    def wait_for(self, verb: Callable[..., Deferred[Any]], *arguments: Any, **named: Any) -> Any:
        return blockingCallFromThread(reactor, verb, *arguments, **named)

    def new_store(self) -> ITokenStore:
        self.database, _, store = from_url(reactor, "sqlite://")
        self.database.open()
        return store

    def teardown(self) -> None:
        self.wait_for(self.database.close)


def test_memory() -> None:
    run_state_machine_as_test(TokenStoreMachine, settings=settings(stateful_step_count=40))


async def test_sqlite() -> None:
    few = settings(max_examples=25, stateful_step_count=40)
    await deferToThread(run_state_machine_as_test, SQLiteMachine, settings=few)
