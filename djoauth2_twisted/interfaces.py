"""The contracts between the floors, and with whoever brings a part of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import Attribute, Interface, classImplements

from .models import AccessToken, ResourceOwner

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Hashable, Mapping

    from twisted.internet.defer import Deferred
    from twisted.web.iweb import IRequest

    from .models import (
        Client,
        CodeProof,
        Event,
        Found,
        Grant,
        GrantFilter,
        Image,
        Issuance,
        Limit,
        Outcome,
        Page,
        Pruned,
        RefreshProof,
        Scope,
        Session,
        Totals,
        User,
    )


class IResourceOwner(Interface):
    """Who is logged in (RFC 6749, section 1.1): the avatar that a Portal is asked for."""

    username = Attribute("The name that tells this person from every other. (str)")
    first_name = Attribute("Where known. (str)")
    last_name = Attribute("Where known. (str)")
    email = Attribute("Where known. (str)")
    subject = Attribute("What is never given to anybody else, as a name may be; where known. (str)")


class IAccessToken(Interface):
    """The valid access token of a guarded request: ``IAccessToken(request)``."""

    client_id = Attribute("The client that it was issued to. (str)")
    user = Attribute("The resource owner who let the client in. (IResourceOwner)")
    scopes = Attribute("What it covers. (tuple of str)")
    issued = Attribute("When it was issued, in seconds since the epoch. (int)")
    expires = Attribute("From when on it is refused, in seconds since the epoch. (int)")
    grant_id = Attribute("The grant that it belongs to; not a secret. (str)")

    def has_scope(*names: str) -> bool:
        """Whether it covers all of the scopes named."""


class ITokenVerifier(Interface):
    """Tells whether an access token is good, wherever it was issued."""

    def verify(token: str, scopes: tuple[str, ...]) -> Deferred[AccessToken]:
        """Judge an access token.

        :param token: as the client sent it.
        :param scopes: all of those that it must cover.
        :returns: a Deferred of the `AccessToken`. It fails with `InvalidToken`, `InsufficientScope`,
            or `TemporarilyUnavailable` where nothing can be said for now: within a deadline of the
            verifier's own, for whoever asks will wait. `TooManyRequests` says that unknown tokens come
            too often.

        A verifier may name a third parameter, ``address: str | None = None``. It is then called with
        the network address that the token was sent from.
        """


class IRequestCounter(Interface):
    """A verifier that finishes the requests in flight before it stops."""

    def begin_request(request: IRequest) -> bool:
        """Count a request until it ends. False if the verifier takes no new requests now.

        A request that is counted already may be counted again.
        """


#: So far grants, users and all else are counted: 10,001 means that there are more.
MAX_COUNTED = 10_000

#: So many users are looked through in one step of a search.
MAX_SEARCHED = 5_000


class ITokenStore(Interface):
    """Keeps grants with their codes and tokens.

    Each verb is one atomic step: it is taken wholly or not at all, and whoever is answered can rely on
    it. `revoke_grants`, `end_refresh_tokens`, `count_grants` and `clients_of` are many small steps where
    there are many grants. No step grows with what is kept, since the steps of others wait for it.
    Every Deferred fails with `TemporarilyUnavailable` where the store cannot answer; the step may then
    have been taken or not, but never in part. So it is with a step whose Deferred is cancelled.
    """

    def add_code(grant: Grant, most: int | None = None) -> Deferred[bool]:
        """Keep a new grant and its authorization code. False where its id is taken.

        :param most: how many grants the user may have with the client. Of those beyond, the ones that
            were used least recently are ended in the same step, ten at a time.
        """

    def redeem_code(code_digest: bytes, proof: CodeProof, issuance: Issuance) -> Deferred[Outcome]:
        """Exchange a code for a first pair of tokens (RFC 6749, section 4.1.3)."""

    def rotate_refresh_token(
        refresh_digest: bytes, proof: RefreshProof, issuance: Issuance
    ) -> Deferred[Outcome]:
        """Exchange a refresh token for the next pair (RFC 6749, section 6).

        Nothing is kept of the one before, so that a grant stays as small as it is however often it is
        refreshed: it is known by its family, ``issue.family_digest``, that it was used.
        """

    def find_access_token(access_digest: bytes) -> Deferred[AccessToken | None]:
        """An access token that is neither revoked nor rotated. Its time is the caller's to judge."""

    def revoke(
        token_digest: bytes, client_id: str, family_digest: bytes | None = None
    ) -> Deferred[Grant | None]:
        """End a token of a client (RFC 7009): a refresh token with its grant, an access token alone.

        :param family_digest: of the family that the token would be of, if it were a refresh token: one
            that was used ends its grant, too.
        The Deferred fires with the grant it belonged to, or None where there is no such token.
        """

    def revoke_grant(grant_id: str) -> Deferred[bool]:
        """End a grant and all that belongs to it. False where there is none that is still good."""

    def revoke_grants(
        username: str | None = None, client_id: str | None = None, scope: str | None = None
    ) -> Deferred[int]:
        """End every grant of a user, of a client or with a scope; how many there were.

        Each is ended in one step, but many are ended one after the other, so that nobody else has to
        wait for all of them: where the Deferred fails or is cancelled, some may have been.
        """

    def end_refresh_tokens(username: str) -> Deferred[None]:
        """End a user's codes and refresh tokens, one batch after the other, as `revoke_grants` does.

        Access tokens live out their time. The refresh tokens are unknown from then on.
        """

    def grants(filter: GrantFilter, page: Page) -> Deferred[list[Grant]]:
        """The grants that are not revoked, oldest first."""

    def clients_of(username: str, after: str, limit: int) -> Deferred[list[str]]:
        """The ids of the clients that a user has grants with that are not revoked.

        They come in the order of their ids, byte by byte. Grants that are over count until they are
        pruned.

        :param after: leave out this id and those before it; an empty one is before all.
        :param limit: so many at most.
        """

    def find_grant(grant_id: str) -> Deferred[Grant | None]:
        """A grant that is not revoked."""

    def count_grants(
        username: str | None = None, client_id: str | None = None, scope: str | None = None
    ) -> Deferred[int]:
        """How many grants `revoke_grants` would end; those that are over count until they are pruned.

        Where there are more than `MAX_COUNTED`, it is that and one more.
        """

    def prune(now: int, limit: int) -> Deferred[Pruned]:
        """Forget what is over, up to ``limit`` rows of any kind, and how many they were.

        These are grants with all that belongs to them, and answers that were kept for a retry. Where
        fewer than ``limit`` have gone, nothing is left but what is being used this moment.
        """


class IInvalidationFeed(Interface):
    """Tells which access tokens have ended, so that a look-up can be kept in memory until then.

    A token store may provide it beside `ITokenStore`. Of one that does not, every token is looked up
    each time. What ends an access token is whatever changes the answer of ``find_access_token``, but
    for its time: a revocation of the token or its grant, and the use of its refresh token.
    """

    def partition(grant_id: str) -> Hashable:
        """The partition that a grant belongs to: its own id, or one of many that all grants share."""

    def subscribe(invalidate: Callable[[Collection[Hashable] | None], None]) -> None:
        """Have ``invalidate`` called in the reactor's thread, with the partitions where tokens ended.

        None means any partition: there were too many to name, or a message may have been missed. For
        what a verb of this store has ended, the call comes before the verb's Deferred fires, also where
        the verb fails and its step may have been taken. A call too many does no harm.
        """

    def is_current() -> bool:
        """Whether the subscribers know of all that any process has ended more than 80 milliseconds ago.

        It costs little and never waits. Where a message may have been missed, it is False until
        ``invalidate`` was called with None. It is False at the first call after a pause: the feed asks
        the store often only while it is used.
        """


class IRegistry(Interface):
    """Keeps clients, scopes, users and their logins. Fails as `ITokenStore` does.

    ``add_...`` fail with `AlreadyExists`, ``update_...`` and ``delete_...`` with `NotFound`.
    """

    def add_client(client: Client, image: Image | None = None) -> Deferred[None]:
        """Keep a new client, and its picture."""

    def find_client(client_id: str) -> Deferred[Client | None]:
        """A client, disabled or not."""

    def update_client(
        client: Client, only: Collection[str] | None = None, instead_of: bytes | None = None
    ) -> Deferred[None]:
        """Keep a client's new state under its old id: all of it but the picture.

        :param only: the names of the fields to keep; the others stay as they are, whoever changed them.
        :param instead_of: the digest of the secret that the client has till now; fail with
            `ChangedMeanwhile` where it is another, so that of two new secrets none is lost.
        """

    def delete_client(client_id: str) -> Deferred[None]:
        """Forget a client and its picture."""

    def set_image(client_id: str, image: Image | None) -> Deferred[None]:
        """Give a client a picture, or take it away, and its digest with it. Fails with `NotFound`."""

    def find_image(client_id: str) -> Deferred[Image | None]:
        """A client's picture."""

    def clients(page: Page, search: str = "") -> Deferred[list[Client]]:
        """Clients in the order of their names.

        :param search: only those whose name or id contains it; ``A`` is found by ``a``.
        """

    def add_scope(scope: Scope) -> Deferred[None]:
        """Keep a new scope."""

    def find_scopes(names: tuple[str, ...]) -> Deferred[dict[str, Scope]]:
        """Those of the scopes named that exist."""

    def update_scope(scope: Scope) -> Deferred[None]:
        """Keep a scope's new description."""

    def delete_scope(name: str) -> Deferred[None]:
        """Forget a scope, also in the clients' allow-lists."""

    def scopes() -> Deferred[list[Scope]]:
        """All scopes in the order of their names."""

    def add_user(user: User) -> Deferred[None]:
        """Keep a new user. That the subject was never anybody's is for whoever asks to see to."""

    def find_user(username: str) -> Deferred[User | None]:
        """A user, disabled or not."""

    def update_user(
        user: User,
        keep_admin: bool = False,
        only: Collection[str] | None = None,
        instead_of: str | None = None,
    ) -> Deferred[None]:
        """Keep a user's new state under the old name, and with the old subject.

        :param keep_admin: fail with `LastAdmin` where nobody would be left who may administer.
        :param only: as above.
        :param instead_of: the password hash that the user has till now; fail with `ChangedMeanwhile`
            where it is another.
        """

    def delete_user(username: str, keep_admin: bool = False) -> Deferred[None]:
        """Forget a user and the user's logins; ``keep_admin`` as above."""

    def users(page: Page) -> Deferred[list[User]]:
        """Users in the order of their names, which are the keys of ``page.after``."""

    def search_users(text: str, after: str, limit: int, most: int = MAX_SEARCHED) -> Deferred[Found]:
        """One step of a search for users whose name or email contains a text, in the order of names.

        ``A`` is found by ``a``. A name is that of the login, or the first, or the last, or both of these
        with a space between. No index helps here, so that a search of many users takes many steps.

        :param after: leave out this name and those before it; an empty one is before all.
        :param limit: find so many at most.
        :param most: look through so many at most.
        """

    def add_session(session: Session, most: int | None = None) -> Deferred[None]:
        """Keep a login.

        :param most: how many logins the user may have with this one; in the same step the oldest of
            more than that are forgotten; where those are very many, the next logins forget the rest.
        """

    def find_session(session_digest: bytes, now: int) -> Deferred[Session | None]:
        """A login that is not over.

        None where a user of its name is registered who is disabled, or who has another subject.
        """

    def end_session(session_digest: bytes) -> Deferred[None]:
        """Forget a login; no matter if there is none."""

    def end_sessions(username: str) -> Deferred[None]:
        """Forget all logins of a user."""

    def count_failure(place: bytes, now: int, per_minute: int) -> Deferred[float]:
        """Count a failure of a place, by its digest, and tell how many there are.

        Of those that there were, ``per_minute`` are forgotten in a minute.
        """

    def begin_attempt(limits: Mapping[bytes, Limit], now: int) -> Deferred[dict[bytes, float]]:
        """Count an attempt at each of some places, or at none where it is one too many for any.

        :param limits: by the digest of the place.
        :returns: the places for which it is, and how many seconds each has to wait; none where it was
            counted.
        """

    def give_back(places: Collection[bytes]) -> Deferred[None]:
        """Count an attempt no longer, at each of some places that `begin_attempt` has counted it at."""

    def acquire_lease(name: str, holder: str, expires: int, now: int) -> Deferred[bool]:
        """Take a lease, or renew it. False where another has it that is not over."""

    def prune_leases(now: int, limit: int) -> Deferred[int]:
        """Forget up to ``limit`` leases that are over, and how many they were."""

    def prune_failures(before: int, limit: int) -> Deferred[int]:
        """Forget up to ``limit`` places that have not failed since, and how many they were."""

    def prune_sessions(now: int, limit: int) -> Deferred[int]:
        """Forget up to ``limit`` logins that are over, and how many they were."""

    def totals(now: int) -> Deferred[Totals]:
        """How many there are, counted as far as `MAX_COUNTED`; of logins, those that are not over."""

    def add_event(event: Event) -> Deferred[None]:
        """Keep a row of the audit trail."""

    def events(page: Page) -> Deferred[list[Event]]:
        """The audit trail, newest first. The keys of ``page.after`` are an event's time and id."""

    def prune_events(before: int, limit: int) -> Deferred[int]:
        """Forget up to ``limit`` rows that are older, by their milliseconds, and how many they were."""

    def add_statistics(counts: Mapping[tuple[int, str], int]) -> Deferred[None]:
        """Add to how often something happened: by the hour since the epoch, and its kind.

        All or none is added. Where two add the first of an hour and kind at once, one of them may fail
        with `AlreadyExists`, and does well to try again.
        """

    def statistics(since: int, hours: int) -> Deferred[dict[tuple[int, str], int]]:
        """How often each kind of thing happened since an hour, in parts of so many hours.

        A part is named by its first hour, which is a multiple of ``hours``; so must ``since`` be.
        """

    def prune_statistics(before: int, limit: int) -> Deferred[int]:
        """Forget what is of up to ``limit`` earlier hours, and how many hours they were."""


classImplements(ResourceOwner, IResourceOwner)
classImplements(AccessToken, IAccessToken)
