"""The contract of authorization codes."""

from __future__ import annotations

import attrs

from ...interfaces import ITokenStore
from ...models import (
    AccessToken,
    Expired,
    Grant,
    GrantFilter,
    Issued,
    Page,
    RefreshProof,
    Refused,
    Replayed,
    ResourceOwner,
    Unknown,
)
from .samples import (
    ACCESS_LIFETIME,
    CHALLENGE,
    NOT_UTF_8,
    NOW,
    REDIRECT_URI,
    REFRESH_LIFETIME,
    VERIFIER,
    family_of,
    new_grant,
    new_issuance,
    pair_of,
    proof_of,
    random_digest,
)
from .steps import add_grant, is_ended, is_valid, redeem, redeemed_grant, rotate


class CodeContract:
    """What a token store promises of codes."""

    async def test_added_grant_is_listed_unchanged(self, token_store: ITokenStore) -> None:
        """Also where optional fields are empty."""
        full = await add_grant(token_store)
        bare = await add_grant(
            token_store,
            owner=ResourceOwner("other"),
            scopes=(),
            created=NOW + 1,
            redirect_uri=None,
            code_challenge=None,
        )
        unnamed = await add_grant(token_store, created=NOW + 2, redirect_uri_sent=False)
        assert await token_store.grants(GrantFilter(), Page()) == [full, bare, unnamed]

    async def test_id_that_is_taken_is_refused(self, token_store: ITokenStore) -> None:
        """The first grant keeps the id, and nothing of the second is kept."""
        first = await add_grant(token_store)
        second = new_grant(id=first.id, client_id="other")
        assert await token_store.add_code(second) is False
        outcome = await token_store.redeem_code(second.code_digest, proof_of(second), new_issuance())
        assert outcome == Unknown()
        assert await token_store.grants(GrantFilter(), Page()) == [first]
        await redeem(token_store, first)

    async def test_renewed_code_replaces_the_one_before(self, token_store: ITokenStore) -> None:
        """UI-07: there is one grant, and of its codes the last is good."""
        first = await add_grant(token_store, family_digest=None)
        last = first
        for seconds in (1, 2):
            last = _made_again(first, seconds)
            assert await token_store.renew_code(last) is True
        [kept] = await token_store.grants(GrantFilter(), Page())
        assert kept == attrs.evolve(last, created=first.created, last_used=first.last_used)
        assert await token_store.find_grant(first.id) == kept
        outcome = await token_store.redeem_code(first.code_digest, proof_of(first), new_issuance())
        assert outcome == Unknown()
        await redeem(token_store, last, new_issuance(first.code_expires + 1))

    async def test_code_is_renewed_after_its_expiry(self, token_store: ITokenStore) -> None:
        """UI-07: as long as its grant is there."""
        first = await add_grant(token_store, expires=NOW + 3600)
        last = _made_again(first, 1000)
        assert await token_store.renew_code(last) is True
        assert await token_store.prune(last.code_expires - 1, 10) == 0
        await redeem(token_store, last, new_issuance(last.code_expires - 1))

    async def test_code_that_was_exchanged_is_not_renewed(self, token_store: ITokenStore) -> None:
        """UI-07, CG-05: its tokens stay, and its use is still known."""
        grant, pair = await redeemed_grant(token_store)
        renewed = _made_again(grant, 1)
        assert await token_store.renew_code(renewed) is False
        assert await is_valid(token_store, pair)
        outcome = await token_store.redeem_code(renewed.code_digest, proof_of(grant), new_issuance())
        assert outcome == Unknown()
        outcome = await token_store.redeem_code(grant.code_digest, proof_of(grant), new_issuance())
        assert isinstance(outcome, Replayed)

    async def test_code_of_a_revoked_grant_is_not_renewed(self, token_store: ITokenStore) -> None:
        """UI-07: nor that of a grant that never was."""
        grant = await add_grant(token_store)
        assert await token_store.revoke_grant(grant.id) is True
        for gone in (grant, new_grant()):
            renewed = _made_again(gone, 1)
            assert await token_store.renew_code(renewed) is False
            outcome = await token_store.redeem_code(renewed.code_digest, proof_of(gone), new_issuance())
            assert outcome == Unknown()
        assert await token_store.grants(GrantFilter(), Page()) == []

    async def test_grant_with_a_renewed_code_is_revoked_as_a_whole(
        self, token_store: ITokenStore
    ) -> None:
        """Its renewed code ends with it, and a renewed grant is pruned like any other."""
        grant = await add_grant(token_store)
        renewed = _made_again(grant, 1)
        assert await token_store.renew_code(renewed) is True
        assert await token_store.revoke_grants(username=grant.owner.username) == 1
        outcome = await token_store.redeem_code(renewed.code_digest, proof_of(grant), new_issuance())
        assert outcome == Unknown()
        other = await add_grant(token_store)
        later = _made_again(other, 1)
        assert await token_store.renew_code(later) is True
        await token_store.prune(later.expires, 10)
        assert await token_store.grants(GrantFilter(), Page()) == []
        assert await token_store.add_code(later) is True

    async def test_code_is_redeemed_once_for_a_pair(self, token_store: ITokenStore) -> None:
        """CG-01: the outcome, the grant and the access token are those of the issuance."""
        grant = await add_grant(token_store)
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

    async def test_code_is_redeemed_without_refresh_token(self, token_store: ITokenStore) -> None:
        """RT-06: where access tokens are not refreshable, there is no refresh token."""
        grant = await add_grant(token_store)
        issuance = new_issuance(refresh_digest=None, refresh_expires=None)
        pair = await redeem(token_store, grant, issuance)
        assert pair == pair_of(grant, issuance)
        assert await is_valid(token_store, pair)
        [kept] = await token_store.grants(GrantFilter(), Page())
        assert kept.expires == NOW + ACCESS_LIFETIME

    async def test_code_without_redirect_uri_and_challenge_is_redeemed(
        self, token_store: ITokenStore
    ) -> None:
        """Neither is asked for where the authorization request had none."""
        for uri in (None, REDIRECT_URI):
            grant = await add_grant(token_store, redirect_uri_sent=False, code_challenge=None)
            issuance = new_issuance()
            proof = proof_of(grant, redirect_uri=uri)
            assert isinstance(await token_store.redeem_code(grant.code_digest, proof, issuance), Issued)
            assert await token_store.find_access_token(issuance.access_digest) is not None

    async def test_unknown_code_is_refused(self, token_store: ITokenStore) -> None:
        """CG-02: nothing was ever issued under this digest."""
        grant = await add_grant(token_store)
        outcome = await token_store.redeem_code(random_digest(), proof_of(grant), new_issuance())
        assert outcome == Unknown()

    async def test_code_gives_the_scopes_that_the_client_may_still_have(
        self, token_store: ITokenStore
    ) -> None:
        """The grant keeps what the resource owner has allowed. Where nothing is left, the code stays."""
        grant = await add_grant(token_store)
        none, some = proof_of(grant, client_scopes=()), proof_of(grant, client_scopes=("write", "x"))
        issuance = new_issuance()
        outcome = await token_store.redeem_code(grant.code_digest, none, issuance)
        assert isinstance(outcome, Refused)
        assert outcome.invalid_scope
        assert await token_store.find_access_token(issuance.access_digest) is None
        outcome = await token_store.redeem_code(grant.code_digest, some, issuance)
        assert isinstance(outcome, Issued)
        found = await token_store.find_access_token(issuance.access_digest)
        assert found is not None
        assert found.scopes == outcome.pair.scopes == ("write",)
        assert outcome.grant.scopes == grant.scopes
        assert await token_store.grants(GrantFilter(), Page()) == [outcome.grant]

    async def test_code_whose_redirect_uri_was_taken_away_is_refused(
        self, token_store: ITokenStore
    ) -> None:
        """Also where the authorization request did not name it."""
        for sent in (True, False):
            grant = await add_grant(token_store, redirect_uri_sent=sent)
            proof = proof_of(grant, client_redirect_uris=("https://app.example/new",))
            outcome = await token_store.redeem_code(grant.code_digest, proof, new_issuance())
            assert isinstance(outcome, Refused)
            assert not outcome.invalid_scope
            proof = proof_of(grant, client_redirect_uris=(REDIRECT_URI,))
            outcome = await token_store.redeem_code(grant.code_digest, proof, new_issuance())
            assert isinstance(outcome, Issued)

    async def test_code_expires(self, token_store: ITokenStore) -> None:
        """CG-04: it is valid until the second before its expiry."""
        grant = await add_grant(token_store)
        for late in (0, 1, 10_000):
            issuance = new_issuance(grant.code_expires + late)
            outcome = await token_store.redeem_code(grant.code_digest, proof_of(grant), issuance)
            assert outcome == Expired()
            assert await token_store.find_access_token(issuance.access_digest) is None
        await redeem(token_store, grant, new_issuance(grant.code_expires - 1))

    async def test_code_without_proof_is_refused_and_stays_valid(self, token_store: ITokenStore) -> None:
        """CG-03, CG-11, PK-02, PK-03: a thief cannot burn a code."""
        challenged = await add_grant(token_store)
        unchallenged = await add_grant(token_store, code_challenge=None)
        without_uri = await add_grant(token_store, redirect_uri_sent=False)
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
            (without_uri, {"redirect_uri": REDIRECT_URI + "/"}),
        ]
        for grant, changes in wrong:
            issuance = new_issuance()
            proof = proof_of(grant, **changes)
            outcome = await token_store.redeem_code(grant.code_digest, proof, issuance)
            assert isinstance(outcome, Refused), changes
            assert not outcome.invalid_scope
            assert await token_store.find_access_token(issuance.access_digest) is None
        for grant in (challenged, unchallenged, without_uri):
            assert await is_valid(token_store, await redeem(token_store, grant))

    async def test_code_redeemed_twice_revokes_the_grant(self, token_store: ITokenStore) -> None:
        """CG-05, CG-08: all that was issued for it ends, though the second request is refused."""
        grant, pair = await redeemed_grant(token_store)
        issuance = new_issuance(NOW + 1)
        outcome = await token_store.redeem_code(grant.code_digest, proof_of(grant), issuance)
        assert isinstance(outcome, Replayed)
        assert (outcome.grant.id, outcome.grant.revoked) == (grant.id, True)
        assert await token_store.find_access_token(issuance.access_digest) is None
        assert await is_ended(token_store, grant, pair)
        assert await token_store.revoke_grant(grant.id) is False

    async def test_code_redeemed_after_a_refresh_revokes_the_grant(
        self, token_store: ITokenStore
    ) -> None:
        """CG-05: the tokens that were refreshed since end, too."""
        grant, first = await redeemed_grant(token_store)
        second = await rotate(token_store, grant, first)
        third = await rotate(token_store, grant, second)
        outcome = await token_store.redeem_code(grant.code_digest, proof_of(grant), new_issuance())
        assert isinstance(outcome, Replayed)
        assert await is_ended(token_store, grant, first, second, third)

    async def test_used_code_is_known_after_its_expiry(self, token_store: ITokenStore) -> None:
        """CG-07: it is known as long as its grant lives."""
        grant, pair = await redeemed_grant(token_store)
        issuance = new_issuance(grant.code_expires + 1000)
        outcome = await token_store.redeem_code(grant.code_digest, proof_of(grant), issuance)
        assert isinstance(outcome, Replayed)
        assert await is_ended(token_store, grant, pair)

    async def test_used_code_without_proof_revokes_nothing(self, token_store: ITokenStore) -> None:
        """CG-09: another client cannot revoke the grant with it."""
        grant, pair = await redeemed_grant(token_store)
        for changes in ({"client_id": "other"}, {"redirect_uri": None}, {"code_verifier": None}):
            proof = proof_of(grant, **changes)
            outcome = await token_store.redeem_code(grant.code_digest, proof, new_issuance())
            assert isinstance(outcome, Refused)
        assert await is_valid(token_store, pair)
        await rotate(token_store, grant, pair)

    async def test_codes_and_tokens_are_looked_up_apart(self, token_store: ITokenStore) -> None:
        """CG-14, RT-17, RV-09: a code, an access token and a refresh token do not replace each other."""
        grant, pair = await redeemed_grant(token_store)
        unused = await add_grant(token_store)
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
        assert await is_valid(token_store, pair)
        await redeem(token_store, unused)


def _made_again(grant: Grant, seconds: int) -> Grant:
    """The same grant as it is made some seconds later, with another code."""
    return attrs.evolve(
        grant,
        created=grant.created + seconds,
        last_used=grant.last_used + seconds,
        expires=grant.expires + seconds,
        code_digest=random_digest(),
        code_expires=grant.code_expires + seconds,
    )
