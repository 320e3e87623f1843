"""The token stores against a small model of them, in random orders of events."""

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
from reactors import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import blockingCallFromThread, deferToThread

from djoauth2_twisted.interfaces import ITokenStore
from djoauth2_twisted.models import (
    Grant,
    GrantFilter,
    Issuance,
    Page,
    RefreshProof,
    ResourceOwner,
    Unknown,
)
from djoauth2_twisted.stores.contract import (
    NOW,
    family_of,
    new_grant,
    new_issuance,
    proof_of,
    random_digest,
)
from djoauth2_twisted.stores.memory import MemoryTokenStore
from djoauth2_twisted.stores.urls import from_url

NAMES = st.sampled_from(["one", "One", "one ", "%"])
SCOPES = st.lists(NAMES.map(str.strip), min_size=1, unique=True).map(tuple)
LIFETIMES = st.tuples(st.sampled_from([1, 3600]), st.sampled_from([1, 86400, 86400]))
GENERATIONS = st.sampled_from([-1, -2, -2, -3, 0])
RETRY_SECONDS = 10


@define
class ModelPair:
    """An access token and a refresh token that were issued together."""

    issuance: Issuance
    scopes: tuple[str, ...]
    access_revoked: bool = False


@define
class ModelGrant:
    """A grant as the standard describes it: a code, and the pairs that were issued one after another."""

    grant: Grant
    expires: int
    pairs: list[ModelPair]
    revoked: bool = False
    refresh_ended: bool = False
    pruned: bool = False
    retry_until: int = 0  #: until when the last answer is kept

    def revoke(self) -> None:
        self.revoked = True
        self.expires = 0

    def issue(self, issuance: Issuance, scopes: tuple[str, ...]) -> str:
        self.pairs.append(ModelPair(issuance, scopes))
        self.expires = max(self.expires, issuance.access_expires, issuance.refresh_expires or 0)
        return "Issued"

    def replay(self) -> str:
        self.revoke()
        return "Replayed"

    def renew(self, renewed: Grant) -> bool:
        """Give the grant another code; whether it takes it."""
        if self.revoked or self.pairs:
            return False
        self.grant = attrs.evolve(
            self.grant, code_digest=renewed.code_digest, code_expires=renewed.code_expires
        )
        self.expires = max(self.expires, renewed.expires)
        return True

    def redeem(self, client_id: str, issuance: Issuance) -> str:
        """Redeem the code; the name of the outcome."""
        if self.revoked:
            return "Unknown"
        if client_id != self.grant.client_id:
            return "Refused"
        if self.pairs:
            return self.replay()
        if issuance.now >= self.grant.code_expires:
            return "Expired"
        return self.issue(issuance, self.grant.scopes)

    def rotate(
        self, generation: int, client_id: str, scopes: tuple[str, ...] | None, issuance: Issuance
    ) -> str:
        """Present the refresh token of one of the pairs; the name of the outcome."""
        pair, last = self.pairs[generation], self.pairs[-1]
        wanted = scopes or self.grant.scopes
        if self.revoked or self.refresh_ended:
            return "Unknown"
        if client_id != self.grant.client_id:
            return "Refused"
        if pair is not last:
            in_time = issuance.now < last.issuance.now + issuance.retry_seconds and self.retry_until
            same_request = pair is self.pairs[-2] and set(wanted) == set(last.scopes)
            return "RefreshRetried" if in_time and same_request else self.replay()
        if issuance.now >= (pair.issuance.refresh_expires or math.inf):
            return "Expired"
        if not set(wanted) <= set(self.grant.scopes):
            return "Refused"
        self.retry_until = issuance.retry_seconds and issuance.now + issuance.retry_seconds
        return self.issue(issuance, wanted)

    def is_valid(self, pair: ModelPair) -> bool:
        return pair is self.pairs[-1] and not self.revoked and not pair.access_revoked


class TokenStoreMachine(RuleBasedStateMachine):
    """Takes each step in the store and in the model, and compares the outcomes.

    A subclass makes another store, and waits for its Deferreds.
    """

    grants, redeemed = Bundle("grants"), Bundle("redeemed")

    def wait_for(self, verb: Callable[..., Deferred[Any]], *arguments: Any, **named: Any) -> Any:
        results: list[Any] = []
        verb(*arguments, **named).addBoth(results.append)
        return results[0]

    def new_store(self) -> ITokenStore:
        return MemoryTokenStore()

    @initialize()
    def begin(self) -> None:
        self.now = NOW
        self.models: list[ModelGrant] = []
        self.store = self.new_store()

    def new_issuance(self, model: ModelGrant, lifetimes: tuple[int, int], retry: bool) -> Issuance:
        issuance = new_issuance(
            self.now,
            access_expires=self.now + lifetimes[0],
            refresh_expires=self.now + lifetimes[1],
            family_digest=family_of(model.grant),
            sealed_answer=secrets.token_bytes(8),
        )
        return attrs.evolve(issuance, retry_seconds=RETRY_SECONDS if retry else 0)

    def new_model(self, client_id: str, username: str, scopes: tuple[str, ...]) -> ModelGrant:
        grant = new_grant(
            client_id=client_id,
            owner=ResourceOwner(username),
            scopes=scopes,
            created=self.now,
            expires=self.now + 600,
            code_expires=self.now + 600,
        )
        assert self.wait_for(self.store.add_code, grant) is True
        self.models.append(ModelGrant(grant, grant.expires, []))
        return self.models[-1]

    @rule(target=grants, client_id=NAMES, username=NAMES, scopes=SCOPES)
    def authorize(self, client_id: str, username: str, scopes: tuple[str, ...]) -> ModelGrant:
        return self.new_model(client_id, username, scopes)

    @rule(target=redeemed, client_id=NAMES, username=NAMES, scopes=SCOPES, lifetimes=LIFETIMES)
    def authorize_and_exchange(
        self, client_id: str, username: str, scopes: tuple[str, ...], lifetimes: tuple[int, int]
    ) -> ModelGrant:
        model = self.new_model(client_id, username, scopes)
        self.exchange(model, None, lifetimes)
        return model

    @rule(model=grants | redeemed, client_id=st.none() | NAMES, lifetimes=LIFETIMES)
    def exchange(self, model: ModelGrant, client_id: str | None, lifetimes: tuple[int, int]) -> None:
        issuance = self.new_issuance(model, lifetimes, False)
        proof = proof_of(model.grant, client_id=client_id or model.grant.client_id)
        outcome = self.wait_for(self.store.redeem_code, model.grant.code_digest, proof, issuance)
        assert type(outcome).__name__ == model.redeem(proof.client_id, issuance)

    @rule(model=grants | redeemed)
    def renew_code(self, model: ModelGrant) -> None:
        before, until = model.grant, self.now + 600
        renewed = attrs.evolve(
            before, created=self.now, expires=until, code_expires=until, code_digest=random_digest()
        )
        if model.renew(renewed):
            assert self.wait_for(self.store.renew_code, renewed) is True
            outcome = self.wait_for(
                self.store.redeem_code,
                before.code_digest,
                proof_of(before),
                self.new_issuance(model, (1, 1), False),
            )
            assert outcome == Unknown()
        else:
            assert self.wait_for(self.store.renew_code, renewed) is False

    @rule(model=redeemed, scopes=st.none() | SCOPES, lifetimes=LIFETIMES, retry=st.booleans())
    def refresh(
        self,
        model: ModelGrant,
        scopes: tuple[str, ...] | None,
        lifetimes: tuple[int, int],
        retry: bool,
    ) -> None:
        self.rotate(model, -1, None, scopes, lifetimes, retry)

    @rule(
        model=redeemed,
        scopes=st.none() | SCOPES,
        seconds=st.sampled_from([0, RETRY_SECONDS - 1, RETRY_SECONDS]),
        retry=st.booleans(),
    )
    def refresh_twice(
        self, model: ModelGrant, scopes: tuple[str, ...] | None, seconds: int, retry: bool
    ) -> None:
        """Present the last refresh token, and some time later the same again."""
        count = len(model.pairs)
        self.rotate(model, -1, None, scopes, (3600, 86400), True)
        self.pass_time(seconds)
        if len(model.pairs) > count:
            self.rotate(model, -2, None, scopes, (3600, 86400), retry)

    @rule(
        model=redeemed,
        generation=GENERATIONS,
        client_id=st.none() | st.none() | NAMES,
        scopes=st.none() | SCOPES,
        lifetimes=LIFETIMES,
        retry=st.booleans(),
    )
    def rotate(
        self,
        model: ModelGrant,
        generation: int,
        client_id: str | None,
        scopes: tuple[str, ...] | None,
        lifetimes: tuple[int, int],
        retry: bool,
    ) -> None:
        """Present a refresh token of any age, as any client."""
        if not -len(model.pairs) <= generation < len(model.pairs):
            return
        issuance = self.new_issuance(model, lifetimes, retry)
        proof = RefreshProof(client_id or model.grant.client_id, scopes)
        digest = model.pairs[generation].issuance.refresh_digest
        outcome = self.wait_for(self.store.rotate_refresh_token, digest, proof, issuance)
        assert type(outcome).__name__ == model.rotate(generation, proof.client_id, scopes, issuance)

    @rule(model=redeemed, generation=GENERATIONS, client_id=st.none() | NAMES)
    def revoke_access_token(self, model: ModelGrant, generation: int, client_id: str | None) -> None:
        if -len(model.pairs) <= generation < len(model.pairs):
            pair = model.pairs[generation]
            caller = client_id or model.grant.client_id
            self.wait_for(self.store.revoke, pair.issuance.access_digest, caller)
            if caller == model.grant.client_id:
                pair.access_revoked = True

    @rule(model=redeemed, generation=GENERATIONS, client_id=st.none() | NAMES)
    def revoke_refresh_token(self, model: ModelGrant, generation: int, client_id: str | None) -> None:
        if -len(model.pairs) <= generation < len(model.pairs):
            pair = model.pairs[generation]
            caller = client_id or model.grant.client_id
            family = pair.issuance.family_digest
            self.wait_for(self.store.revoke, pair.issuance.refresh_digest, caller, family)
            if caller == model.grant.client_id:
                model.revoke()

    @rule(model=grants | redeemed)
    def revoke_grant(self, model: ModelGrant) -> None:
        revoked = self.wait_for(self.store.revoke_grant, model.grant.id)
        assert revoked is not model.revoked
        model.revoke()

    @rule(kind=st.sampled_from(["username", "client_id", "scope"]), name=NAMES)
    def revoke_grants(self, kind: str, name: str) -> None:
        name = name.strip() if kind == "scope" else name
        revoked = [
            model
            for model in self.models
            if not model.revoked
            and {
                "username": model.grant.owner.username == name,
                "client_id": model.grant.client_id == name,
                "scope": name in model.grant.scopes,
            }[kind]
        ]
        assert self.wait_for(self.store.revoke_grants, **{kind: name}) == len(revoked)
        for model in revoked:
            model.revoke()

    @rule(username=NAMES)
    def end_refresh_tokens(self, username: str) -> None:
        self.wait_for(self.store.end_refresh_tokens, username)
        for model in self.models:
            if model.grant.owner.username == username and not model.revoked:
                if model.pairs:
                    model.refresh_ended = True
                else:
                    model.revoke()

    @rule(seconds=st.sampled_from([1, 9, 10, 599, 600, 3600, 86400]))
    def pass_time(self, seconds: int) -> None:
        self.now += seconds

    @rule()
    def prune(self) -> None:
        expired = [model for model in self.models if model.expires <= self.now and not model.pruned]
        assert self.wait_for(self.store.prune, self.now, 1000) >= len(expired)
        assert self.wait_for(self.store.prune, self.now, 1000) == 0
        for model in self.models:
            model.retry_until = model.retry_until if model.retry_until > self.now else 0
        for model in expired:
            model.revoke()
            model.pruned = True

    @invariant()
    def access_tokens_are_valid_as_in_the_model(self) -> None:
        for model in self.models:
            for pair in model.pairs:
                found = self.wait_for(self.store.find_access_token, pair.issuance.access_digest)
                assert (found is not None) == model.is_valid(pair)
                if found is not None:
                    assert (found.grant_id, found.user) == (model.grant.id, model.grant.owner)
                    assert (found.scopes, found.expires) == (pair.scopes, pair.issuance.access_expires)

    @invariant()
    def grants_are_listed_as_in_the_model(self) -> None:
        listed = self.wait_for(self.store.grants, GrantFilter(), Page(size=1000))
        expected = {model.grant.id: model.expires for model in self.models if not model.revoked}
        assert {grant.id: grant.expires for grant in listed} == expected


class SQLiteMachine(TokenStoreMachine):
    """The same on SQLite, from a thread that may wait for the reactor."""

    def wait_for(self, verb: Callable[..., Deferred[Any]], *arguments: Any, **named: Any) -> Any:
        return blockingCallFromThread(reactor, verb, *arguments, **named)

    def new_store(self) -> ITokenStore:
        self.database, _, store = from_url(reactor, "sqlite://")
        self.database.open()
        return store

    def teardown(self) -> None:
        self.wait_for(self.database.close)


def test_memory_store_behaves_as_the_model() -> None:
    run_state_machine_as_test(TokenStoreMachine, settings=settings(stateful_step_count=40))


async def test_sqlite_store_behaves_as_the_model() -> None:
    few = settings(max_examples=25, stateful_step_count=40)
    await deferToThread(run_state_machine_as_test, SQLiteMachine, settings=few)
