"""Steps that many tests of the contract take."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import attrs
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from ...interfaces import ITokenStore
from ...models import (
    Grant,
    GrantFilter,
    Issuance,
    Issued,
    Outcome,
    Page,
    RefreshProof,
    TokenPair,
    Unknown,
)
from .samples import family_of, new_grant, new_issuance, proof_of

_T = TypeVar("_T")


async def at_once(steps: Iterable[Deferred[_T]]) -> list[_T]:
    """The results of steps that are all taken at once."""
    results: list[_T] = await gatherResults(list(steps), consumeErrors=True)
    return results


def of_type(outcomes: Iterable[Outcome], kind: type[_T]) -> list[_T]:
    """The outcomes of a type."""
    return [outcome for outcome in outcomes if isinstance(outcome, kind)]


async def add_grant(store: ITokenStore, **changes: Any) -> Grant:
    """Add a new grant."""
    grant = new_grant(**changes)
    assert await store.add_code(grant)
    return grant


async def add_bounded_grant(store: ITokenStore, most: int, now: int) -> Grant:
    """Add a new grant of a user who may have ``most`` with the client."""
    grant = new_grant(created=now, last_used=now)
    assert await store.add_code(grant, most) is True
    return grant


async def redeem(store: ITokenStore, grant: Grant, issuance: Issuance | None = None) -> TokenPair:
    """Redeem a grant's code, and expect that it succeeds."""
    issuance = attrs.evolve(issuance or new_issuance(), family_digest=family_of(grant))
    outcome = await store.redeem_code(grant.code_digest, proof_of(grant), issuance)
    assert isinstance(outcome, Issued)
    return outcome.pair


async def redeemed_grant(store: ITokenStore, **changes: Any) -> tuple[Grant, TokenPair]:
    """Add a new grant and redeem its code."""
    grant = await add_grant(store, **changes)
    return grant, await redeem(store, grant)


def attempt_rotation(
    store: ITokenStore,
    grant: Grant,
    pair: TokenPair,
    issuance: Issuance | None = None,
    scopes: tuple[str, ...] | None = None,
) -> Deferred[Outcome]:
    """Present a pair's refresh token as the grant's own client, and get the outcome."""
    assert pair.refresh_digest is not None
    proof = RefreshProof(grant.client_id, scopes)
    issuance = attrs.evolve(issuance or new_issuance(), family_digest=family_of(grant))
    return store.rotate_refresh_token(pair.refresh_digest, proof, issuance)


async def rotate(
    store: ITokenStore,
    grant: Grant,
    pair: TokenPair,
    issuance: Issuance | None = None,
    scopes: tuple[str, ...] | None = None,
) -> TokenPair:
    """Rotate a pair's refresh token, and expect that it succeeds."""
    outcome = await attempt_rotation(store, grant, pair, issuance, scopes)
    assert isinstance(outcome, Issued)
    return outcome.pair


async def is_valid(store: ITokenStore, pair: TokenPair) -> bool:
    """Whether the store finds a pair's access token."""
    return await store.find_access_token(pair.access_digest) is not None


async def is_ended(store: ITokenStore, grant: Grant, *pairs: TokenPair) -> bool:
    """Whether nothing of a grant can be used any more. If so, it changes nothing."""
    outcomes = [await store.redeem_code(grant.code_digest, proof_of(grant), new_issuance())]
    outcomes += [await attempt_rotation(store, grant, pair) for pair in pairs if pair.refresh_digest]
    valid = [await is_valid(store, pair) for pair in pairs]
    listed = [other.id for other in await store.grants(GrantFilter(), Page(size=10_000))]
    return set(outcomes) == {Unknown()} and not any(valid) and grant.id not in listed


async def grant_ids(store: ITokenStore, filter: GrantFilter, page: Page | None = None) -> list[str]:
    """The ids of a page of grants."""
    return [grant.id for grant in await store.grants(filter, page or Page())]


def cancelled(step: Deferred[Any], number: int) -> Deferred[Any]:
    """Cancel a step.

    :param number: where it is odd, cancel a coroutine that waits for the step instead.
    """
    waiting = Deferred.fromCoroutine(_await(step)) if number % 2 else step
    waiting.cancel()
    return waiting.addErrback(lambda failure: failure.trap(CancelledError))


async def _await(step: Deferred[_T]) -> _T:
    return await step


async def assert_fails(error: type[Exception], step: Deferred[Any]) -> None:
    """Assert that a step fails with an error of one line."""
    failure: list[Failure] = []
    await step.addErrback(failure.append)
    assert failure, f"{error.__name__} was not raised"
    assert failure[0].check(error), failure[0]
    assert len(str(failure[0].value).splitlines()) == 1


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition that needs other processes, and some turns of the reactor."""
    from twisted.internet import reactor

    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "the condition did not become true"
        await deferLater(reactor, 0.01)
