"""The contract of a token store: grants, authorization codes, access and refresh tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import Interface

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Hashable

    from twisted.internet.defer import Deferred

    from ..models import (
        AccessToken,
        CodeProof,
        Grant,
        GrantFilter,
        Issuance,
        Outcome,
        Page,
        Pruned,
        RefreshProof,
    )

#: A count stops at this number plus one: 10,001 means that there are more than 10,000.
MAX_COUNTED = 10_000


class ITokenStore(Interface):
    """Keeps grants with their codes and tokens.

    Each verb is one atomic step: it is taken as a whole or not at all, and what was answered is durable.
    `revoke_grants`, `end_refresh_tokens` and `count_grants` take many small steps where there are many
    grants. No step grows with the number of grants, since the steps of others wait for it.
    Every Deferred fails with `TemporarilyUnavailable` where the store cannot answer. The step may then
    have been taken or not, but never in part. The same holds for a Deferred that is cancelled.
    """

    def add_code(grant: Grant, most: int | None = None) -> Deferred[bool]:
        """Keep a new grant and its authorization code. False where the grant's id is taken.

        :param most: how many grants the user may have with the client. Of those beyond, the least
            recently used are revoked in the same step, ten at most.
        """

    def renew_code(grant: Grant) -> Deferred[bool]:
        """Give a grant that `add_code` has kept a new code, which replaces the one before.

        False where there is no such grant that is not revoked, or where its code was exchanged.

        :param grant: the same grant as it would be made now, with the new code.
        """

    def redeem_code(code_digest: bytes, proof: CodeProof, issuance: Issuance) -> Deferred[Outcome]:
        """Exchange a code for a first pair of tokens (RFC 6749, section 4.1.3)."""

    def rotate_refresh_token(
        refresh_digest: bytes, proof: RefreshProof, issuance: Issuance
    ) -> Deferred[Outcome]:
        """Exchange a refresh token for the next pair (RFC 6749, section 6).

        The store keeps nothing of the pair before, so that a grant does not grow with its refreshes. A
        refresh token that was used is recognized by its family, ``issuance.family_digest``.
        """

    def find_refresh_grant(refresh_digest: bytes) -> Deferred[Grant | None]:
        """The grant of a refresh token that was not used, if it is not revoked.

        The caller judges its expiry, and whose it is.
        """

    def find_access_token(access_digest: bytes) -> Deferred[AccessToken | None]:
        """An access token that is neither revoked nor rotated. The caller judges its expiry.

        A guard may refuse a token that was not found for 10 seconds, without another look-up.
        """

    def revoke(
        token_digest: bytes, client_id: str, family_digest: bytes | None = None
    ) -> Deferred[Grant | None]:
        """Revoke a token of a client (RFC 7009): a refresh token with its grant, an access token alone.

        :param family_digest: the family that the token belongs to if it is a refresh token. A refresh
            token that was used revokes its grant, too.
        :returns: a Deferred of the grant that the token belonged to; None where there is no such token.
        """

    def revoke_grant(grant_id: str) -> Deferred[bool]:
        """Revoke a grant and all that belongs to it. False where there is none that is not revoked."""

    def revoke_grants(
        username: str | None = None, client_id: str | None = None, scope: str | None = None
    ) -> Deferred[int]:
        """Revoke every grant of a user, of a client or with a scope, and say how many there were.

        Each grant is revoked in one step, but many grants in many steps, so that others need not wait
        for all of them. Where the Deferred fails or is cancelled, some may have been revoked.
        """

    def end_refresh_tokens(username: str) -> Deferred[None]:
        """End a user's codes and refresh tokens, in batches as `revoke_grants` does.

        Access tokens stay valid until they expire. The refresh tokens are unknown from then on.
        """

    def grants(filter: GrantFilter, page: Page) -> Deferred[list[Grant]]:
        """A page of the grants that are not revoked, oldest first.

        ``page.after`` holds the time of a grant's creation, in seconds since the epoch, and its id.
        """

    def clients_of(username: str, after: str, limit: int) -> Deferred[list[str]]:
        """The ids of the clients that a user has grants with that are not revoked.

        They are sorted by their ids, byte by byte. Expired grants count until they are pruned.

        :param after: only ids that sort after this one; an empty string sorts before all.
        :param limit: how many ids at most.
        """

    def grants_in_use(username: str, client_id: str, limit: int) -> Deferred[list[Grant]]:
        """A user's grants with a client whose code was exchanged and that are not revoked.

        The last used one comes first. It is one look-up by an index. Expired grants count until they are
        pruned.

        :param limit: how many grants at most.
        """

    def find_grant(grant_id: str) -> Deferred[Grant | None]:
        """A grant that is not revoked."""

    def count_grants(
        username: str | None = None, client_id: str | None = None, scope: str | None = None
    ) -> Deferred[int]:
        """How many grants `revoke_grants` would revoke. Expired grants count until they are pruned.

        The result is `MAX_COUNTED` plus one where there are more than `MAX_COUNTED`.
        """

    def prune(now: int, limit: int) -> Deferred[Pruned]:
        """Delete up to ``limit`` expired rows of any kind, and say how many they were.

        Rows are grants with all that belongs to them, and answers that were kept for a retry. Where
        fewer than ``limit`` were deleted, only rows that other steps use at this moment may be left.

        :param now: in seconds since the epoch.
        """


class IInvalidationFeed(Interface):
    """Says which access tokens have become invalid, so that a look-up can be cached until then.

    A token store may also provide this. Without it, every token is looked up each time.
    An access token becomes invalid by anything that changes the answer of ``find_access_token``: a
    revocation of the token or its grant, or the use of its refresh token. Its expiry does not count.
    """

    def partition(grant_id: str) -> Hashable:
        """The partition that a grant belongs to: its own id, or one of many that all grants share."""

    def subscribe(invalidate: Callable[[Collection[Hashable] | None], None]) -> None:
        """Have ``invalidate`` called in the reactor's thread, with the partitions of invalid tokens.

        None means any partition: there were too many to name, or a message may have been missed. For
        what a verb of this store has ended, the call comes before the verb's Deferred fires, also where
        the verb fails and its step may have been taken. A call too many does no harm.
        """

    def is_current() -> bool:
        """Whether subscribers know of all that any process ended more than 80 milliseconds ago.

        It costs little and never waits. Where a message may have been missed, it is False until
        ``invalidate`` was called with None. It is False at the first call after a pause, since the feed
        asks the store often only while it is used.
        """
