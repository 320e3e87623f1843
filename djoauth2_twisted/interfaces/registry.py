"""The contract of a registry: one interface for each noun, and `IRegistry`, which is all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import Interface

from .second_factors import ISecondFactors

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from twisted.internet.defer import Deferred

    from ..models import (
        Client,
        Event,
        Found,
        Image,
        Limit,
        LogoutNotice,
        Page,
        Scope,
        Session,
        SigningKey,
        Totals,
        User,
    )

#: How many users one step of a search looks through by default.
MAX_SEARCHED = 5_000


class IClients(Interface):
    """Keeps the registered clients (RFC 6749, section 2) and their pictures."""

    def add_client(client: Client, image: Image | None = None) -> Deferred[None]:
        """Keep a new client and its picture. Fails with `AlreadyExists`."""

    def find_client(client_id: str) -> Deferred[Client | None]:
        """A client, disabled or not."""

    def update_client(
        client: Client, only: Collection[str] | None = None, instead_of: bytes | None = None
    ) -> Deferred[None]:
        """Replace a client's fields, but not its id, its picture and its last use.

        Fails with `NotFound`.

        :param only: the names of the fields to replace. The others keep the value that the store has,
            which another process may have changed.
        :param instead_of: the digest of the secret that the caller means to replace. Fails with
            `ChangedMeanwhile` where the client has another by now. So two new secrets do not replace
            each other.
        """

    def delete_client(client_id: str) -> Deferred[None]:
        """Delete a client and its picture. Fails with `NotFound`."""

    def set_image(client_id: str, image: Image | None) -> Deferred[None]:
        """Set or remove a client's picture, and its digest in the client. Fails with `NotFound`."""

    def find_image(client_id: str) -> Deferred[Image | None]:
        """A client's picture."""

    def note_uses(uses: Mapping[str, int]) -> Deferred[None]:
        """Note when clients last got tokens. A client that is unknown, or has a later time, stays as is.

        No other verb changes this time.

        :param uses: times in seconds since the epoch, by the clients' ids.
        """

    def clients(page: Page, search: str = "") -> Deferred[list[Client]]:
        """A page of clients, sorted by name. ``page.after`` holds a client's name and id.

        :param search: only clients whose name or id contains this text, in capitals or not.
        """


class IScopes(Interface):
    """Keeps the scopes (RFC 6749, section 3.3) that clients may ask for.

    `delete_scope` also changes clients, so that both need the same provider.
    """

    def add_scope(scope: Scope) -> Deferred[None]:
        """Keep a new scope. Fails with `AlreadyExists`."""

    def find_scopes(names: tuple[str, ...]) -> Deferred[dict[str, Scope]]:
        """The scopes with these names, by name. Names without a scope are left out."""

    def update_scope(scope: Scope) -> Deferred[None]:
        """Replace a scope's description. Fails with `NotFound`."""

    def delete_scope(name: str) -> Deferred[None]:
        """Delete a scope, also from the allow-lists of clients. Fails with `NotFound`."""

    def scopes() -> Deferred[list[Scope]]:
        """All scopes, sorted by name."""


class IUsers(Interface):
    """Keeps the users: the resource owners that this server knows itself."""

    def add_user(user: User) -> Deferred[None]:
        """Keep a new user. Fails with `AlreadyExists` where a user has the name, or one that is equal
        to it when both are folded by `precis.folded`.

        The caller makes sure that no other user ever had the subject.
        """

    def find_user(username: str) -> Deferred[User | None]:
        """The user of exactly this name, disabled or not."""

    def users_alike(username: str) -> Deferred[list[User]]:
        """The users whose names are equal to a name when folded; `precis.choose` takes one of them.

        There are several only where they were added before names were folded.
        """

    def namesakes(limit: int) -> Deferred[list[list[str]]]:
        """Up to ``limit`` groups of names that are equal when folded. None has only one name.

        A store that has always refused such names answers with an empty list.
        """

    def update_user(
        user: User,
        keep_admin: bool = False,
        only: Collection[str] | None = None,
        instead_of: str | None = None,
    ) -> Deferred[None]:
        """Replace a user's fields, but not the name and the subject. Fails with `NotFound`.

        :param keep_admin: fail with `LastAdmin` where no other user may administer.
        :param only: the names of the fields to replace, as in `IClients.update_client`.
        :param instead_of: the password hash that is to be replaced; fail with `ChangedMeanwhile` where
            the user has another.
        """

    def delete_user(username: str, keep_admin: bool = False) -> Deferred[None]:
        """Delete a user and end the user's sessions. Fails with `NotFound`.

        :param keep_admin: as in `update_user`.
        """

    def users(page: Page) -> Deferred[list[User]]:
        """A page of users, sorted by name. ``page.after`` holds one value, a name."""

    def search_users(text: str, after: str, limit: int, most: int = MAX_SEARCHED) -> Deferred[Found]:
        """One step of a search for users whose name or email contains a text, sorted by name.

        Capital letters do not matter. The text is looked for in the login name, the first and the last
        name with a space between, and the email. No index helps here, so that a search among many users
        takes many steps.

        :param after: only names that sort after this one; an empty string sorts before all.
        :param limit: how many users to find at most.
        :param most: how many users to look through at most.
        """


class ISessions(Interface):
    """Keeps the sessions of browsers in which a user has logged in."""

    def add_session(session: Session, most: int | None = None) -> Deferred[None]:
        """Keep a session.

        :param most: how many sessions the user may have, this one included. The oldest beyond that are
            deleted in the same step; where those are very many, the next sessions delete the rest.
        """

    def find_session(session_digest: bytes, now: int) -> Deferred[Session | None]:
        """A session that has not expired.

        None where a user of its name is registered who is disabled, or who has another subject.

        :param now: in seconds since the epoch.
        """

    def end_session(session_digest: bytes) -> Deferred[None]:
        """Delete a session, if there is one."""

    def end_sessions(username: str, keep: bytes | None = None) -> Deferred[None]:
        """Delete all sessions of a user.

        :param keep: the digest of a session that stays.
        """

    def sessions_of(username: str, now: int, limit: int) -> Deferred[list[Session]]:
        """Up to ``limit`` sessions of a user that have not expired. Those that expire last come first.

        Whose subject the sessions have is for the caller to compare.

        :param now: in seconds since the epoch.
        """

    def prune_sessions(now: int, limit: int) -> Deferred[int]:
        """Delete up to ``limit`` expired sessions, and say how many they were."""


class ILogoutNotices(Interface):
    """Keeps the notices of logouts until the clients have got them."""

    def add_notices(notices: Sequence[LogoutNotice]) -> Deferred[None]:
        """Keep notices, all or none. Fails with `AlreadyExists` where there is one of an id."""

    def claim_notices(
        now: int, until: int, limit: int, without: Collection[str] = ()
    ) -> Deferred[list[LogoutNotice]]:
        """Take up to ``limit`` notices that are due, the earliest first, each with one more attempt.

        No two processes get the same notice. It is due again at ``until`` if nothing is done with it, as
        where the process ends before.

        :param now: in seconds since the epoch, as is ``until``.
        :param without: the ids of clients whose notices are left alone.
        """

    def postpone_notice(notice_id: str, due: int) -> Deferred[None]:
        """Make a notice due at another time, if it is there.

        :param due: in seconds since the epoch.
        """

    def replace_notice(notice_id: str, notices: Sequence[LogoutNotice] = ()) -> Deferred[None]:
        """Delete a notice if it is there, and keep others in the same step. Otherwise do nothing."""


class IThrottles(Interface):
    """Counts failures and attempts, each as a leaky bucket that all processes share.

    A *throttle key* names a bucket: the digest of what is limited, such as a kind of action and an
    address.
    """

    def count_failures(limits: Mapping[bytes, Limit], now: int) -> Deferred[dict[bytes, float]]:
        """Count a failure at each throttle key in one step, and say how many count by now.

        :param limits: the limit of each bucket, by throttle key. A full bucket counts further failures.
        :param now: in seconds since the epoch.
        """

    def begin_attempt(limits: Mapping[bytes, Limit], now: int) -> Deferred[dict[bytes, float]]:
        """Count an attempt at each throttle key, or at none where one bucket is full.

        :param limits: the limit of each bucket, by throttle key.
        :param now: in seconds since the epoch.
        :returns: a Deferred of the throttle keys with a full bucket, and of the seconds until there is
            room in it; empty where the attempt was counted.
        """

    def give_back(throttle_keys: Collection[bytes]) -> Deferred[None]:
        """Take back an attempt that `begin_attempt` has counted at each of these throttle keys."""

    def prune_failures(before: int, limit: int) -> Deferred[int]:
        """Delete up to ``limit`` buckets that nothing was counted in since a time, and say how many.

        :param before: in seconds since the epoch.
        """


class ILeases(Interface):
    """Keeps leases: of all processes on one store, the holder of a lease alone does its task."""

    def acquire_lease(name: str, holder: str, expires: int, now: int) -> Deferred[bool]:
        """Take or renew a lease. False where another holder has it and it has not expired.

        :param expires: when the lease ends if it is not renewed, in seconds since the epoch.
        :param now: in seconds since the epoch.
        """

    def prune_leases(now: int, limit: int) -> Deferred[int]:
        """Delete up to ``limit`` expired leases, and say how many they were."""


class IKeys(Interface):
    """Keeps the keys that sign ID tokens. Their private halves are sealed."""

    def signing_keys() -> Deferred[list[SigningKey]]:
        """All signing keys, sorted by their creation and ``kid``."""

    def replace_signing_keys(before: list[SigningKey], after: list[SigningKey]) -> Deferred[bool]:
        """Replace all signing keys in one step.

        False where they are not those in the states of ``before``, and nothing is changed.
        """


class ISubjects(Interface):
    """Keeps the subjects of users from elsewhere, and of users who were deleted.

    `IUsers.delete_user` of the same provider does what `note_deleted` does.
    """

    def subject_of(username: str, proposed: str) -> Deferred[str]:
        """The subject of a user from elsewhere. A name that has none gets the one that is proposed.

        Fails with `AlreadyExists` where the proposed subject is taken, or where another process gives
        the name its subject at the same moment. The caller then tries again.
        """

    def note_deleted(subject: str) -> Deferred[None]:
        """Note that the user of a subject was deleted."""

    def was_deleted(subject: str) -> Deferred[bool]:
        """Whether a subject was that of a user who was deleted. It is never given again."""


class IAudit(Interface):
    """Keeps the audit trail: who changed what, when and from where."""

    def add_event(event: Event) -> Deferred[None]:
        """Keep an event. Fails with `AlreadyExists`."""

    def events(page: Page) -> Deferred[list[Event]]:
        """A page of events, newest first. ``page.after`` holds an event's time and id."""

    def prune_events(before: int, limit: int) -> Deferred[int]:
        """Delete up to ``limit`` older events, and say how many they were.

        :param before: in milliseconds since the epoch.
        """


class IStatistics(Interface):
    """Counts what happens by the hour, and what is registered."""

    def add_statistics(counts: Mapping[tuple[int, str], int]) -> Deferred[None]:
        """Add to the counts, all or none.

        Fails with `AlreadyExists` where another process adds the first of an hour and kind at the same
        moment. The caller then tries again.

        :param counts: what to add, by the hour (in hours since the epoch) and the kind of event.
        """

    def statistics(since: int, hours: int) -> Deferred[dict[tuple[int, str], int]]:
        """The counts since an hour, added up over periods of several hours.

        :param since: in hours since the epoch, a multiple of ``hours``.
        :param hours: the length of a period.
        :returns: a Deferred of the counts, by the period's first hour and the kind of event.
        """

    def prune_statistics(before: int, limit: int) -> Deferred[int]:
        """Delete the counts of up to ``limit`` earlier hours, and say how many hours they were.

        :param before: in hours since the epoch.
        """

    def totals(now: int) -> Deferred[Totals]:
        """How many clients, scopes, users and unexpired sessions there are.

        Each count is `MAX_COUNTED` plus one where there are more than `MAX_COUNTED`.

        :param now: in seconds since the epoch.
        """


class IRegistry(
    IClients,
    IScopes,
    IUsers,
    ISessions,
    ISecondFactors,
    ILogoutNotices,
    IThrottles,
    ILeases,
    IKeys,
    ISubjects,
    IAudit,
    IStatistics,
):
    """All that a server keeps, except grants and tokens.

    Each verb is one atomic step, and fails as those of `ITokenStore` do.
    """
