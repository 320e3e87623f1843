"""What `ITokenStore` and `IRegistry` promise, as tests: whoever writes a store of their own runs them.

With pytest and pytest-twisted, a module of tests names the contract and provides the store, open and
empty, as a fixture called ``token_store`` or ``registry``::

    import pytest_twisted
    from djoauth2_twisted.stores.contract import RegistryContract, TokenStoreContract

    @pytest_twisted.async_yield_fixture
    async def token_store():
        store = MyTokenStore()
        await store.open()
        yield store
        await store.close()

    class TestMyTokenStore(TokenStoreContract):
        pass

``pytest.register_assert_rewrite("djoauth2_twisted.stores.contract")`` in ``conftest.py`` makes the
failures easier to read. Times are near today's, so that a store may hand them to a clock of its own.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import secrets
import time
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import attrs
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from ..credentials import random_string
from ..errors import AlreadyExists, ChangedMeanwhile, LastAdmin, NotFound
from ..interfaces import IInvalidationFeed, IRegistry, ITokenStore
from ..models import (
    AccessToken,
    Client,
    CodeProof,
    Event,
    Expired,
    Grant,
    GrantFilter,
    Image,
    Issuance,
    Issued,
    Limit,
    Outcome,
    Page,
    RefreshProof,
    RefreshRetried,
    Refused,
    Replayed,
    ResourceOwner,
    Scope,
    Session,
    TokenPair,
    Totals,
    Unknown,
    User,
)

_T = TypeVar("_T")

NOW = int(time.time())
CODE_LIFETIME = 600
ACCESS_LIFETIME = 3600
REFRESH_LIFETIME = 30 * 86400

REDIRECT_URI = "https://app.example/cb?a=%20b"
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()

#: How many at once, in the races.
CROWDS = (2, 16, 50)

#: More grants than any store should end in one step.
MANY = 600

#: Names that a careless query or collation takes for one another, or for something else.
HOSTILE = (
    "name",
    "Name",
    "NAME",
    "name ",
    " name",
    "nam",
    "name%",
    "n_me",
    "n%",
    "%",
    "_",
    "'",
    "' OR '1'='1",
    '"; DROP TABLE djoauth2_grant; --',
    "\\",
    "back\\'slash",
    "a/b",
    "{0}",
    "%s",
    ":name",
    "?",
    "*",
    "[n]ame",
    "0",
    "0123",
    "123",
    "1e3",
    "1000",
    "null",
    "None",
    "na\u00efve",
    "nai\u0308ve",
    "naive",
    "\u0430dmin",
    "admin",
    "\U0001f511",
    "\U0001f510",
    "\u202eeman",
    "tab\tname",
    "line\nname",
    "x" * 255,
    "x" * 254 + "y",
    "\U0001f511" * 63 + "xyz",
)

#: Bytes that were no UTF-8 when they were sent: they name nothing, and no store may stumble on them.
NOT_UTF_8 = "\udcff\udcfe"


def random_digest() -> bytes:
    """What a code or token is kept by."""
    return secrets.token_bytes(32)


def new_grant(**changes: Any) -> Grant:
    """A grant with a code that has just been issued."""
    grant = Grant(
        id=random_string(22),
        client_id="client",
        owner=ResourceOwner("user", "First", "Last", "user@example.com", "subject-1"),
        scopes=("read", "write"),
        created=NOW,
        last_used=NOW,
        expires=NOW + CODE_LIFETIME,
        code_digest=random_digest(),
        code_expires=NOW + CODE_LIFETIME,
        redirect_uri=REDIRECT_URI,
        code_challenge=CHALLENGE,
    )
    return attrs.evolve(grant, **changes)


def proof_of(grant: Grant, **changes: Any) -> CodeProof:
    """What the grant's own client shows beside the code."""
    verifier = None if grant.code_challenge is None else VERIFIER
    return attrs.evolve(CodeProof(grant.client_id, grant.redirect_uri, verifier), **changes)


def new_issuance(now: int = NOW, **changes: Any) -> Issuance:
    """A pair of tokens that is ready to be issued."""
    issuance = Issuance(
        now=now,
        access_digest=random_digest(),
        access_expires=now + ACCESS_LIFETIME,
        refresh_digest=random_digest(),
        refresh_expires=now + REFRESH_LIFETIME,
    )
    return attrs.evolve(issuance, **changes)


def family_of(grant: Grant) -> bytes:
    """By what the family of a grant's refresh tokens is kept."""
    return hashlib.sha256(grant.id.encode("utf-8", "surrogateescape")).digest()


def retriable_issuance(now: int = NOW) -> Issuance:
    """The same, whose answer may be asked for again within ten seconds."""
    return new_issuance(now, retry_seconds=10, sealed_answer=secrets.token_bytes(100))


def pair_of(grant: Grant, issuance: Issuance, **changes: Any) -> TokenPair:
    """The pair that is stored when ``issuance`` is issued."""
    pair = TokenPair(
        access_digest=issuance.access_digest,
        access_expires=issuance.access_expires,
        refresh_digest=issuance.refresh_digest,
        refresh_expires=issuance.refresh_expires,
        grant_id=grant.id,
        scopes=grant.scopes,
        issued=issuance.now,
        sealed_answer=issuance.sealed_answer,
    )
    return attrs.evolve(pair, **changes)


async def _all(steps: Iterable[Deferred[_T]]) -> list[_T]:
    """The answers to steps that are all taken at once."""
    results: list[_T] = await gatherResults(list(steps), consumeErrors=True)
    return results


def _of_type(outcomes: Iterable[Outcome], kind: type[_T]) -> list[_T]:
    return [outcome for outcome in outcomes if isinstance(outcome, kind)]


async def _add(store: ITokenStore, **changes: Any) -> Grant:
    grant = new_grant(**changes)
    assert await store.add_code(grant)
    return grant


async def _add_within(store: ITokenStore, most: int, now: int) -> Grant:
    """A new grant of a user who may have so many."""
    grant = new_grant(created=now, last_used=now)
    assert await store.add_code(grant, most) is True
    return grant


async def _redeem(store: ITokenStore, grant: Grant, issuance: Issuance | None = None) -> TokenPair:
    issuance = attrs.evolve(issuance or new_issuance(), family_digest=family_of(grant))
    outcome = await store.redeem_code(grant.code_digest, proof_of(grant), issuance)
    assert isinstance(outcome, Issued)
    return outcome.pair


async def _begin(store: ITokenStore, **changes: Any) -> tuple[Grant, TokenPair]:
    """A grant whose code has been exchanged."""
    grant = await _add(store, **changes)
    return grant, await _redeem(store, grant)


def _rotation(
    store: ITokenStore,
    grant: Grant,
    pair: TokenPair,
    issuance: Issuance | None = None,
    scopes: tuple[str, ...] | None = None,
) -> Deferred[Outcome]:
    """The grant's own client presents the pair's refresh token."""
    assert pair.refresh_digest is not None
    proof = RefreshProof(grant.client_id, scopes)
    issuance = attrs.evolve(issuance or new_issuance(), family_digest=family_of(grant))
    return store.rotate_refresh_token(pair.refresh_digest, proof, issuance)


async def _rotate(
    store: ITokenStore,
    grant: Grant,
    pair: TokenPair,
    issuance: Issuance | None = None,
    scopes: tuple[str, ...] | None = None,
) -> TokenPair:
    outcome = await _rotation(store, grant, pair, issuance, scopes)
    assert isinstance(outcome, Issued)
    return outcome.pair


async def _is_good(store: ITokenStore, pair: TokenPair) -> bool:
    return await store.find_access_token(pair.access_digest) is not None


async def _is_over(store: ITokenStore, grant: Grant, *pairs: TokenPair) -> bool:
    """Whether nothing of a grant can be used any more. It changes nothing where that is so."""
    outcomes = [await store.redeem_code(grant.code_digest, proof_of(grant), new_issuance())]
    outcomes += [await _rotation(store, grant, pair) for pair in pairs if pair.refresh_digest]
    good = [await _is_good(store, pair) for pair in pairs]
    listed = [other.id for other in await store.grants(GrantFilter(), Page(size=10_000))]
    return set(outcomes) == {Unknown()} and not any(good) and grant.id not in listed


async def _ids(store: ITokenStore, filter: GrantFilter, page: Page | None = None) -> list[str]:
    return [grant.id for grant in await store.grants(filter, page or Page())]


class TokenStoreContract:
    """The promises of `ITokenStore`."""

    def test_provides_the_interface(self, token_store: ITokenStore) -> None:
        """It says that it is a token store, and has all of its verbs."""
        assert verifyObject(ITokenStore, token_store)

    # Codes.

    async def test_add_code(self, token_store: ITokenStore) -> None:
        """A grant comes back as it was given, whichever of its fields are empty."""
        full = await _add(token_store)
        bare = await _add(
            token_store,
            owner=ResourceOwner("other"),
            scopes=(),
            created=NOW + 1,
            redirect_uri=None,
            code_challenge=None,
        )
        assert await token_store.grants(GrantFilter(), Page()) == [full, bare]

    async def test_add_code_with_an_id_that_is_taken(self, token_store: ITokenStore) -> None:
        """The first to have an id keeps it, and the second is not kept at all."""
        first = await _add(token_store)
        second = new_grant(id=first.id, client_id="other")
        assert await token_store.add_code(second) is False
        outcome = await token_store.redeem_code(second.code_digest, proof_of(second), new_issuance())
        assert outcome == Unknown()
        assert await token_store.grants(GrantFilter(), Page()) == [first]
        await _redeem(token_store, first)

    async def test_redeem_code(self, token_store: ITokenStore) -> None:
        """CG-01: the outcome, and what is found afterwards, are what was to be issued."""
        grant = await _add(token_store)
        issuance = new_issuance(NOW + 5, family_digest=family_of(grant))
        outcome = await token_store.redeem_code(grant.code_digest, proof_of(grant), issuance)
        used = attrs.evolve(
            grant,
            code_used=True,
            last_used=NOW + 5,
            expires=NOW + 5 + REFRESH_LIFETIME,
            family_digest=family_of(grant),
        )
        assert outcome == Issued(used, pair_of(grant, issuance))
        assert await token_store.grants(GrantFilter(), Page()) == [used]
        assert await token_store.find_access_token(issuance.access_digest) == AccessToken(
            client_id=grant.client_id,
            user=grant.owner,
            scopes=grant.scopes,
            issued=NOW + 5,
            expires=NOW + 5 + ACCESS_LIFETIME,
            grant_id=grant.id,
        )

    async def test_redeem_code_for_an_access_token_alone(self, token_store: ITokenStore) -> None:
        """RT-06: where access tokens are not refreshable, there is no refresh token."""
        grant = await _add(token_store)
        issuance = new_issuance(refresh_digest=None, refresh_expires=None)
        pair = await _redeem(token_store, grant, issuance)
        assert pair == pair_of(grant, issuance)
        assert await _is_good(token_store, pair)
        [kept] = await token_store.grants(GrantFilter(), Page())
        assert kept.expires == NOW + ACCESS_LIFETIME

    async def test_redeem_code_without_optional_proofs(self, token_store: ITokenStore) -> None:
        """Neither a redirect URI nor a challenge is asked for where the request had none."""
        grant = await _add(token_store, redirect_uri=None, code_challenge=None)
        assert await _is_good(token_store, await _redeem(token_store, grant))

    async def test_redeem_code_that_is_unknown(self, token_store: ITokenStore) -> None:
        """CG-02: what was never issued is not known."""
        grant = await _add(token_store)
        outcome = await token_store.redeem_code(random_digest(), proof_of(grant), new_issuance())
        assert outcome == Unknown()

    async def test_redeem_code_at_its_last_second(self, token_store: ITokenStore) -> None:
        """CG-04: a code is good before its time is over, and expired at that very second."""
        grant = await _add(token_store)
        for late in (0, 1, 10_000):
            issuance = new_issuance(grant.code_expires + late)
            outcome = await token_store.redeem_code(grant.code_digest, proof_of(grant), issuance)
            assert outcome == Expired()
            assert await token_store.find_access_token(issuance.access_digest) is None
        await _redeem(token_store, grant, new_issuance(grant.code_expires - 1))

    async def test_redeem_code_without_proof(self, token_store: ITokenStore) -> None:
        """CG-03, CG-11, PK-02, PK-03: a failed proof changes nothing, so that no thief burns a code."""
        challenged = await _add(token_store)
        unchallenged = await _add(token_store, code_challenge=None)
        without_uri = await _add(token_store, redirect_uri=None)
        wrong: list[tuple[Grant, dict[str, str | None]]] = [
            (challenged, {"client_id": "other"}),
            (challenged, {"client_id": "CLIENT"}),
            (challenged, {"client_id": "client "}),
            (challenged, {"redirect_uri": None}),
            (challenged, {"redirect_uri": REDIRECT_URI + "/"}),
            (challenged, {"redirect_uri": REDIRECT_URI.replace("%20", "+")}),
            (challenged, {"redirect_uri": REDIRECT_URI.upper()}),
            (challenged, {"redirect_uri": NOT_UTF_8}),
            (challenged, {"code_verifier": None}),
            (challenged, {"code_verifier": VERIFIER.swapcase()}),
            (challenged, {"code_verifier": VERIFIER + "="}),
            (challenged, {"code_verifier": CHALLENGE}),
            (challenged, {"code_verifier": NOT_UTF_8 * 22}),
            (unchallenged, {"code_verifier": VERIFIER}),
            (without_uri, {"redirect_uri": REDIRECT_URI}),
        ]
        for grant, changes in wrong:
            issuance = new_issuance()
            proof = proof_of(grant, **changes)
            outcome = await token_store.redeem_code(grant.code_digest, proof, issuance)
            assert isinstance(outcome, Refused), changes
            assert not outcome.invalid_scope
            assert await token_store.find_access_token(issuance.access_digest) is None
        for grant in (challenged, unchallenged, without_uri):
            assert await _is_good(token_store, await _redeem(token_store, grant))

    async def test_redeem_code_twice(self, token_store: ITokenStore) -> None:
        """CG-05, CG-08: the second use ends all that was issued, and stays done though it is refused."""
        grant, pair = await _begin(token_store)
        issuance = new_issuance(NOW + 1)
        outcome = await token_store.redeem_code(grant.code_digest, proof_of(grant), issuance)
        assert isinstance(outcome, Replayed)
        assert (outcome.grant.id, outcome.grant.revoked) == (grant.id, True)
        assert await token_store.find_access_token(issuance.access_digest) is None
        assert await _is_over(token_store, grant, pair)
        assert await token_store.revoke_grant(grant.id) is False

    async def test_redeem_code_again_after_a_refresh(self, token_store: ITokenStore) -> None:
        """CG-05: the tokens refreshed since the first use end, too."""
        grant, first = await _begin(token_store)
        second = await _rotate(token_store, grant, first)
        third = await _rotate(token_store, grant, second)
        outcome = await token_store.redeem_code(grant.code_digest, proof_of(grant), new_issuance())
        assert isinstance(outcome, Replayed)
        assert await _is_over(token_store, grant, first, second, third)

    async def test_redeem_code_again_after_it_expired(self, token_store: ITokenStore) -> None:
        """CG-07: a used code is known as long as what was issued for it."""
        grant, pair = await _begin(token_store)
        issuance = new_issuance(grant.code_expires + 1000)
        outcome = await token_store.redeem_code(grant.code_digest, proof_of(grant), issuance)
        assert isinstance(outcome, Replayed)
        assert await _is_over(token_store, grant, pair)

    async def test_redeem_used_code_without_proof(self, token_store: ITokenStore) -> None:
        """CG-09: who cannot prove a used code to be theirs ends nothing."""
        grant, pair = await _begin(token_store)
        for changes in ({"client_id": "other"}, {"redirect_uri": None}, {"code_verifier": None}):
            proof = proof_of(grant, **changes)
            outcome = await token_store.redeem_code(grant.code_digest, proof, new_issuance())
            assert isinstance(outcome, Refused)
        assert await _is_good(token_store, pair)
        await _rotate(token_store, grant, pair)

    async def test_one_kind_is_not_taken_for_another(self, token_store: ITokenStore) -> None:
        """CG-14, RT-17, RV-09: codes, access tokens and refresh tokens are looked up apart."""
        grant, pair = await _begin(token_store)
        unused = await _add(token_store)
        assert pair.refresh_digest is not None
        for digest in (pair.access_digest, pair.refresh_digest):
            assert await token_store.redeem_code(digest, proof_of(grant), new_issuance()) == Unknown()
        for digest in (pair.access_digest, grant.code_digest, unused.code_digest):
            outcome = await token_store.rotate_refresh_token(
                digest, RefreshProof(grant.client_id, None), new_issuance()
            )
            assert outcome == Unknown()
        for digest in (pair.refresh_digest, grant.code_digest, unused.code_digest):
            assert await token_store.find_access_token(digest) is None
        for digest in (grant.code_digest, unused.code_digest):
            assert await token_store.revoke(digest, grant.client_id) is None
        assert await _is_good(token_store, pair)
        await _redeem(token_store, unused)

    # Refresh tokens.

    async def test_rotate(self, token_store: ITokenStore) -> None:
        """RT-01: a new pair is issued, and both tokens of the old one are dead."""
        grant, old = await _begin(token_store)
        issuance = new_issuance(NOW + 100)
        outcome = await _rotation(token_store, grant, old, issuance)
        assert isinstance(outcome, Issued)
        assert outcome.pair == pair_of(grant, issuance, predecessor=old.refresh_digest)
        assert outcome.grant.family_digest == family_of(grant)
        assert (outcome.grant.last_used, outcome.grant.code_used) == (NOW + 100, True)
        assert outcome.grant.expires == NOW + 100 + REFRESH_LIFETIME
        assert await token_store.grants(GrantFilter(), Page()) == [outcome.grant]
        assert not await _is_good(token_store, old)
        found = await token_store.find_access_token(issuance.access_digest)
        assert found == AccessToken(
            client_id=grant.client_id,
            user=grant.owner,
            scopes=grant.scopes,
            issued=NOW + 100,
            expires=NOW + 100 + ACCESS_LIFETIME,
            grant_id=grant.id,
        )

    async def test_rotate_never_shortens_the_grant(self, token_store: ITokenStore) -> None:
        """A grant is kept as long as the last of all that it ever issued."""
        grant, first = await _begin(token_store)
        last = new_issuance(access_expires=NOW + 1, refresh_digest=None, refresh_expires=None)
        await _rotate(token_store, grant, first, last)
        [kept] = await token_store.grants(GrantFilter(), Page())
        assert kept.expires == NOW + REFRESH_LIFETIME

    async def test_rotate_many_times(self, token_store: ITokenStore) -> None:
        """Of a long line of pairs, the last alone is good."""
        grant, pair = await _begin(token_store)
        line = [pair]
        for number in range(1, 10):
            line.append(await _rotate(token_store, grant, line[-1], new_issuance(NOW + number)))
        assert [await _is_good(token_store, pair) for pair in line] == [False] * 9 + [True]

    async def test_rotate_to_fewer_scopes(self, token_store: ITokenStore) -> None:
        """RT-07: a narrower scope is that of one access token; the grant keeps its own."""
        grant, first = await _begin(token_store)
        narrow = await _rotate(token_store, grant, first, scopes=("write",))
        found = await token_store.find_access_token(narrow.access_digest)
        assert found is not None
        assert found.scopes == narrow.scopes == ("write",)
        full = await _rotate(token_store, grant, narrow)
        found = await token_store.find_access_token(full.access_digest)
        assert found is not None
        assert found.scopes == full.scopes == grant.scopes

    async def test_rotate_with_scopes_in_another_order(self, token_store: ITokenStore) -> None:
        """RT-07: the order of scopes means nothing."""
        grant, pair = await _begin(token_store)
        scopes = tuple(reversed(grant.scopes))
        assert set((await _rotate(token_store, grant, pair, scopes=scopes)).scopes) == set(scopes)

    async def test_rotate_to_more_scopes(self, token_store: ITokenStore) -> None:
        """RT-07, RT-09: what was not granted is refused, and the refresh token stays good."""
        grant, pair = await _begin(token_store)
        for scopes in (("read", "write", "admin"), ("admin",), ("READ",), ("rea",)):
            outcome = await _rotation(token_store, grant, pair, scopes=scopes)
            assert isinstance(outcome, Refused)
            assert outcome.invalid_scope
        assert await _is_good(token_store, pair)
        await _rotate(token_store, grant, pair)

    async def test_rotate_by_another_client(self, token_store: ITokenStore) -> None:
        """RT-09: a stolen refresh token is of no use, and the theft does its owner no harm."""
        grant, pair = await _begin(token_store)
        for client_id in ("other", "CLIENT", "client ", NOT_UTF_8):
            thief = attrs.evolve(grant, client_id=client_id)
            outcome = await _rotation(token_store, thief, pair)
            assert isinstance(outcome, Refused)
            assert not outcome.invalid_scope
        assert await _is_good(token_store, pair)
        await _rotate(token_store, grant, pair)

    async def test_rotate_at_the_last_second(self, token_store: ITokenStore) -> None:
        """A refresh token is good before its time is over, and expired at that very second."""
        grant, pair = await _begin(token_store)
        assert pair.refresh_expires is not None
        for late in (0, 1, 10_000):
            issuance = new_issuance(pair.refresh_expires + late)
            assert await _rotation(token_store, grant, pair, issuance) == Expired()
        await _rotate(token_store, grant, pair, new_issuance(pair.refresh_expires - 1))

    async def test_rotate_twice(self, token_store: ITokenStore) -> None:
        """RT-04, RT-05: a refresh token used again ends the whole grant, and it stays ended."""
        grant, old = await _begin(token_store)
        new = await _rotate(token_store, grant, old)
        issuance = new_issuance()
        outcome = await _rotation(token_store, grant, old, issuance)
        assert isinstance(outcome, Replayed)
        assert (outcome.grant.id, outcome.grant.revoked) == (grant.id, True)
        assert await token_store.find_access_token(issuance.access_digest) is None
        assert await _is_over(token_store, grant, old, new)

    async def test_rotate_an_older_generation(self, token_store: ITokenStore) -> None:
        """RT-13: the first of three is known as used, too."""
        grant, first = await _begin(token_store)
        second = await _rotate(token_store, grant, first)
        third = await _rotate(token_store, grant, second)
        assert isinstance(await _rotation(token_store, grant, first), Replayed)
        assert await _is_over(token_store, grant, first, second, third)

    async def test_rotate_what_was_used_long_ago(self, token_store: ITokenStore) -> None:
        """RT-13: however many followed it, and however long ago, by whoever has it in a log."""
        for generation in (0, 1, 20, 38, 39):
            grant, pair = await _begin(token_store)
            line = [pair]
            for number in range(1, 41):
                issuance = new_issuance(NOW + 3600 * number)
                line.append(await _rotate(token_store, grant, line[-1], issuance))
            thief = attrs.evolve(grant, client_id="other")
            assert isinstance(await _rotation(token_store, thief, line[generation]), Refused)
            assert await _is_good(token_store, line[-1])
            late = new_issuance(NOW + 3600 * 50)
            assert isinstance(await _rotation(token_store, grant, line[generation], late), Replayed)
            assert await _is_over(token_store, grant, *line)

    async def test_rotate_what_was_made_up(self, token_store: ITokenStore) -> None:
        """RT-02: what was never issued is of no family, is not known, and ends nothing."""
        grant, pair = await _begin(token_store)
        for family in (random_digest(), None):
            issuance = new_issuance(family_digest=family)
            proof = RefreshProof(grant.client_id, None)
            outcome = await token_store.rotate_refresh_token(random_digest(), proof, issuance)
            assert outcome == Unknown()
        assert await _is_good(token_store, pair)
        await _rotate(token_store, grant, pair)

    async def test_families_are_told_apart(self, token_store: ITokenStore) -> None:
        """A token that is used again ends its own grant, and no other of the same user and client."""
        begun = [await _begin(token_store) for _ in range(3)]
        lines = [(grant, old, await _rotate(token_store, grant, old)) for grant, old in begun]
        grant, old, new = lines.pop(1)
        assert isinstance(await _rotation(token_store, grant, old), Replayed)
        assert await _is_over(token_store, grant, old, new)
        for grant, _, new in lines:
            await _rotate(token_store, grant, new)

    async def test_a_family_that_is_taken(self, token_store: ITokenStore) -> None:
        """It is as if nothing had been tried: the code is good, with another family."""
        grant, pair = await _begin(token_store)
        other = await _add(token_store)
        issuance = new_issuance(family_digest=family_of(grant))
        await _fails(
            AlreadyExists, token_store.redeem_code(other.code_digest, proof_of(other), issuance)
        )
        assert await token_store.find_access_token(issuance.access_digest) is None
        await _rotate(token_store, other, await _redeem(token_store, other))
        await _rotate(token_store, grant, pair)

    async def test_rotate_again_after_it_expired(self, token_store: ITokenStore) -> None:
        """A used refresh token is known as long as what followed it."""
        grant, old = await _begin(token_store)
        assert old.refresh_expires is not None
        new = await _rotate(token_store, grant, old, new_issuance(old.refresh_expires - 1))
        outcome = await _rotation(token_store, grant, old, new_issuance(old.refresh_expires + 1))
        assert isinstance(outcome, Replayed)
        assert await _is_over(token_store, grant, old, new)

    async def test_rotate_again_by_another_client(self, token_store: ITokenStore) -> None:
        """Who is not its client cannot end a grant with a used refresh token."""
        grant, old = await _begin(token_store)
        new = await _rotate(token_store, grant, old)
        thief = attrs.evolve(grant, client_id="other")
        assert isinstance(await _rotation(token_store, thief, old), Refused)
        assert await _is_good(token_store, new)
        await _rotate(token_store, grant, new)

    # Refreshing again within REFRESH_RETRY_SECONDS.

    async def test_retry(self, token_store: ITokenStore) -> None:
        """RT-12, RT-16: the same request gets the same answer, as often as it comes in time."""
        grant, old = await _begin(token_store)
        issuance = retriable_issuance(NOW + 50)
        new = await _rotate(token_store, grant, old, issuance)
        assert new.sealed_answer == issuance.sealed_answer
        for later in (0, 5, 9):
            again = retriable_issuance(NOW + 50 + later)
            outcome = await _rotation(token_store, grant, old, again)
            assert isinstance(outcome, RefreshRetried)
            assert (outcome.grant.id, outcome.pair) == (grant.id, new)
            assert await token_store.find_access_token(again.access_digest) is None
        assert await _is_good(token_store, new)
        await _rotate(token_store, grant, new)

    async def test_retry_too_late(self, token_store: ITokenStore) -> None:
        """At the very second that the time for a retry is over, it is a replay."""
        grant, old = await _begin(token_store)
        new = await _rotate(token_store, grant, old, retriable_issuance(NOW + 50))
        assert isinstance(
            await _rotation(token_store, grant, old, retriable_issuance(NOW + 60)), Replayed
        )
        assert await _is_over(token_store, grant, old, new)

    async def test_retry_where_the_clock_went_back(self, token_store: ITokenStore) -> None:
        """F-26: a clock that is set back an hour does not make an hour of ten seconds."""
        grant, old = await _begin(token_store)
        new = await _rotate(token_store, grant, old, retriable_issuance(NOW + 3600))
        assert isinstance(await _rotation(token_store, grant, old, retriable_issuance()), Replayed)
        assert await _is_over(token_store, grant, old, new)

    async def test_retry_where_none_is_allowed(self, token_store: ITokenStore) -> None:
        """Without seconds for it, or without an answer that was kept, there is no retry."""
        for first, second in (
            (retriable_issuance(), new_issuance()),
            (new_issuance(), retriable_issuance()),
            (new_issuance(), new_issuance()),
            (retriable_issuance(), new_issuance(NOW - 5)),
        ):
            grant, old = await _begin(token_store)
            new = await _rotate(token_store, grant, old, first)
            assert isinstance(await _rotation(token_store, grant, old, second), Replayed)
            assert await _is_over(token_store, grant, old, new)

    async def test_retry_with_other_scopes(self, token_store: ITokenStore) -> None:
        """The answer is given again to the same request alone; None means those that were granted."""
        for first, second, outcome_type in (
            (None, ("write", "read"), RefreshRetried),
            (("read",), ("read",), RefreshRetried),
            (("read",), None, Replayed),
            (None, ("read",), Replayed),
            (("read",), ("write",), Replayed),
            (None, ("admin",), Replayed),
        ):
            grant, old = await _begin(token_store)
            await _rotate(token_store, grant, old, retriable_issuance(), first)
            outcome = await _rotation(token_store, grant, old, retriable_issuance(), second)
            assert isinstance(outcome, outcome_type), (first, second)

    async def test_retry_of_an_older_generation(self, token_store: ITokenStore) -> None:
        """RT-12: the immediate predecessor alone may be used again."""
        grant, first = await _begin(token_store)
        second = await _rotate(token_store, grant, first, retriable_issuance())
        third = await _rotate(token_store, grant, second, retriable_issuance())
        assert isinstance(
            await _rotation(token_store, grant, second, retriable_issuance()), RefreshRetried
        )
        assert isinstance(await _rotation(token_store, grant, first, retriable_issuance()), Replayed)
        assert await _is_over(token_store, grant, first, second, third)

    async def test_retry_after_its_successor_was_used(self, token_store: ITokenStore) -> None:
        """Who has the next answer has had this one: it is forgotten."""
        grant, first = await _begin(token_store)
        second = await _rotate(token_store, grant, first, retriable_issuance())
        third = await _rotate(token_store, grant, second, new_issuance())
        assert isinstance(await _rotation(token_store, grant, first, retriable_issuance()), Replayed)
        assert await _is_over(token_store, grant, first, second, third)

    async def test_retry_by_another_client(self, token_store: ITokenStore) -> None:
        """The kept answer is for the client that it was given to."""
        grant, old = await _begin(token_store)
        new = await _rotate(token_store, grant, old, retriable_issuance())
        thief = attrs.evolve(grant, client_id="other")
        assert isinstance(await _rotation(token_store, thief, old, retriable_issuance()), Refused)
        assert await _is_good(token_store, new)

    async def test_retry_after_the_end(self, token_store: ITokenStore) -> None:
        """RT-11: what was ended is not given again, however soon."""
        grant, old = await _begin(token_store)
        await _rotate(token_store, grant, old, retriable_issuance())
        assert await token_store.revoke_grant(grant.id)
        assert await _rotation(token_store, grant, old, retriable_issuance()) == Unknown()
        grant, old = await _begin(token_store)
        await _rotate(token_store, grant, old, retriable_issuance())
        await token_store.end_refresh_tokens(grant.owner.username)
        outcome = await _rotation(token_store, grant, old, retriable_issuance())
        assert not isinstance(outcome, Issued | RefreshRetried)

    # Looking up access tokens.

    async def test_find_access_token_that_is_unknown(self, token_store: ITokenStore) -> None:
        """BG-03: what was never issued is not found."""
        await _begin(token_store)
        assert await token_store.find_access_token(random_digest()) is None

    async def test_find_access_token_that_is_past_its_time(self, token_store: ITokenStore) -> None:
        """Its time is the caller's to judge, and comes with it."""
        grant = await _add(token_store)
        pair = await _redeem(token_store, grant, new_issuance(access_expires=NOW - 1))
        found = await token_store.find_access_token(pair.access_digest)
        assert found is not None
        assert found.expires == NOW - 1

    # Revocation.

    async def test_revoke_access_token(self, token_store: ITokenStore) -> None:
        """RV-01: an access token ends alone, and its refresh token goes on."""
        grant, pair = await _begin(token_store)
        ended = await token_store.revoke(pair.access_digest, grant.client_id)
        assert ended is not None
        assert ended.id == grant.id
        assert not await _is_good(token_store, pair)
        assert await _ids(token_store, GrantFilter()) == [grant.id]
        assert await _is_good(token_store, await _rotate(token_store, grant, pair))

    async def test_revoke_refresh_token(self, token_store: ITokenStore) -> None:
        """RV-01, RT-18: a refresh token takes its whole grant with it, and no other."""
        grant, pair = await _begin(token_store)
        other, others = await _begin(token_store)
        assert pair.refresh_digest is not None
        ended = await token_store.revoke(pair.refresh_digest, grant.client_id)
        assert ended is not None
        assert ended.id == grant.id
        assert await _is_over(token_store, grant, pair)
        assert await _is_good(token_store, others)
        assert await _ids(token_store, GrantFilter()) == [other.id]

    async def test_revoke_used_refresh_token(self, token_store: ITokenStore) -> None:
        """A client that lost the answer to its refresh can still end all that it has."""
        grant, old = await _begin(token_store)
        new = await _rotate(token_store, grant, old)
        assert old.refresh_digest is not None
        digest, family = old.refresh_digest, family_of(grant)
        assert await token_store.revoke(digest, "other", family) is None
        assert await token_store.revoke(random_digest(), grant.client_id, random_digest()) is None
        assert await _is_good(token_store, new)
        assert await token_store.revoke(digest, grant.client_id, family) is not None
        assert await _is_over(token_store, grant, old, new)

    async def test_revoke_by_another_client(self, token_store: ITokenStore) -> None:
        """RV-03: another client's token is as unknown as any, and stays good."""
        grant, pair = await _begin(token_store)
        assert pair.refresh_digest is not None
        for client_id in ("other", "CLIENT", "client ", "", "%", NOT_UTF_8):
            for digest in (pair.access_digest, pair.refresh_digest):
                assert await token_store.revoke(digest, client_id, family_of(grant)) is None
        assert await _is_good(token_store, pair)
        await _rotate(token_store, grant, pair)

    async def test_revoke_what_is_unknown(self, token_store: ITokenStore) -> None:
        """RV-02: there is nothing to end, and that is no error."""
        grant, pair = await _begin(token_store)
        assert await token_store.revoke(random_digest(), grant.client_id) is None
        assert await _is_good(token_store, pair)

    async def test_revoke_again(self, token_store: ITokenStore) -> None:
        """RV-02: to revoke what is revoked changes nothing, and is no error."""
        grant, pair = await _begin(token_store)
        assert pair.refresh_digest is not None
        for digest in (pair.access_digest, pair.refresh_digest, pair.access_digest):
            await token_store.revoke(digest, grant.client_id)
            await token_store.revoke(digest, grant.client_id)
        assert await _is_over(token_store, grant, pair)

    async def test_revoke_grant(self, token_store: ITokenStore) -> None:
        """A grant ends with all that belongs to it, whether its code was used or not; but once."""
        unused = await _add(token_store)
        grant, old = await _begin(token_store)
        new = await _rotate(token_store, grant, old)
        for ending in (unused, grant):
            assert await token_store.revoke_grant(ending.id) is True
            assert await token_store.revoke_grant(ending.id) is False
        assert await _is_over(token_store, unused)
        assert await _is_over(token_store, grant, old, new)

    async def test_revoke_grant_that_is_unknown(self, token_store: ITokenStore) -> None:
        """There is none of that name, whatever it looks like."""
        grant, pair = await _begin(token_store)
        for grant_id in ("", "%", "_" * len(grant.id), grant.id.swapcase(), grant.id + " ", NOT_UTF_8):
            assert await token_store.revoke_grant(grant_id) is False
        assert await _is_good(token_store, pair)

    async def test_revoke_grants(self, token_store: ITokenStore) -> None:
        """Those of a user, of a client and with a scope, each told apart, and how many they were."""
        made = {}
        for user, client, scope in itertools.product("uv", "cd", "rs"):
            made[user + client + scope] = await _begin(
                token_store, owner=ResourceOwner(user), client_id=client, scopes=("all", scope)
            )

        async def good() -> list[str]:
            return [name for name, (_, pair) in made.items() if await _is_good(token_store, pair)]

        assert await token_store.revoke_grants(username="u", client_id="c", scope="r") == 1
        assert await good() == ["ucs", "udr", "uds", "vcr", "vcs", "vdr", "vds"]
        assert await token_store.revoke_grants(username="u", client_id="c") == 1
        assert await token_store.revoke_grants(scope="s") == 3
        assert await good() == ["udr", "vcr", "vdr"]
        assert await token_store.revoke_grants(username="u") == 1
        assert await token_store.revoke_grants(client_id="c") == 1
        assert await token_store.revoke_grants(client_id="c") == 0
        assert await good() == ["vdr"]
        assert await token_store.revoke_grants() == 1
        assert await good() == []

    async def test_revoke_grants_however_many(self, token_store: ITokenStore) -> None:
        """More than can be ended at once; those of another stay, and it is told how many there were."""
        _, kept = await _begin(token_store, client_id="another", scopes=("read",))
        for _ in range(MANY // 50):
            grants = [new_grant(client_id="popular", scopes=("all", "read")) for _ in range(50)]
            assert await _all([token_store.add_code(grant) for grant in grants]) == [True] * 50
        assert await token_store.count_grants(scope="all") == MANY
        assert await token_store.revoke_grants(client_id="popular") == MANY
        assert await token_store.count_grants(client_id="popular", scope="all") == 0
        assert await token_store.grants(GrantFilter(client_id="popular"), Page()) == []
        assert await _is_good(token_store, kept)

    async def test_revoke_grants_with_a_scope(self, token_store: ITokenStore) -> None:
        """DB-11, AZ-22: a scope is a whole name, byte for byte, wherever it stands in the list."""
        names = ("read", "Read", "reader", "re", "r%", "r_ad", "%", "_", "re/ad", "[a-z]*", "*")
        made = {name: await _begin(token_store, scopes=("first", name, "last")) for name in names}
        for name in ("rea", "READ", "", "%%", "read reader", "first last"):
            assert await token_store.revoke_grants(scope=name) == 0, name
        left = list(names)
        for name in names:
            assert await token_store.revoke_grants(scope=name) == 1, name
            left.remove(name)
            assert left == [other for other in names if await _is_good(token_store, made[other][1])]
        alone, _ = await _begin(token_store, scopes=("read",))
        assert await token_store.revoke_grants(scope="read") == 1
        assert await _is_over(token_store, alone)

    async def test_end_refresh_tokens(self, token_store: ITokenStore) -> None:
        """RT-14: a user's codes and refresh tokens end; the access tokens live out their time."""
        unused = await _add(token_store)
        grant, old = await _begin(token_store)
        new = await _rotate(token_store, grant, old)
        others = [
            await _begin(token_store, owner=ResourceOwner(name))
            for name in ("User", "user ", "use", "%", "_ser")
        ]
        await token_store.end_refresh_tokens("user")
        assert await _is_over(token_store, unused)
        for ended in (new, old, new):
            assert await _rotation(token_store, grant, ended) == Unknown()
        assert await _is_good(token_store, new)
        assert not await _is_good(token_store, old)
        assert grant.id in await _ids(token_store, GrantFilter())
        for other, pair in others:
            await _rotate(token_store, other, pair)
        await token_store.end_refresh_tokens("user")
        await token_store.end_refresh_tokens("nobody")
        assert await token_store.revoke_grant(grant.id)
        assert not await _is_good(token_store, new)

    async def test_end_refresh_tokens_of_several_grants(self, token_store: ITokenStore) -> None:
        """All of the user's clients are put out."""
        made = [await _begin(token_store, client_id=f"client {number}") for number in range(5)]
        await token_store.end_refresh_tokens("user")
        for grant, pair in made:
            assert await _rotation(token_store, grant, pair) == Unknown()
            assert await _is_good(token_store, pair)

    async def test_end_refresh_tokens_however_many(self, token_store: ITokenStore) -> None:
        """More than can be ended at once."""
        made: list[tuple[Grant, TokenPair]] = []
        for _ in range(MANY // 50):
            grants = [new_grant(owner=ResourceOwner("hoarder")) for _ in range(50)]
            await _all(token_store.add_code(grant) for grant in grants)
            pairs = await _all(Deferred.fromCoroutine(_redeem(token_store, each)) for each in grants)
            made += zip(grants, pairs, strict=True)
        await token_store.end_refresh_tokens("hoarder")
        for grant, pair in made[:: MANY // 20]:
            assert await _rotation(token_store, grant, pair) == Unknown()
            assert await _is_good(token_store, pair)

    # The bound on the grants of a user with a client.

    async def test_more_grants_than_a_user_may_have(self, token_store: ITokenStore) -> None:
        """AB-02: those used least recently are ended, used or not; others' are not touched."""
        others = [
            await _begin(token_store, owner=ResourceOwner("another")),
            await _begin(token_store, client_id="another"),
        ]
        made = [await _add(token_store) for _ in range(3)]
        begun = [
            (grant, await _redeem(token_store, grant, new_issuance(NOW + number)))
            for number, grant in enumerate(made)
        ]
        unused = await _add(token_store, created=NOW - 1, last_used=NOW - 1)
        # The oldest is the one that was used last.
        grant, pair = begun.pop(0)
        begun.append((grant, await _rotate(token_store, grant, pair, new_issuance(NOW + 100))))
        first = await _add_within(token_store, 4, NOW + 200)
        assert await _is_over(token_store, unused)
        second = await _add_within(token_store, 4, NOW + 201)
        assert await _is_over(token_store, *begun.pop(0))
        listed = await _ids(token_store, GrantFilter("user", "client"))
        assert set(listed) == {first.id, second.id, *(each.id for each, _ in begun)}
        for each, last in (*begun, *others):
            await _rotate(token_store, each, last)

    async def test_the_bound_takes_small_steps(self, token_store: ITokenStore) -> None:
        """Where it was lowered far, ten are ended at once; and one that is taken ends none."""
        made = [await _add(token_store, created=NOW - n, last_used=NOW - n) for n in range(25)]
        assert await token_store.add_code(made[0], 1) is False
        assert len(await _ids(token_store, GrantFilter())) == 25
        for left in (16, 7, 1, 1):
            new = await _add_within(token_store, 1, NOW + 30 - left)
            listed = await _ids(token_store, GrantFilter())
            assert len(listed) == left
            assert new.id in listed

    # Lists.

    async def test_clients_of(self, token_store: ITokenStore) -> None:
        """Each once, in the order of their ids, part by part, and of this user alone."""
        names = sorted(name for name in HOSTILE if name.isascii())
        for name in names:
            for _ in range(3):
                await _add(token_store, client_id=name)
            await _add(token_store, client_id="of another", owner=ResourceOwner("another"))
        assert await token_store.clients_of("user", "", 1000) == names
        found, after = [], ""
        while part := await token_store.clients_of("user", after, 7):
            assert len(part) <= 7
            found += part
            after = part[-1]
        assert found == names
        await token_store.revoke_grants(username="user", client_id=names[3])
        [one, _, _] = await token_store.grants(GrantFilter("user", names[5]), Page())
        assert await token_store.revoke_grant(one.id)
        del names[3]
        assert await token_store.clients_of("user", "", 1000) == names
        for nobody in ("", "USER", "user ", "%", NOT_UTF_8):
            assert await token_store.clients_of(nobody, "", 1000) == []

    async def test_grants(self, token_store: ITokenStore) -> None:
        """Those that are not revoked, of the user and client asked for, oldest first."""
        made = {}
        for age, (user, client) in enumerate(itertools.product("uv", "cd")):
            made[user + client] = await _add(
                token_store, owner=ResourceOwner(user), client_id=client, created=NOW - age
            )
        revoked = await _add(token_store, created=NOW - 100)
        assert await token_store.revoke_grant(revoked.id)

        async def found(username: str | None, client_id: str | None) -> list[str]:
            grants = await token_store.grants(GrantFilter(username, client_id), Page())
            return [grant.owner.username + grant.client_id for grant in grants]

        assert await found(None, None) == ["vd", "vc", "ud", "uc"]
        assert await found("u", None) == ["ud", "uc"]
        assert await found(None, "c") == ["vc", "uc"]
        assert await found("v", "c") == ["vc"]
        for name in ("w", "", "U", "u ", "%", "_", NOT_UTF_8):
            assert await found(name, None) == await found(None, name) == []

    async def test_pages_of_grants(self, token_store: ITokenStore) -> None:
        """The pages together are the list, with nothing twice, also where all are of one second."""
        made = {(await _add(token_store)).id for _ in range(7)}
        whole = await _ids(token_store, GrantFilter())
        assert set(whole) == made
        for size in (1, 2, 3, 7, 8):
            pages = [
                await _ids(token_store, GrantFilter(username="user"), Page(offset, size))
                for offset in range(0, 7, size)
            ]
            assert [len(page) for page in pages[:-1]] == [size] * (len(pages) - 1)
            assert list(itertools.chain(*pages)) == whole
        assert await _ids(token_store, GrantFilter(), Page(7, 5)) == []
        assert await _ids(token_store, GrantFilter(), Page(10_000, 5)) == []

    async def test_find_grant(self, token_store: ITokenStore) -> None:
        """A grant is found by its id until it is revoked."""
        grant, other = await _add(token_store), await _add(token_store)
        assert await token_store.find_grant(grant.id) == grant
        for unknown in ("", "%", grant.id[:-1], grant.id + " ", grant.id.swapcase(), NOT_UTF_8):
            assert await token_store.find_grant(unknown) is None
        assert await token_store.revoke_grant(grant.id)
        assert await token_store.find_grant(grant.id) is None
        assert await token_store.find_grant(other.id) == other

    async def test_count_grants(self, token_store: ITokenStore) -> None:
        """As many as `revoke_grants` ends, of the same user, client and scope."""
        assert await token_store.count_grants() == 0
        for user, client, scopes in itertools.product("uv", "cd", (("read",), ("reader", "Read"))):
            await _add(token_store, owner=ResourceOwner(user), client_id=client, scopes=scopes)
        assert await token_store.count_grants() == 8
        for wanted, count in (
            ({"username": "u"}, 4),
            ({"client_id": "c"}, 4),
            ({"username": "u", "client_id": "d"}, 2),
            ({"scope": "read"}, 4),
            ({"scope": "Read", "username": "v"}, 2),
            ({"username": "v", "client_id": "d", "scope": "reader"}, 1),
        ):
            assert await token_store.count_grants(**wanted) == count, wanted
        for name in ("", "U", "u ", "%", "_", NOT_UTF_8):
            assert await token_store.count_grants(username=name) == 0
            assert await token_store.count_grants(client_id=name) == 0
        for name in ("rea", "READ", "re_d", "%", "read "):
            assert await token_store.count_grants(scope=name) == 0
        assert await token_store.revoke_grants(username="u", scope="read") == 2
        assert await token_store.count_grants() == 6
        assert await token_store.count_grants(username="u") == 2

    # Pruning.

    async def test_prune(self, token_store: ITokenStore) -> None:
        """What is over goes, from the second on that it is over; what is not over stays."""
        over = await _add(token_store, expires=NOW, code_expires=NOW)
        alive = await _add(token_store, expires=NOW + 1, code_expires=NOW + 1)
        assert await token_store.prune(NOW - 1, 10) == 0
        assert await token_store.prune(NOW, 10) == 1
        assert await token_store.prune(NOW, 10) == 0
        assert await _ids(token_store, GrantFilter()) == [alive.id]
        outcome = await token_store.redeem_code(over.code_digest, proof_of(over), new_issuance(NOW - 5))
        assert outcome == Unknown()
        assert await token_store.add_code(over)

    async def test_prune_with_tokens(self, token_store: ITokenStore) -> None:
        """A grant takes all that belongs to it along, and its digests are free again."""
        grant, first = await _begin(token_store)
        second = await _rotate(token_store, grant, first)
        assert await token_store.prune(NOW + REFRESH_LIFETIME - 1, 10) == 0
        assert 0 < await token_store.prune(NOW + REFRESH_LIFETIME, 10) < 10
        assert await _is_over(token_store, grant, first, second)
        assert await token_store.revoke(second.access_digest, grant.client_id) is None
        assert await token_store.revoke_grant(grant.id) is False
        assert await token_store.add_code(grant)
        again = new_issuance(access_digest=second.access_digest, refresh_digest=first.refresh_digest)
        assert await _is_good(token_store, await _redeem(token_store, grant, again))

    async def test_prune_revoked(self, token_store: ITokenStore) -> None:
        """A revoked grant may go at once, and the rest stays."""
        grant, pair = await _begin(token_store)
        alive, living = await _begin(token_store)
        assert await token_store.revoke_grant(grant.id)
        await token_store.prune(NOW, 10)
        assert await _is_over(token_store, grant, pair)
        assert await _is_good(token_store, living)
        await _rotate(token_store, alive, living)

    async def test_prune_batches(self, token_store: ITokenStore) -> None:
        """No more go at once than were asked for, and less only at the end."""
        for _ in range(7):
            await _begin(token_store, owner=ResourceOwner("gone"))
        await _add(token_store, expires=NOW + 2 * REFRESH_LIFETIME)
        later = NOW + REFRESH_LIFETIME
        gone = [3]
        while gone[-1] == 3:
            left = len(await _ids(token_store, GrantFilter()))
            gone.append(await token_store.prune(later, 3))
            assert left - len(await _ids(token_store, GrantFilter())) <= gone[-1] <= 3
        assert sum(gone[1:]) >= 7
        assert await token_store.prune(later, 3) == 0
        assert len(await _ids(token_store, GrantFilter())) == 1

    async def test_prune_answers(self, token_store: ITokenStore) -> None:
        """RT-16: one that was kept for a retry goes when its moment is over, and its grant stays."""
        grant, old = await _begin(token_store)
        new = await _rotate(token_store, grant, old, retriable_issuance())
        await token_store.prune(NOW + 9, 10)
        assert isinstance(await _rotation(token_store, grant, old, retriable_issuance()), RefreshRetried)
        await token_store.prune(NOW + 10, 10)
        assert await token_store.prune(NOW + 10, 10) == 0
        await _rotate(token_store, grant, new)

    async def test_prune_keeps_tombstones(self, token_store: ITokenStore) -> None:
        """CG-07: while a grant lives, its used code and refresh tokens are known to be used."""
        by_code, first = await _begin(token_store)
        by_refresh, old = await _begin(token_store)
        second = await _rotate(token_store, by_code, first)
        new = await _rotate(token_store, by_refresh, old)
        assert await token_store.prune(NOW + REFRESH_LIFETIME - 1, 100) == 0
        outcome = await token_store.redeem_code(by_code.code_digest, proof_of(by_code), new_issuance())
        assert isinstance(outcome, Replayed)
        assert await _is_over(token_store, by_code, first, second)
        assert isinstance(await _rotation(token_store, by_refresh, old), Replayed)
        assert await _is_over(token_store, by_refresh, old, new)

    # Names.

    async def test_names_are_told_apart(self, token_store: ITokenStore) -> None:
        """DB-01, DB-02, DB-11: every name is kept as it is, and found by itself alone."""
        made = {}
        for name in HOSTILE:
            made[name] = grant = new_grant(
                client_id=name, owner=ResourceOwner(name, name, name, name), redirect_uri=name
            )
            assert await token_store.add_code(grant)
        for name, grant in made.items():
            for by_name in (GrantFilter(username=name), GrantFilter(client_id=name)):
                assert await token_store.grants(by_name, Page()) == [grant], name
        for name, grant in made.items():
            pair = await _redeem(token_store, grant)
            found = await token_store.find_access_token(pair.access_digest)
            assert found is not None
            assert (found.client_id, found.user) == (name, grant.owner)
        for number, name in enumerate(HOSTILE):
            named = {"username": name} if number % 2 else {"client_id": name}
            assert await token_store.revoke_grants(**named) == 1, name
            assert len(await _ids(token_store, GrantFilter())) == len(HOSTILE) - number - 1

    async def test_ids_are_told_apart(self, token_store: ITokenStore) -> None:
        """A grant's id is a name, too, and as hostile as any."""
        for name in HOSTILE:
            assert await token_store.add_code(new_grant(id=name)), name
        for number, name in enumerate(HOSTILE, 1):
            assert await token_store.revoke_grant(name), name
            assert len(await _ids(token_store, GrantFilter())) == len(HOSTILE) - number

    # Races.

    async def test_many_redemptions_of_one_code(self, token_store: ITokenStore) -> None:
        """CC-01: one wins; the others are seen as replays, and so nothing stays good."""
        for crowd in CROWDS:
            grant = await _add(token_store)
            issuances = [new_issuance() for _ in range(crowd)]
            outcomes = await _all(
                token_store.redeem_code(grant.code_digest, proof_of(grant), issuance)
                for issuance in issuances
            )
            [issued] = _of_type(outcomes, Issued)
            assert len(_of_type(outcomes, Replayed)) == 1
            assert outcomes.count(Unknown()) == crowd - 2
            assert await _is_over(token_store, grant, issued.pair)
            for issuance in issuances:
                assert await token_store.find_access_token(issuance.access_digest) is None

    async def test_many_redemptions_of_many_codes(self, token_store: ITokenStore) -> None:
        """CC-09: each of many who come at once gets their own."""
        made = [await _add(token_store, client_id=f"client {number}") for number in range(50)]
        outcomes = await _all(
            token_store.redeem_code(grant.code_digest, proof_of(grant), new_issuance()) for grant in made
        )
        issued = _of_type(outcomes, Issued)
        assert [outcome.grant.id for outcome in issued] == [grant.id for grant in made]
        for grant, outcome in zip(made, issued, strict=True):
            found = await token_store.find_access_token(outcome.pair.access_digest)
            assert found is not None
            assert (found.client_id, found.grant_id) == (grant.client_id, grant.id)

    async def test_thieves_among_redemptions(self, token_store: ITokenStore) -> None:
        """CG-03: however many others present a code, its client gets what it is for."""
        for crowd in CROWDS:
            grant = await _add(token_store)
            proofs = [proof_of(grant, client_id=f"thief {number}") for number in range(crowd)]
            proofs.insert(crowd // 2, proof_of(grant))
            outcomes = await _all(
                token_store.redeem_code(grant.code_digest, proof, new_issuance()) for proof in proofs
            )
            assert len(_of_type(outcomes, Refused)) == crowd
            [issued] = _of_type(outcomes, Issued)
            assert await _is_good(token_store, issued.pair)

    async def test_many_rotations_of_one_token(self, token_store: ITokenStore) -> None:
        """CC-02: one wins; the others are seen as replays, and so nothing stays good."""
        for crowd in CROWDS:
            grant, old = await _begin(token_store)
            outcomes = await _all(_rotation(token_store, grant, old) for _ in range(crowd))
            [issued] = _of_type(outcomes, Issued)
            assert len(_of_type(outcomes, Replayed)) == 1
            assert outcomes.count(Unknown()) == crowd - 2
            assert await _is_over(token_store, grant, old, issued.pair)

    async def test_many_retries_at_once(self, token_store: ITokenStore) -> None:
        """CC-02: where retries are allowed, all get the one answer that was made first."""
        for crowd in CROWDS:
            grant, old = await _begin(token_store)
            issuances = [retriable_issuance() for _ in range(crowd)]
            outcomes = await _all(_rotation(token_store, grant, old, issuance) for issuance in issuances)
            [issued] = _of_type(outcomes, Issued)
            repeated = [outcome.pair for outcome in _of_type(outcomes, RefreshRetried)]
            assert repeated == [issued.pair] * (crowd - 1)
            found = [
                await token_store.find_access_token(issuance.access_digest) for issuance in issuances
            ]
            assert found.count(None) == crowd - 1
            assert await _is_good(token_store, issued.pair)

    async def test_rotation_against_revocation(self, token_store: ITokenStore) -> None:
        """CC-03: once both are answered, nothing of the grant is good, whichever was first."""
        for crowd in CROWDS:
            grant, old = await _begin(token_store)
            digest = old.refresh_digest
            assert digest is not None
            steps: list[Deferred[Any]] = []
            for number in range(crowd):
                if number == crowd // 2:
                    steps.append(token_store.revoke(digest, grant.client_id))
                steps.append(_rotation(token_store, grant, old))
            pairs = [issued.pair for issued in _of_type(await _all(steps), Issued)]
            assert len(pairs) <= 1
            assert await _is_over(token_store, grant, old, *pairs)

    async def test_redemption_against_the_end_of_grants(self, token_store: ITokenStore) -> None:
        """CC-06: once a user is gone and both are answered, nothing of the grant is good."""
        for crowd, turn in itertools.product(CROWDS, (0, 1)):
            grant = await _add(token_store)
            steps: list[Deferred[Any]] = []
            for number in range(crowd):
                if number == turn:
                    steps.append(token_store.revoke_grants(username=grant.owner.username))
                steps.append(token_store.redeem_code(grant.code_digest, proof_of(grant), new_issuance()))
            pairs = [issued.pair for issued in _of_type(await _all(steps), Issued)]
            assert len(pairs) <= 1
            assert await _is_over(token_store, grant, *pairs)

    async def test_code_added_twice_at_once(self, token_store: ITokenStore) -> None:
        """One of many grants of one id is kept, and whoever was told so has it."""
        for crowd in CROWDS:
            first = new_grant()
            grants = [attrs.evolve(first, code_digest=random_digest()) for _ in range(crowd)]
            kept = await _all(token_store.add_code(grant) for grant in grants)
            assert kept.count(True) == 1
            await _redeem(token_store, grants[kept.index(True)])

    # Cancellation: CC-08.

    async def test_cancelled_redemption(self, token_store: ITokenStore) -> None:
        """A cancelled exchange was made wholly or not at all: the next one shows which."""
        for number in range(20):
            grant, issuance = await _add(token_store), new_issuance()
            await _cancelled(
                token_store.redeem_code(grant.code_digest, proof_of(grant), issuance), number
            )
            again = new_issuance()
            outcome = await token_store.redeem_code(grant.code_digest, proof_of(grant), again)
            assert isinstance(outcome, Issued | Replayed)
            assert await token_store.find_access_token(issuance.access_digest) is None
            found = await token_store.find_access_token(again.access_digest)
            assert (found is not None) == isinstance(outcome, Issued)

    async def test_cancelled_rotation(self, token_store: ITokenStore) -> None:
        """A cancelled refresh was made wholly or not at all: the next one shows which."""
        for number in range(20):
            grant, old = await _begin(token_store)
            issuance, again = new_issuance(), new_issuance()
            await _cancelled(_rotation(token_store, grant, old, issuance), number)
            outcome = await _rotation(token_store, grant, old, again)
            assert isinstance(outcome, Issued | Replayed)
            assert not await _is_good(token_store, old)
            assert await token_store.find_access_token(issuance.access_digest) is None
            found = await token_store.find_access_token(again.access_digest)
            assert (found is not None) == isinstance(outcome, Issued)

    async def test_cancelled_revocation(self, token_store: ITokenStore) -> None:
        """After a cancelled revocation, a second one ends what is left, if anything is."""
        for number in range(20):
            grant, pair = await _begin(token_store)
            await _cancelled(token_store.revoke_grant(grant.id), number)
            await token_store.revoke_grant(grant.id)
            assert await _is_over(token_store, grant, pair)

    async def test_cancelled_look_up(self, token_store: ITokenStore) -> None:
        """A cancelled look-up does no harm to the next one."""
        _, pair = await _begin(token_store)
        for number in range(20):
            await _cancelled(token_store.find_access_token(pair.access_digest), number)
            assert await _is_good(token_store, pair)

    async def test_cancelled_among_others(self, token_store: ITokenStore) -> None:
        """Who gives up takes nothing from those who came at the same time."""
        made = [await _add(token_store) for _ in range(50)]
        redemptions = [
            token_store.redeem_code(grant.code_digest, proof_of(grant), new_issuance()) for grant in made
        ]
        impatient = [_cancelled(redemption, 0) for redemption in redemptions[::2]]
        for outcome in await gatherResults(redemptions[1::2], consumeErrors=True):
            assert isinstance(outcome, Issued)
            assert await _is_good(token_store, outcome.pair)
        await gatherResults(impatient, consumeErrors=True)
        for grant in made[::2]:
            outcome = await token_store.redeem_code(grant.code_digest, proof_of(grant), new_issuance())
            assert isinstance(outcome, Issued | Replayed)


def _cancelled(step: Deferred[Any], number: int) -> Deferred[Any]:
    """Cancel a step, now and then only once its result is being waited for."""
    waiting = Deferred.fromCoroutine(_await(step)) if number % 2 else step
    waiting.cancel()
    return waiting.addErrback(lambda failure: failure.trap(CancelledError))


async def _await(step: Deferred[_T]) -> _T:
    return await step


def new_client(**changes: Any) -> Client:
    """A registered client."""
    client = Client(
        client_id=random_string(30),
        name="An application",
        secret_digest=random_digest(),
        description="What it does",
        image_url="https://app.example/logo.png",
        redirect_uris=(REDIRECT_URI, "https://app.example/other"),
        scopes=("write", "read"),
    )
    return attrs.evolve(client, **changes)


def new_user(username: str, **changes: Any) -> User:
    """A registered user."""
    user = User(username, "$argon2id$...", "user@example.com", "First", "Last")
    return attrs.evolve(user, **changes)


def new_session(username: str = "user", expires: int = NOW + 100) -> Session:
    """A login."""
    return Session(random_digest(), ResourceOwner(username, "First", "Last", "user@e.com"), expires)


def new_event(**changes: Any) -> Event:
    """A row of the audit trail."""
    event = Event(
        id=random_string(30),
        time=1000 * NOW,
        actor="somebody",
        action="client add",
        subject="client",
        address="2001:db8::1",
        details={"name": "An application"},
    )
    return attrs.evolve(event, **changes)


async def _fails(error: type[Exception], step: Deferred[Any]) -> None:
    """Assert that a step fails with an error of one line."""
    failure: list[Failure] = []
    await step.addErrback(failure.append)
    assert failure, f"{error.__name__} was not raised"
    assert failure[0].check(error), failure[0]
    assert len(str(failure[0].value).splitlines()) == 1


class InvalidationFeedContract:
    """What a token store promises that provides `IInvalidationFeed`, too."""

    def test_provides_the_interface_of_the_invalidation_feed(self, token_store: ITokenStore) -> None:
        """It has each method, with the right arguments."""
        verifyObject(IInvalidationFeed, token_store)

    async def test_issues_end_nothing(self, token_store: ITokenStore) -> None:
        """Nor do look-ups, or what is refused."""
        told = _Told(token_store)
        grant, pair = await _begin(token_store)
        assert await _is_good(token_store, pair)
        assert await token_store.revoke(pair.access_digest, "another") is None
        assert not await token_store.revoke_grant("unknown")
        thief = RefreshProof("another", None)
        assert pair.refresh_digest is not None
        await token_store.rotate_refresh_token(pair.refresh_digest, thief, new_issuance())
        await token_store.end_refresh_tokens("nobody")
        assert not told.of_others(grant)

    async def test_revocations_are_told(self, token_store: ITokenStore) -> None:
        """RV-01: before whoever revokes an access token, a refresh token or a grant is answered."""
        told = _Told(token_store)
        ways: tuple[Callable[[Grant, TokenPair], Deferred[Any]], ...] = (
            lambda grant, pair: token_store.revoke(pair.access_digest, grant.client_id),
            lambda grant, pair: token_store.revoke(pair.refresh_digest or b"", grant.client_id),
            lambda grant, pair: token_store.revoke_grant(grant.id),
            lambda grant, pair: token_store.revoke_grants(username=grant.owner.username),
            lambda grant, pair: token_store.revoke_grants(scope="read"),
        )
        for end in ways:
            grant, pair = await _begin(token_store)
            told.forget()
            assert await end(grant, pair).addCallback(told.at_answer, grant)
            assert not await _is_good(token_store, pair)

    async def test_the_grants_of_others_are_not_told(self, token_store: ITokenStore) -> None:
        """Where all of a user's or a client's are ended."""
        told = _Told(token_store)
        await _sure(token_store)
        ways: tuple[tuple[dict[str, Any], dict[str, str]], ...] = (
            ({"owner": ResourceOwner("one")}, {"username": "one"}),
            ({"client_id": "one"}, {"client_id": "one"}),
        )
        for changes, which in ways:
            # Where the store was out of touch for a moment, it may tell of any; so not each time.
            for _ in range(5):
                grants = [(await _begin(token_store, **changes))[0] for _ in range(3)]
                _, pair = await _begin(token_store)
                told.forget()
                assert await token_store.revoke_grants(**which) == 3
                await _sure(token_store)
                assert all(map(told.of, grants))
                assert await _is_good(token_store, pair)
                if not told.of_others(*grants):
                    break
            else:
                raise AssertionError("the ends of others' grants are told each time")

    async def test_rotations_are_told(self, token_store: ITokenStore) -> None:
        """The access token ends that was issued with the refresh token; with a replay, the grant."""
        told = _Told(token_store)
        grant, pair = await _begin(token_store)
        told.forget()
        assert await _rotation(token_store, grant, pair).addCallback(told.at_answer, grant)
        told.forget()
        assert isinstance(await _rotation(token_store, grant, pair), Replayed)
        assert told.of(grant)

    async def test_replayed_codes_are_told(self, token_store: ITokenStore) -> None:
        """The grant ends that the code was exchanged for."""
        told = _Told(token_store)
        grant, pair = await _begin(token_store)
        told.forget()
        again = token_store.redeem_code(grant.code_digest, proof_of(grant), new_issuance())
        assert isinstance(await again, Replayed)
        assert told.of(grant)
        assert not await _is_good(token_store, pair)

    async def test_cancelled_revocations_are_told(self, token_store: ITokenStore) -> None:
        """Who is gone is not waited for, and what was ended all the same is told all the same."""
        told = _Told(token_store)
        await _sure(token_store)
        grants = [await _begin(token_store) for _ in range(10)]
        await _sure(token_store)
        told.forget()
        for grant, _ in grants:
            step = token_store.revoke_grant(grant.id)
            step.addErrback(lambda failure: failure.trap(CancelledError))
            step.cancel()
        # Whatever was under way has been done when these are.
        await _all(token_store.add_code(new_grant()) for _ in range(10))
        await _sure(token_store)
        await _until(told.quiet)
        for grant, pair in grants:
            if not await _is_good(token_store, pair):
                assert told.of(grant)

    async def test_becomes_sure(self, token_store: ITokenStore) -> None:
        """Soon after it is first asked whether it is, and it stays so for as long as it is asked."""
        await _sure(token_store)
        grant, _ = await _begin(token_store)
        told = _Told(token_store)
        assert await token_store.revoke_grant(grant.id)
        await _sure(token_store)
        assert told.of(grant)


class _Told:
    """What a store has told of endings."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self._parts: set[Any] = set()
        self._any = False
        self._count = 0
        store.subscribe(self._invalidate)

    def _invalidate(self, parts: Any) -> None:
        self._any = self._any or parts is None
        self._parts.update(parts or ())
        self._count += 1

    def forget(self) -> None:
        """Begin anew."""
        self._parts, self._any = set(), False

    def of(self, grant: Grant) -> bool:
        """Whether it was told of a grant."""
        return self._any or self._store.partition(grant.id) in self._parts

    def at_answer(self, _: object, grant: Grant) -> bool:
        """The same, as a callback of a step."""
        return self.of(grant)

    def of_others(self, *grants: Grant) -> bool:
        """Whether it was told of all, or of any but these."""
        return self._any or bool(self._parts - {self._store.partition(grant.id) for grant in grants})

    def quiet(self) -> bool:
        """Whether nothing was told since this was last asked."""
        before, self._count = self._count, 0
        return before == 0


async def _sure(store: Any) -> None:
    await _until(store.is_current)


async def _until(condition: Callable[[], bool]) -> None:
    """Wait for what needs other processes, and some turns of the reactor."""
    from twisted.internet import reactor

    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        await deferLater(reactor, 0.01)


class RegistryContract:
    """The promises of `IRegistry`."""

    def test_provides_the_interface(self, registry: IRegistry) -> None:
        """It says that it is a registry, and has all of its verbs."""
        assert verifyObject(IRegistry, registry)

    # Clients.

    async def test_clients_come_back_equal(self, registry: IRegistry) -> None:
        """A client is found as it was given, whichever of its fields are empty."""
        for client in (
            new_client(),
            new_client(scopes=None),
            new_client(scopes=()),
            new_client(resource_server=True, redirect_uris=(), description="", image_url=""),
            new_client(disabled=True),
            new_client(secret_digest=bytes(range(32))),
            new_client(secret_digest=bytes(32)),
            new_client(description="x" * 10_000, image_url="https://app.example/" + "y" * 3000),
            new_client(redirect_uris=("https://app.example/" + "z" * 3000,)),
        ):
            await registry.add_client(client)
            assert await registry.find_client(client.client_id) == client

    async def test_client_that_is_taken(self, registry: IRegistry) -> None:
        """The first keeps the id."""
        client = new_client()
        await registry.add_client(client)
        await _fails(AlreadyExists, registry.add_client(attrs.evolve(client, name="other")))
        assert await registry.find_client(client.client_id) == client

    async def test_client_that_is_unknown(self, registry: IRegistry) -> None:
        """It is not found, and neither updated nor deleted."""
        known = new_client(client_id="client")
        await registry.add_client(known)
        for client_id in ("", "Client", "client ", "clien", "%", "_" * 6, NOT_UTF_8):
            assert await registry.find_client(client_id) is None
            await _fails(NotFound, registry.update_client(new_client(client_id=client_id)))
            await _fails(NotFound, registry.delete_client(client_id))
        assert await registry.clients(Page()) == [known]

    async def test_update_client(self, registry: IRegistry) -> None:
        """Every field but the id can be changed, and no other client is."""
        client, other = new_client(), new_client()
        await registry.add_client(client)
        await registry.add_client(other)
        for changes in (
            {"name": "new", "description": "new", "image_url": ""},
            {"secret_digest": random_digest()},
            {"redirect_uris": ("https://other.example/",)},
            {"scopes": None},
            {"scopes": ()},
            {"scopes": ("read",)},
            {"resource_server": True, "disabled": True},
            {"previous_secret_digest": random_digest(), "previous_secret_expires": NOW},
            {"previous_secret_digest": None, "previous_secret_expires": None},
            {},
        ):
            client = attrs.evolve(client, **changes)
            await registry.update_client(client)
            assert await registry.find_client(client.client_id) == client
            assert await registry.find_client(other.client_id) == other

    async def test_update_client_instead_of_a_secret(self, registry: IRegistry) -> None:
        """Of two who give it a new one at once, the second is told, and the first one's stays."""
        client = new_client()
        await registry.add_client(client)
        old = client.secret_digest
        first = attrs.evolve(client, secret_digest=random_digest())
        second = attrs.evolve(client, secret_digest=random_digest(), name="new")
        await registry.update_client(first, {"secret_digest"}, instead_of=old)
        await _fails(ChangedMeanwhile, registry.update_client(second, instead_of=old))
        assert await registry.find_client(client.client_id) == first
        await registry.update_client(second, instead_of=first.secret_digest)
        assert await registry.find_client(client.client_id) == second
        await _fails(NotFound, registry.update_client(new_client(), instead_of=old))

    async def test_update_some_of_a_client(self, registry: IRegistry) -> None:
        """What is not named stays as somebody else has left it."""
        read = new_client()
        await registry.add_client(read)
        rotated = attrs.evolve(read, secret_digest=random_digest(), scopes=("read",))
        await registry.update_client(rotated, {"secret_digest", "scopes"})
        await registry.update_client(attrs.evolve(read, name="new"), ["name"])
        assert await registry.find_client(read.client_id) == attrs.evolve(rotated, name="new")
        await _fails(NotFound, registry.update_client(new_client(), {"name"}))

    async def test_delete_client(self, registry: IRegistry) -> None:
        """It is gone, once, and its id is free."""
        client, other = new_client(), new_client()
        await registry.add_client(client)
        await registry.add_client(other)
        await registry.delete_client(client.client_id)
        assert await registry.find_client(client.client_id) is None
        await _fails(NotFound, registry.delete_client(client.client_id))
        assert await registry.clients(Page()) == [other]
        await registry.add_client(client)

    async def test_image(self, registry: IRegistry) -> None:
        """A client's picture comes, changes and goes with its digest, and with the client."""
        client, other = new_client(), new_client()
        await registry.add_client(client)
        await registry.add_client(other)
        assert await registry.find_image(client.client_id) is None
        for image in (
            Image("image/png", bytes(range(256)) * 64),
            Image("image/gif", b"\0"),
            None,
            Image("image/webp", b"'; --"),
        ):
            await registry.set_image(client.client_id, image)
            kept = await registry.find_client(client.client_id)
            assert await registry.find_image(client.client_id) == image
            assert kept == attrs.evolve(client, image_digest=None if image is None else image.digest)
        # Who changes the client with what was known of it before does not change the picture.
        await registry.update_client(attrs.evolve(client, name="new"))
        changed = await registry.find_client(client.client_id)
        assert kept is not None
        assert changed == attrs.evolve(kept, name="new")
        assert await registry.find_client(other.client_id) == other
        assert await registry.find_image(other.client_id) is None
        await registry.delete_client(client.client_id)
        assert await registry.find_image(client.client_id) is None
        await registry.add_client(client)
        assert await registry.find_image(client.client_id) is None

    async def test_a_client_with_an_image(self, registry: IRegistry) -> None:
        """Both are kept, or none of them."""
        client, image = new_client(), Image("image/png", b"x")
        await registry.add_client(client, image)
        kept = await registry.find_client(client.client_id)
        assert kept == attrs.evolve(client, image_digest=image.digest)
        await _fails(AlreadyExists, registry.add_client(client, Image("image/gif", b"y")))
        assert await registry.find_image(client.client_id) == image

    async def test_image_of_a_client_that_is_unknown(self, registry: IRegistry) -> None:
        """Nothing is kept for nobody."""
        for client_id in ("", "client", "%", NOT_UTF_8):
            assert await registry.find_image(client_id) is None
            await _fails(NotFound, registry.set_image(client_id, Image("image/png", b"x")))
            await _fails(NotFound, registry.set_image(client_id, None))
            assert await registry.find_image(client_id) is None

    async def test_pages_of_clients(self, registry: IRegistry) -> None:
        """They are in the order of their names; equal names are of one order, too."""
        for name in ("d", "a", "c", "b", "same", "same", "same"):
            await registry.add_client(new_client(name=name))
        whole = await registry.clients(Page())
        assert [client.name for client in whole] == ["a", "b", "c", "d", "same", "same", "same"]
        for size in (1, 2, 3, 7):
            pages = [await registry.clients(Page(offset, size)) for offset in range(0, 7, size)]
            assert list(itertools.chain(*pages)) == whole
        assert await registry.clients(Page(7, 10)) == []

    async def test_searching_clients(self, registry: IRegistry) -> None:
        """By a part of the name or id, in small letters or capitals, and by nothing else."""
        for client_id, name in (("one", "The App"), ("two", "Other"), ("app-3", "Ünder_100%")):
            await registry.add_client(new_client(client_id=client_id, name=name))

        async def found(search: str, offset: int = 0, size: int = 100) -> list[str]:
            clients = await registry.clients(Page(offset, size), search)
            return [client.client_id for client in clients]

        assert await found("") == ["two", "one", "app-3"]
        assert await found("app") == await found("APP") == ["one", "app-3"]
        assert await found("app", 1, 1) == ["app-3"]
        assert await found("Ünder_100%") == await found("r_100%") == await found("%") == ["app-3"]
        assert await found("_") == ["app-3"]
        for nobody in ("appp", "r__", "%%", "/", "\\", "What it does", "a\0", NOT_UTF_8, "x" * 5000):
            assert await found(nobody) == []

    # Scopes.

    async def test_scopes(self, registry: IRegistry) -> None:
        """They are listed in the order of their names, and found by their names."""
        made = {name: Scope(name, f"to {name}") for name in ("write", "admin", "read")}
        assert await registry.scopes() == []
        for scope in made.values():
            await registry.add_scope(scope)
        assert await registry.scopes() == [made["admin"], made["read"], made["write"]]
        assert await registry.find_scopes(("write", "read")) == {
            "write": made["write"],
            "read": made["read"],
        }
        unknown = ("READ", "rea", "read ", "%", "r_ad", "", NOT_UTF_8)
        assert await registry.find_scopes(("read", *unknown)) == {"read": made["read"]}
        assert await registry.find_scopes(unknown) == await registry.find_scopes(()) == {}
        many = tuple(f"scope {number}" for number in range(2000))
        assert await registry.find_scopes((*many, "read")) == {"read": made["read"]}

    async def test_scope_that_is_taken(self, registry: IRegistry) -> None:
        """The first keeps the name."""
        await registry.add_scope(Scope("read", "first"))
        await _fails(AlreadyExists, registry.add_scope(Scope("read", "second")))
        assert await registry.scopes() == [Scope("read", "first")]

    async def test_update_scope(self, registry: IRegistry) -> None:
        """Its words change, and no other's do."""
        await registry.add_scope(Scope("read", "first"))
        await registry.add_scope(Scope("Read", "other"))
        await registry.update_scope(Scope("read", "second"))
        assert await registry.find_scopes(("read", "Read")) == {
            "read": Scope("read", "second"),
            "Read": Scope("Read", "other"),
        }
        await _fails(NotFound, registry.update_scope(Scope("READ", "third")))
        assert len(await registry.scopes()) == 2

    async def test_delete_scope(self, registry: IRegistry) -> None:
        """It leaves the clients' allow-lists; one that is emptied still allows nothing."""
        for name in ("read", "Read", "reader"):
            await registry.add_scope(Scope(name, ""))
        lists = (None, (), ("read",), ("reader", "read", "Read"), ("reader",))
        clients = [new_client(name=str(number), scopes=scopes) for number, scopes in enumerate(lists)]
        for client in clients:
            await registry.add_client(client)
        await registry.delete_scope("read")
        assert [scope.name for scope in await registry.scopes()] == ["Read", "reader"]
        left = [client.scopes for client in await registry.clients(Page())]
        assert left == [None, (), (), ("reader", "Read"), ("reader",)]
        await _fails(NotFound, registry.delete_scope("read"))

    async def test_delete_scope_that_is_unknown(self, registry: IRegistry) -> None:
        """Nothing is half-done: allow-lists stay as they were."""
        client = new_client(scopes=("read",))
        await registry.add_client(client)
        for name in ("read", "%", "", NOT_UTF_8):
            await _fails(NotFound, registry.delete_scope(name))
        assert await registry.find_client(client.client_id) == client

    # Users.

    async def test_users_come_back_equal(self, registry: IRegistry) -> None:
        """A user is found as given, whichever fields are empty."""
        for user in (
            new_user("full", admin=True),
            new_user("off", disabled=True),
            User("bare", "hash"),
            new_user("long", email="e" * 255, first_name="\U0001f511" * 63, last_name="\u00e9" * 127),
        ):
            await registry.add_user(user)
            assert await registry.find_user(user.username) == user

    async def test_user_that_is_taken(self, registry: IRegistry) -> None:
        """The first keeps the name."""
        user = new_user("user")
        await registry.add_user(user)
        await _fails(AlreadyExists, registry.add_user(new_user("user", email="other")))
        assert await registry.find_user("user") == user

    async def test_user_that_is_unknown(self, registry: IRegistry) -> None:
        """Nobody is found, updated or deleted by a name that is not theirs."""
        known = new_user("user")
        await registry.add_user(known)
        for username in ("", "User", "user ", "use", "%", "_ser", NOT_UTF_8):
            assert await registry.find_user(username) is None
            await _fails(NotFound, registry.update_user(new_user(username)))
            await _fails(NotFound, registry.delete_user(username))
        assert await registry.users(Page()) == [known]

    async def test_update_user(self, registry: IRegistry) -> None:
        """Every field but the name can be changed, and nobody else is."""
        user, other = new_user("user"), new_user("other")
        await registry.add_user(user)
        await registry.add_user(other)
        for changes in (
            {"password_hash": "new"},
            {"email": "", "first_name": "", "last_name": ""},
            {"admin": True},
            {"disabled": True},
            {"admin": False, "disabled": False},
        ):
            user = attrs.evolve(user, **changes)
            await registry.update_user(user)
            assert await registry.find_user("user") == user
            assert await registry.find_user("other") == other

    async def test_update_user_instead_of_a_password_hash(self, registry: IRegistry) -> None:
        """Where the password was changed meanwhile, the change stays."""
        user = new_user("user")
        await registry.add_user(user)
        changed = attrs.evolve(user, password_hash="changed")
        await registry.update_user(changed, only={"password_hash"}, instead_of=user.password_hash)
        assert await registry.find_user(user.username) == changed
        late = attrs.evolve(user, password_hash="late", email="late@example.com")
        await _fails(ChangedMeanwhile, registry.update_user(late, instead_of=user.password_hash))
        assert await registry.find_user(user.username) == changed
        await _fails(NotFound, registry.update_user(new_user("other"), instead_of="changed"))

    async def test_update_some_of_a_user(self, registry: IRegistry) -> None:
        """What is not named stays as somebody else has left it."""
        read = new_user("user")
        await registry.add_user(read)
        changed = attrs.evolve(read, password_hash="new", disabled=True)
        await registry.update_user(changed, only={"password_hash", "disabled"})
        await registry.update_user(attrs.evolve(read, email="new"), True, {"email"})
        assert await registry.find_user("user") == attrs.evolve(changed, email="new")
        await _fails(NotFound, registry.update_user(new_user("nobody"), only={"email"}))

    async def test_delete_user(self, registry: IRegistry) -> None:
        """A user is gone with all logins, and nobody else is."""
        for name in ("user", "User"):
            await registry.add_user(new_user(name))
        mine, theirs = [new_session() for _ in range(3)], new_session("User")
        for session in (*mine, theirs):
            await registry.add_session(session)
        await registry.delete_user("user")
        assert await registry.find_user("user") is None
        for session in mine:
            assert await registry.find_session(session.digest, NOW) is None
        assert await registry.find_session(theirs.digest, NOW) == theirs
        assert await registry.users(Page()) == [new_user("User")]
        await _fails(NotFound, registry.delete_user("user"))
        await registry.add_user(new_user("user"))

    async def test_subjects(self, registry: IRegistry) -> None:
        """A user keeps the one that was kept first; one that was given none goes by the name."""
        await registry.add_user(new_user("user", subject="s-1"))
        await registry.add_user(new_user("bare"))
        await registry.update_user(new_user("user", subject="s-2", email="new@e.com"))
        await registry.update_user(new_user("user", subject="s-3"), only={"first_name"})
        kept = new_user("user", subject="s-1", email="new@e.com")
        assert await registry.find_user("user") == kept
        assert await registry.users(Page()) == [new_user("bare"), kept]
        bare = await registry.find_user("bare")
        assert bare is not None
        assert bare.subject == "bare"

    async def test_the_next_user_of_a_name(self, registry: IRegistry) -> None:
        """Does not come into the logins of the one before, even one that was not ended."""
        left = Session(random_digest(), ResourceOwner("user", subject="s-1"), NOW + 100)
        unnamed = Session(random_digest(), ResourceOwner("user"), NOW + 100)
        for session in (left, unnamed):
            await registry.add_session(session)
            assert await registry.find_session(session.digest, NOW) == session
        await registry.add_user(new_user("user", subject="s-2"))
        for session in (left, unnamed):
            assert await registry.find_session(session.digest, NOW) is None
        mine = Session(random_digest(), ResourceOwner("user", subject="s-2"), NOW + 100)
        await registry.add_session(mine)
        assert await registry.find_session(mine.digest, NOW) == mine

    async def test_delete_user_that_is_unknown(self, registry: IRegistry) -> None:
        """Nothing is half-done: a login from elsewhere under that name goes on."""
        session = new_session("elsewhere")
        await registry.add_session(session)
        await _fails(NotFound, registry.delete_user("elsewhere"))
        assert await registry.find_session(session.digest, NOW) == session

    async def test_last_admin(self, registry: IRegistry) -> None:
        """AD-08: where it is asked for, somebody is left who may administer."""
        last, off = new_user("last", admin=True), new_user("off", admin=True, disabled=True)
        for user in (last, off, new_user("user")):
            await registry.add_user(user)
        for admin, disabled in ((False, False), (True, True), (False, True)):
            less = attrs.evolve(last, admin=admin, disabled=disabled)
            await _fails(LastAdmin, registry.update_user(less, True))
        await _fails(LastAdmin, registry.delete_user("last", True))
        assert await registry.find_user("last") == last
        # Whatever else of the last one changes, and whoever else goes, is allowed.
        await registry.update_user(attrs.evolve(last, email=""), True)
        await registry.update_user(attrs.evolve(off, admin=False), True)
        await registry.delete_user("user", True)
        await _fails(NotFound, registry.delete_user("user", True))
        await _fails(NotFound, registry.update_user(new_user("user"), True))
        # With another there, the last one is not the last; and where nobody asks, all may go.
        await registry.add_user(new_user("next", admin=True))
        await registry.delete_user("last", True)
        await registry.update_user(new_user("next"))
        assert (await registry.totals(NOW)).admins == 0

    async def test_last_admins_at_once(self, registry: IRegistry) -> None:
        """Of many administrators who take one another's place away at once, one is left."""
        for crowd in CROWDS[:2]:
            names = [f"admin {crowd} {number}" for number in range(crowd)]
            for name in names:
                await registry.add_user(new_user(name, admin=True))
            steps = [
                registry.delete_user(name, True)
                if number % 2
                else registry.update_user(new_user(name, disabled=number % 4 == 0), True)
                for number, name in enumerate(names)
            ]
            refused = [step.addErrback(lambda failure: failure.trap(LastAdmin)) for step in steps]
            assert (await _all(refused)).count(LastAdmin) == 1
            (left,) = [user for user in await registry.users(Page()) if user.admin]
            await registry.delete_user(left.username)

    async def test_totals(self, registry: IRegistry) -> None:
        """How many there are; logins that are over are none."""
        assert await registry.totals(NOW) == Totals(0, 0, 0, 0, 0)
        for number in range(3):
            await registry.add_client(new_client(disabled=number == 1))
        for name in ("read", "write"):
            await registry.add_scope(Scope(name, ""))
        for name, fields in (
            ("a", {"admin": True}),
            ("b", {}),
            ("c", {"admin": True, "disabled": True}),
        ):
            await registry.add_user(new_user(name, **fields))
        for expires in (NOW, NOW + 1, NOW + 2):
            await registry.add_session(new_session(expires=expires))
        assert await registry.totals(NOW) == Totals(clients=3, scopes=2, users=3, admins=1, sessions=2)

    async def test_pages_of_users(self, registry: IRegistry) -> None:
        """They are in the order of their names."""
        for name in ("d", "a", "c", "b", "e"):
            await registry.add_user(new_user(name))
        whole = await registry.users(Page())
        assert [user.username for user in whole] == ["a", "b", "c", "d", "e"]
        pages = [await registry.users(Page(offset, 2)) for offset in range(0, 5, 2)]
        assert list(itertools.chain(*pages)) == whole
        assert await registry.users(Page(5, 10)) == []
        for after in ("a", "bb", "e", "", NOT_UTF_8):
            rest = [user.username for user in whole if user.username > after]
            assert [u.username for u in await registry.users(Page(after=(after,)))] == rest
            assert [u.username for u in await registry.users(Page(1, 2, (after,)))] == rest[1:3]

    async def test_searching_users(self, registry: IRegistry) -> None:
        """By a part of a name or the email, in small letters or capitals, and by nothing else."""
        await registry.add_user(new_user("alice", email="wonder@land.example"))
        await registry.add_user(new_user("Bob", email="", first_name="Robert", last_name="Jürgens"))
        await registry.add_user(new_user("carol_1%", email="", first_name="", last_name=""))

        async def found(search: str, limit: int = 100, after: str = "") -> list[str]:
            step = await registry.search_users(search, after, limit)
            assert step.reached == (step.users[-1].username if len(step.users) == limit else "")
            return [user.username for user in step.users]

        assert await found("") == ["Bob", "alice", "carol_1%"]
        assert await found("o") == ["Bob", "alice", "carol_1%"]
        assert await found("o", 1, "Bob") == ["alice"]
        assert await found("ALICE") == await found("Land.E") == await found("first last") == ["alice"]
        assert await found("bob") == await found("robert jürg") == ["Bob"]
        assert await found("_1%") == await found("%") == ["carol_1%"]
        for nobody in ("alicee", "_2", "%%", "argon", "\\", "b\0", NOT_UTF_8, "x" * 5000):
            assert await found(nobody) == []

    async def test_a_search_in_steps(self, registry: IRegistry) -> None:
        """Each looks through no more than was asked for, and the next goes on after it."""
        names = [f"u{number}" for number in range(7)]
        for name in names:
            await registry.add_user(new_user(name, email="x@even.example" if name[1] in "0246" else ""))
        for most, steps in ((1, 8), (3, 3), (7, 2), (8, 1), (100, 1)):
            step = await registry.search_users("EVEN", "", 100, most)
            found, taken = [user.username for user in step.users], 1
            while step.reached:
                step = await registry.search_users("EVEN", step.reached, 100, most)
                assert len(step.users) <= most
                found, taken = found + [user.username for user in step.users], taken + 1
            assert (found, taken) == (names[::2], steps), most
        step = await registry.search_users("even", "", 2, 4)
        assert ([user.username for user in step.users], step.reached) == (["u0", "u2"], "u2")
        assert (await registry.search_users("even", "u6", 2, 4)).reached == ""

    # Logins.

    async def test_session(self, registry: IRegistry) -> None:
        """A login is good before its time is over, and over at that very second."""
        session = new_session(expires=NOW + 100)
        await registry.add_session(session)
        assert await registry.find_session(session.digest, NOW) == session
        assert await registry.find_session(session.digest, NOW + 99) == session
        assert await registry.find_session(session.digest, NOW + 100) is None
        assert await registry.find_session(random_digest(), NOW) is None
        bare = Session(random_digest(), ResourceOwner("bare"), NOW + 1)
        await registry.add_session(bare)
        assert await registry.find_session(bare.digest, NOW) == bare

    async def test_session_that_is_taken(self, registry: IRegistry) -> None:
        """Nobody comes into another's login."""
        session = new_session("user")
        await registry.add_session(session)
        other = attrs.evolve(session, owner=ResourceOwner("other"))
        await _fails(AlreadyExists, registry.add_session(other))
        assert await registry.find_session(session.digest, NOW) == session

    async def test_session_of_a_disabled_user(self, registry: IRegistry) -> None:
        """It is none, whoever let the user in and whenever; a user who is not registered has one."""
        session, other = new_session("user"), new_session("other")
        for each in (session, other):
            await registry.add_session(each)
        await registry.add_user(new_user("user"))
        assert await registry.find_session(session.digest, NOW) == session
        await registry.update_user(attrs.evolve(new_user("user"), disabled=True))
        assert await registry.find_session(session.digest, NOW) is None
        late = new_session("user")
        await registry.add_session(late)
        assert await registry.find_session(late.digest, NOW) is None
        assert await registry.find_session(other.digest, NOW) == other

    async def test_only_so_many_sessions(self, registry: IRegistry) -> None:
        """The oldest of a user end where there would be more, and nobody else's."""
        theirs = [new_session(name, NOW + 1) for name in ("User", "use", "user ")]
        mine = [new_session("user", NOW + 100 + age) for age in (3, 1, 2, 0)]
        for session in theirs + mine:
            await registry.add_session(session, 3)
        found = [await registry.find_session(s.digest, NOW) for s in mine]
        # The newest is the one that was added last, whatever the clock said.
        assert found == [mine[0], None, mine[2], mine[3]]
        assert [await registry.find_session(s.digest, NOW) for s in theirs] == theirs
        await _fails(AlreadyExists, registry.add_session(mine[0], 3))
        assert await registry.find_session(mine[2].digest, NOW) == mine[2]

    async def test_only_so_many_sessions_where_there_were_many(self, registry: IRegistry) -> None:
        """What was let grow without bound is brought back within it, in steps that are bounded."""
        for _ in range(12):
            await _all(registry.add_session(new_session("user")) for _ in range(50))
        for _ in range(3):
            await registry.add_session(new_session("user", NOW + 200), 10)
        assert (await registry.totals(NOW)).sessions == 10

    async def test_only_so_many_sessions_at_once(self, registry: IRegistry) -> None:
        """Also where all begin in one moment."""
        for crowd in CROWDS:
            name = f"user {crowd}"
            sessions = [new_session(name) for _ in range(crowd)]
            await _all(registry.add_session(session, 3) for session in sessions)
            found = [await registry.find_session(session.digest, NOW) for session in sessions]
            assert sum(session is not None for session in found) == min(crowd, 3)

    async def test_end_session(self, registry: IRegistry) -> None:
        """One login ends, as often as one likes, and the user's others go on."""
        session, other = new_session(), new_session()
        await registry.add_session(session)
        await registry.add_session(other)
        for _ in range(2):
            await registry.end_session(session.digest)
            assert await registry.find_session(session.digest, NOW) is None
        assert await registry.find_session(other.digest, NOW) == other

    async def test_end_sessions(self, registry: IRegistry) -> None:
        """All logins of one user end, and nobody else's."""
        mine = [new_session() for _ in range(3)]
        theirs = [new_session(name) for name in ("User", "user ", "use", "%", "_ser")]
        for session in mine + theirs:
            await registry.add_session(session)
        await registry.end_sessions("user")
        await registry.end_sessions("nobody")
        await registry.end_sessions(NOT_UTF_8)
        assert [await registry.find_session(s.digest, NOW) for s in mine] == [None] * 3
        assert [await registry.find_session(s.digest, NOW) for s in theirs] == theirs

    async def test_prune_sessions(self, registry: IRegistry) -> None:
        """Those that are over go, no more at once than asked for, and no other does."""
        alive = new_session(expires=NOW + 1)
        await registry.add_session(alive)
        for _ in range(5):
            await registry.add_session(new_session(expires=NOW))
        assert await registry.prune_sessions(NOW - 1, 10) == 0
        assert [await registry.prune_sessions(NOW, 2) for _ in range(4)] == [2, 2, 1, 0]
        assert await registry.find_session(alive.digest, NOW) == alive

    # Failures.

    async def test_failures(self, registry: IRegistry) -> None:
        """They add up by place, and so many a minute are forgotten of those that there were."""
        place, other = random_digest(), random_digest()
        assert [await registry.count_failure(place, NOW, 30) for _ in range(3)] == [1, 2, 3]
        assert await registry.count_failure(other, NOW, 30) == 1
        assert await registry.count_failure(place, NOW + 2, 30) == 3
        assert await registry.count_failure(place, NOW + 3600, 30) == 1

    async def test_failures_where_the_clock_went_back(self, registry: IRegistry) -> None:
        """Nothing is forgotten then, and no more is counted than there was."""
        place = random_digest()
        counts = [await registry.count_failure(place, now, 30) for now in (NOW, NOW - 60, NOW - 60)]
        assert counts == [1, 2, 3]

    async def test_failures_at_once(self, registry: IRegistry) -> None:
        """Each of many is counted."""
        for crowd in CROWDS:
            place = random_digest()
            counts = await _all(registry.count_failure(place, NOW, 30) for _ in range(crowd))
            assert sorted(counts) == list(range(1, crowd + 1))

    # Attempts.

    async def test_attempts(self, registry: IRegistry) -> None:
        """They count from their beginning; one too many is not counted, and is told how long to wait."""
        place, other = random_digest(), random_digest()
        limits = {place: Limit(3)}
        assert [await registry.begin_attempt(limits, NOW) for _ in range(3)] == [{}] * 3
        for _ in range(5):
            assert await registry.begin_attempt(limits, NOW) == {place: 20.0}
        assert await registry.begin_attempt({other: Limit(3)}, NOW) == {}
        (left,) = (await registry.begin_attempt(limits, NOW + 19)).values()
        assert round(left, 3) == 1
        assert await registry.begin_attempt(limits, NOW + 20) == {}
        assert await registry.begin_attempt(limits, NOW + 20) != {}
        assert [await registry.begin_attempt(limits, NOW + 3600) for _ in range(3)] == [{}] * 3

    async def test_attempts_count_at_all_places_or_at_none(self, registry: IRegistry) -> None:
        """One place that is full does not fill the others."""
        narrow, wide = random_digest(), random_digest()
        limits = {narrow: Limit(1), wide: Limit(3, 3600)}
        assert await registry.begin_attempt(limits, NOW) == {}
        for _ in range(5):
            assert await registry.begin_attempt(limits, NOW) == {narrow: 60.0}
        for _ in range(2):
            assert await registry.begin_attempt({wide: Limit(3, 3600)}, NOW) == {}
        assert await registry.begin_attempt(limits, NOW) == {narrow: 60.0, wide: 1200.0}

    async def test_attempts_that_are_given_back(self, registry: IRegistry) -> None:
        """They are as if they had not been; of those that there were, no more are forgotten."""
        place, other = random_digest(), random_digest()
        limits = {place: Limit(2), other: Limit(2)}
        for _ in range(10):
            assert await registry.begin_attempt(limits, NOW) == {}
            await registry.give_back([place, other])
        assert await registry.begin_attempt(limits, NOW) == {}
        assert await registry.begin_attempt(limits, NOW) == {}
        assert set(await registry.begin_attempt(limits, NOW)) == {place, other}
        await registry.give_back([place])
        assert set(await registry.begin_attempt(limits, NOW)) == {other}
        assert await registry.begin_attempt({place: Limit(2)}, NOW) == {}
        # No matter how often, or what was never counted.
        for _ in range(5):
            await registry.give_back([place, random_digest()])
        await registry.give_back([])
        assert [await registry.begin_attempt({place: Limit(2)}, NOW) for _ in range(3)][:2] == [{}, {}]
        assert await registry.begin_attempt({place: Limit(2)}, NOW) == {place: 30.0}

    async def test_attempts_where_the_clock_went_back(self, registry: IRegistry) -> None:
        """Nothing is forgotten then."""
        limits = {random_digest(): Limit(2)}
        for now in (NOW, NOW - 60):
            assert await registry.begin_attempt(limits, now) == {}
        assert await registry.begin_attempt(limits, NOW - 60) != {}

    async def test_attempts_at_once(self, registry: IRegistry) -> None:
        """As many are counted as there may be, and at places that they share in whatever order."""
        for crowd in CROWDS:
            shared, limit = random_digest(), Limit(3, 10**6)
            places = [random_digest() for _ in range(crowd)]
            orders = [
                {shared: limit, each: limit} if number % 2 else {each: limit, shared: limit}
                for number, each in enumerate(places)
            ]
            said = await _all(registry.begin_attempt(each, NOW) for each in orders)
            assert said.count({}) == min(crowd, 3)
            await _all(registry.give_back([each, shared]) for each in places)
            said = await _all(registry.begin_attempt({shared: limit}, NOW) for _ in range(crowd))
            assert said.count({}) == min(crowd, 3)

    async def test_attempts_are_pruned(self, registry: IRegistry) -> None:
        """As failures are."""
        await registry.begin_attempt({random_digest(): Limit(3), random_digest(): Limit(3)}, NOW)
        assert await registry.prune_failures(NOW, 10) == 0
        assert await registry.prune_failures(NOW + 1, 10) == 2

    async def test_prune_failures(self, registry: IRegistry) -> None:
        """Places that have not failed since go, no more at once than asked for."""
        kept = random_digest()
        for place, now in ((kept, NOW), *((random_digest(), NOW - age) for age in (1, 2, 3))):
            await registry.count_failure(place, now, 30)
        assert [await registry.prune_failures(NOW, 2) for _ in range(3)] == [2, 1, 0]
        assert await registry.count_failure(kept, NOW, 30) == 2

    # Leases.

    async def test_lease(self, registry: IRegistry) -> None:
        """One has it until it is over, and may renew it."""
        assert await registry.acquire_lease("a", "one", NOW + 10, NOW)
        assert not await registry.acquire_lease("a", "two", NOW + 20, NOW + 9)
        assert await registry.acquire_lease("b", "two", NOW + 10, NOW)
        assert await registry.acquire_lease("a", "one", NOW + 20, NOW + 9)
        assert not await registry.acquire_lease("a", "two", NOW + 30, NOW + 19)
        assert await registry.acquire_lease("a", "two", NOW + 30, NOW + 20)
        assert not await registry.acquire_lease("a", "one", NOW + 40, NOW + 20)

    async def test_lease_at_once(self, registry: IRegistry) -> None:
        """One of many gets it."""
        for crowd in CROWDS:
            name = random_string(22)
            got = await _all(registry.acquire_lease(name, str(n), NOW + 10, NOW) for n in range(crowd))
            assert got.count(True) == 1

    async def test_prune_leases(self, registry: IRegistry) -> None:
        """Those that are over go, no more at once than asked for; one that was taken meanwhile stays."""
        for number in range(1, 5):
            assert await registry.acquire_lease(f"l{number}", "one", NOW + number, NOW)
        assert await registry.acquire_lease("l1", "two", NOW + 9, NOW + 3)
        assert [await registry.prune_leases(NOW + 3, 1) for _ in range(3)] == [1, 1, 0]
        for number in (1, 4):
            assert not await registry.acquire_lease(f"l{number}", "three", NOW + 9, NOW + 3)

    # The audit trail.

    async def test_events(self, registry: IRegistry) -> None:
        """Rows come back as they were, newest first, by the page."""
        made = [
            new_event(time=1000 * NOW + age // 2, subject=text[:63], details={"name": text, "x": ""})
            for age, text in enumerate(HOSTILE)
        ]
        for event in made:
            await registry.add_event(event)
        whole = await registry.events(Page())
        assert whole == sorted(made, key=lambda event: (-event.time, event.id))
        pages = [await registry.events(Page(offset, 7)) for offset in range(0, len(made), 7)]
        assert list(itertools.chain(*pages)) == whole
        assert await registry.events(Page(len(made), 7)) == []
        for place, event in enumerate(whole):
            part = await registry.events(Page(size=3, after=(event.time, event.id)))
            assert part == whole[place + 1 : place + 4]

    async def test_event_that_is_taken(self, registry: IRegistry) -> None:
        """The first stays: so what may be done but once is noted but once."""
        event = new_event()
        await registry.add_event(event)
        await _fails(AlreadyExists, registry.add_event(attrs.evolve(event, action="other")))
        assert await registry.events(Page()) == [event]

    async def test_prune_events(self, registry: IRegistry) -> None:
        """Older ones go, no more at once than asked for."""
        kept = new_event(time=1000)
        await registry.add_event(kept)
        for time_ in (997, 998, 999):
            await registry.add_event(new_event(time=time_))
        assert [await registry.prune_events(1000, 2) for _ in range(3)] == [2, 1, 0]
        assert await registry.events(Page()) == [kept]

    # Counts.

    async def test_statistics(self, registry: IRegistry) -> None:
        """What is counted adds up, by the hour or in parts of several."""
        assert await registry.statistics(0, 1) == {}
        first = 20_000 * 24
        await registry.add_statistics({})
        await registry.add_statistics({(first, "a"): 1, (first, "A"): 2, (first + 1, "a"): 3})
        await registry.add_statistics(
            {(first, "a"): 10, (first + 24, "a"): 5_000_000_000, (first - 1, "a"): 7}
        )
        assert await registry.statistics(first, 1) == {
            (first, "a"): 11,
            (first, "A"): 2,
            (first + 1, "a"): 3,
            (first + 24, "a"): 5_000_000_000,
        }
        assert await registry.statistics(first, 24) == {
            (first, "a"): 14,
            (first, "A"): 2,
            (first + 24, "a"): 5_000_000_000,
        }
        assert await registry.statistics(first + 25, 1) == {}

    async def test_statistics_at_once(self, registry: IRegistry) -> None:
        """Nothing is lost between many who add, and who fails has added nothing."""

        def add(number: int) -> Deferred[bool]:
            counts = {(number % 2, "b"): 1, (number % 2, "a"): 2}
            added: Deferred[bool] = registry.add_statistics(counts).addCallback(lambda _: True)
            return added.addErrback(lambda failure: failure.trap(AlreadyExists) is None)

        done = (await _all(add(number) for number in range(50))).count(True)
        assert done
        found = await registry.statistics(0, 24)
        assert found == {(0, "a"): 2 * done, (0, "b"): done}

    async def test_prune_statistics(self, registry: IRegistry) -> None:
        """Earlier hours go with all that is of them, no more of them at once than asked for."""
        await registry.add_statistics({(hour, kind): 1 for hour in range(5) for kind in "abc"})
        assert [await registry.prune_statistics(3, 2) for _ in range(3)] == [2, 1, 0]
        assert set(await registry.statistics(0, 1)) == {
            (hour, kind) for hour in (3, 4) for kind in "abc"
        }

    # Names.

    async def test_names_are_told_apart(self, registry: IRegistry) -> None:
        """DB-01, DB-02, DB-11: every name is kept as it is, and found by itself alone."""
        clients = {name: new_client(client_id=name, name=name[:63]) for name in HOSTILE}
        users = {name: new_user(name, first_name=name[:63]) for name in HOSTILE}
        scopes = {name: Scope(name, name) for name in HOSTILE}
        sessions = {name: new_session(name) for name in HOSTILE}
        for name in HOSTILE:
            await registry.add_client(clients[name])
            await registry.add_user(users[name])
            await registry.add_scope(scopes[name])
            await registry.add_session(sessions[name])
        for name in HOSTILE:
            assert await registry.find_client(name) == clients[name]
            assert await registry.find_user(name) == users[name]
            assert await registry.find_scopes((name,)) == {name: scopes[name]}
        assert await registry.find_scopes(HOSTILE) == scopes
        left = set(HOSTILE)
        for name in HOSTILE:
            left.remove(name)
            await registry.delete_client(name)
            await registry.delete_user(name)
            await registry.delete_scope(name)
            assert {client.client_id for client in await registry.clients(Page())} == left
            assert {user.username for user in await registry.users(Page())} == left
            assert {scope.name for scope in await registry.scopes()} == left
            assert await registry.find_session(sessions[name].digest, NOW) is None

    async def test_values_are_kept_as_they_are(self, registry: IRegistry) -> None:
        """What people write comes back character for character."""
        for text in HOSTILE:
            client = new_client(
                name=text[:63], description=text, redirect_uris=(text,), scopes=(text, "read")
            )
            await registry.add_client(client)
            assert await registry.find_client(client.client_id) == client

    # Races.

    async def test_adding_one_name_at_once(self, registry: IRegistry) -> None:
        """One of many who want a name gets it; the others are told."""
        for crowd in CROWDS:
            users = [new_user(f"user {crowd}", email=str(number)) for number in range(crowd)]
            told = await _all(_is_added(registry, user) for user in users)
            assert told.count(True) == 1
            assert await registry.find_user(f"user {crowd}") == users[told.index(True)]

    async def test_cancelled(self, registry: IRegistry) -> None:
        """CC-08: a cancelled step was taken wholly or not at all, and the next is not disturbed."""
        for number in range(20):
            client = new_client()
            await _cancelled(registry.add_client(client), number)
            await registry.end_session(random_digest())
            assert await registry.find_client(client.client_id) in (client, None)


def _is_added(registry: IRegistry, user: User) -> Deferred[bool]:
    added: Deferred[bool] = registry.add_user(user).addCallback(lambda _: True)
    return added.addErrback(lambda failure: failure.trap(AlreadyExists) is None)
