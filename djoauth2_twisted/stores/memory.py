"""A store in memory: the plainest form of the contract, for tests and trials. It forgets at exit."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Hashable, Mapping
from typing import Any, TypeVar

import attrs
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from zope.interface import implementer

from ..errors import AlreadyExists, ChangedMeanwhile, LastAdmin, NotFound
from ..interfaces import MAX_COUNTED, MAX_SEARCHED, IInvalidationFeed, IRegistry, ITokenStore
from ..models import (
    AccessToken,
    Client,
    CodeProof,
    Event,
    Found,
    Grant,
    GrantFilter,
    Image,
    Issuance,
    Issued,
    Limit,
    Outcome,
    Page,
    Pruned,
    RefreshProof,
    Replayed,
    Scope,
    Session,
    TokenPair,
    Totals,
    User,
)
from ..protocol import attempts
from ..protocol import grants as rules
from .bound import ENDED_AT_ONCE, tell_of_ended
from .invalidation import InvalidationFeed

_K = TypeVar("_K")
_V = TypeVar("_V")


@implementer(ITokenStore, IInvalidationFeed)
class MemoryTokenStore:
    """Grants and tokens in dictionaries. A step is atomic because nothing in it waits."""

    def __init__(self) -> None:
        self._grants: dict[str, Grant] = {}
        self._codes: dict[bytes, str] = {}
        self._families: dict[bytes, str] = {}
        #: The live pair of each grant, by both of its tokens and by the grant.
        self._pairs: dict[bytes, TokenPair] = {}
        self._refresh: dict[bytes, TokenPair] = {}
        self._live: dict[str, TokenPair] = {}
        #: Pairs whose answer is kept, by the refresh token used for them, and until when.
        self._retries: dict[bytes, tuple[TokenPair, int]] = {}
        self._feed = InvalidationFeed()

    def partition(self, grant_id: str) -> Hashable:
        return grant_id

    def subscribe(self, invalidate: Callable[..., None]) -> None:
        self._feed.subscribe(invalidate)

    def is_current(self) -> bool:
        return self._feed.is_current()

    def add_code(self, grant: Grant, most: int | None = None) -> Deferred[bool]:
        if grant.id in self._grants or grant.code_digest in self._codes:
            return succeed(False)
        if most is not None:
            self._make_room(grant, most)
        self._grants[grant.id] = grant
        self._codes[grant.code_digest] = grant.id
        return succeed(True)

    def _make_room(self, grant: Grant, most: int) -> None:
        others = self._good(GrantFilter(grant.owner.username, grant.client_id))
        others.sort(key=lambda other: (other.last_used, other.id))
        beyond = [other.id for other in others[: max(len(others) + 1 - most, 0)]][:ENDED_AT_ONCE]
        for grant_id in beyond:
            self._revoke(grant_id)
        tell_of_ended(grant, beyond)

    def redeem_code(self, code_digest: bytes, proof: CodeProof, issuance: Issuance) -> Deferred[Outcome]:
        grant = self._grants.get(self._codes.get(code_digest, ""))
        return maybeDeferred(self._apply, rules.judge_code(grant, proof, issuance), issuance)

    def rotate_refresh_token(
        self, refresh_digest: bytes, proof: RefreshProof, issuance: Issuance
    ) -> Deferred[Outcome]:
        presented = self._refresh.get(refresh_digest)
        grant = self._grant_of(presented, issuance.family_digest)
        successor, _ = self._retries.get(refresh_digest, (None, 0))
        outcome = rules.judge_refresh(grant, presented, successor, proof, issuance)
        return maybeDeferred(self._apply, outcome, issuance)

    def _grant_of(self, pair: TokenPair | None, family_digest: bytes | None) -> Grant | None:
        grant_id = self._families.get(family_digest or b"") if pair is None else pair.grant_id
        return self._grants.get(grant_id or "")

    def _apply(self, outcome: Outcome, issuance: Issuance) -> Outcome:
        match outcome:
            case Issued(grant, pair):
                family = issuance.family_digest
                if family is not None and self._families.setdefault(family, grant.id) != grant.id:
                    raise AlreadyExists()
                self._grants[grant.id] = grant
                if self._forget_pair(grant.id):
                    self._feed.publish([grant.id])
                self._keep(pair)
                if rules.keeps_answer(pair, issuance):
                    self._retries[pair.predecessor or b""] = pair, issuance.now + issuance.retry_seconds
            case Replayed(grant):
                self._grants[grant.id] = grant
                self._feed.publish([grant.id])
        return outcome

    def _keep(self, pair: TokenPair) -> None:
        self._live[pair.grant_id] = self._pairs[pair.access_digest] = pair
        if pair.refresh_digest is not None:
            self._refresh[pair.refresh_digest] = pair

    def _forget_pair(self, grant_id: str) -> bool:
        pair = self._live.pop(grant_id, None)
        if pair is None:
            return False
        del self._pairs[pair.access_digest]
        self._refresh.pop(pair.refresh_digest or b"", None)
        self._retries.pop(pair.predecessor or b"", None)
        return True

    def find_access_token(self, access_digest: bytes) -> Deferred[AccessToken | None]:
        pair = self._pairs.get(access_digest)
        if pair is None:
            return succeed(None)
        return succeed(rules.access_token(self._grants[pair.grant_id], pair))

    def revoke(
        self, token_digest: bytes, client_id: str, family_digest: bytes | None = None
    ) -> Deferred[Grant | None]:
        by_access = self._pairs.get(token_digest)
        grant = self._grant_of(by_access or self._refresh.get(token_digest), family_digest)
        if grant is None or grant.client_id != client_id:
            return succeed(None)
        if by_access:
            self._keep(attrs.evolve(by_access, access_revoked=True))
            self._feed.publish([grant.id])
        else:
            self._revoke(grant.id)
        return succeed(self._grants[grant.id])

    def _revoke(self, grant_id: str) -> None:
        self._grants[grant_id] = rules.revoked(self._grants[grant_id])
        self._feed.publish([grant_id])

    def revoke_grant(self, grant_id: str) -> Deferred[bool]:
        grant = self._grants.get(grant_id)
        if grant is None or grant.revoked:
            return succeed(False)
        self._revoke(grant_id)
        return succeed(True)

    def revoke_grants(
        self, username: str | None = None, client_id: str | None = None, scope: str | None = None
    ) -> Deferred[int]:
        ending = self._with(username, client_id, scope)
        for grant in ending:
            self._revoke(grant.id)
        return succeed(len(ending))

    def _with(self, username: str | None, client_id: str | None, scope: str | None) -> list[Grant]:
        found = self._good(GrantFilter(username, client_id))
        return [grant for grant in found if scope is None or scope in grant.scopes]

    def end_refresh_tokens(self, username: str) -> Deferred[None]:
        for grant in self._good(GrantFilter(username=username)):
            if grant.code_used:
                self._grants[grant.id] = attrs.evolve(grant, refresh_ended=True)
            else:
                self._revoke(grant.id)
        return succeed(None)

    def _good(self, filter: GrantFilter) -> list[Grant]:
        return [
            grant
            for grant in self._grants.values()
            if not grant.revoked
            and filter.username in (None, grant.owner.username)
            and filter.client_id in (None, grant.client_id)
        ]

    def grants(self, filter: GrantFilter, page: Page) -> Deferred[list[Grant]]:
        found = sorted(self._good(filter), key=lambda grant: (grant.created, grant.id))
        return succeed(found[page.offset : page.offset + page.size])

    def clients_of(self, username: str, after: str, limit: int) -> Deferred[list[str]]:
        found = {grant.client_id for grant in self._good(GrantFilter(username=username))}
        return succeed(sorted(each for each in found if each > after)[:limit])

    def find_grant(self, grant_id: str) -> Deferred[Grant | None]:
        grant = self._grants.get(grant_id)
        return succeed(None if grant is None or grant.revoked else grant)

    def count_grants(
        self, username: str | None = None, client_id: str | None = None, scope: str | None = None
    ) -> Deferred[int]:
        return succeed(min(len(self._with(username, client_id, scope)), MAX_COUNTED + 1))

    def prune(self, now: int, limit: int) -> Deferred[Pruned]:
        late = [used for used, (_, until) in self._retries.items() if until <= now][:limit]
        for used in late:
            del self._retries[used]
        left, before = limit - len(late), len(self._grants)
        for grant in [grant for grant in self._grants.values() if grant.expires <= now][:left]:
            left -= self._forget(grant, left)
        return succeed(Pruned(limit - left, before - len(self._grants)))

    def _forget(self, grant: Grant, left: int) -> int:
        """Forget the pair, then the grant, as far as there is room; how many rows these were."""
        gone = 0
        if left and self._forget_pair(grant.id):
            gone += 1
        if gone < left:
            self._families.pop(grant.family_digest or b"", None)
            del self._codes[grant.code_digest], self._grants[grant.id]
            gone += 1
        return gone


@implementer(IRegistry)
class MemoryRegistry:
    """Clients, scopes, users and logins in dictionaries."""

    def __init__(self) -> None:
        self._clients: dict[str, Client] = {}
        self._scopes: dict[str, Scope] = {}
        self._users: dict[str, User] = {}
        self._sessions: dict[bytes, Session] = {}
        self._failures: dict[bytes, tuple[float, int]] = {}
        self._leases: dict[str, tuple[str, int]] = {}
        self._images: dict[str, Image] = {}
        self._events: dict[str, Event] = {}
        self._statistics: defaultdict[int, Counter[str]] = defaultdict(Counter)

    def add_client(self, client: Client, image: Image | None = None) -> Deferred[None]:
        return maybeDeferred(self._add_client, client, image)

    def _add_client(self, client: Client, image: Image | None) -> None:
        _add(self._clients, client.client_id, client, "client")
        if image is not None:
            self._set_image(client.client_id, image)

    def find_client(self, client_id: str) -> Deferred[Client | None]:
        return succeed(self._clients.get(client_id))

    def update_client(
        self, client: Client, only: Collection[str] | None = None, instead_of: bytes | None = None
    ) -> Deferred[None]:
        return maybeDeferred(self._update_client, client, only, instead_of)

    def _update_client(
        self, client: Client, only: Collection[str] | None, instead_of: bytes | None
    ) -> None:
        image = self._images.get(client.client_id)
        client = attrs.evolve(client, image_digest=_digest_of(image))
        known = self._clients.get(client.client_id)
        if known is not None and instead_of not in (None, known.secret_digest):
            raise ChangedMeanwhile()
        _update(self._clients, client.client_id, client, "client", only)

    def delete_client(self, client_id: str) -> Deferred[None]:
        self._images.pop(client_id, None)
        return maybeDeferred(_delete, self._clients, client_id, "client")

    def set_image(self, client_id: str, image: Image | None) -> Deferred[None]:
        return maybeDeferred(self._set_image, client_id, image)

    def _set_image(self, client_id: str, image: Image | None) -> None:
        _known(self._clients, client_id, "client")
        self._images.pop(client_id, None)
        if image is not None:
            self._images[client_id] = image
        client = attrs.evolve(self._clients[client_id], image_digest=_digest_of(image))
        self._clients[client_id] = client

    def find_image(self, client_id: str) -> Deferred[Image | None]:
        return succeed(self._images.get(client_id))

    def clients(self, page: Page, search: str = "") -> Deferred[list[Client]]:
        clients = sorted(self._clients.values(), key=lambda client: (client.name, client.client_id))
        found = [each for each in clients if _contain(search, each.name, each.client_id)]
        return succeed(found[page.offset : page.offset + page.size])

    def add_scope(self, scope: Scope) -> Deferred[None]:
        return maybeDeferred(_add, self._scopes, scope.name, scope, "scope")

    def find_scopes(self, names: tuple[str, ...]) -> Deferred[dict[str, Scope]]:
        return succeed({name: self._scopes[name] for name in names if name in self._scopes})

    def update_scope(self, scope: Scope) -> Deferred[None]:
        return maybeDeferred(_update, self._scopes, scope.name, scope, "scope")

    def delete_scope(self, name: str) -> Deferred[None]:
        def forget(_: None) -> None:
            for client in self._clients.values():
                if client.scopes is not None and name in client.scopes:
                    allowed = tuple(scope for scope in client.scopes if scope != name)
                    self._clients[client.client_id] = attrs.evolve(client, scopes=allowed)

        return maybeDeferred(_delete, self._scopes, name, "scope").addCallback(forget)

    def scopes(self) -> Deferred[list[Scope]]:
        return succeed(sorted(self._scopes.values(), key=lambda scope: scope.name))

    def add_user(self, user: User) -> Deferred[None]:
        return maybeDeferred(_add, self._users, user.username, user, "user")

    def find_user(self, username: str) -> Deferred[User | None]:
        return succeed(self._users.get(username))

    def update_user(
        self,
        user: User,
        keep_admin: bool = False,
        only: Collection[str] | None = None,
        instead_of: str | None = None,
    ) -> Deferred[None]:
        return maybeDeferred(self._update_user, user, keep_admin, only, instead_of)

    def _update_user(
        self, user: User, keep_admin: bool, only: Collection[str] | None, instead_of: str | None
    ) -> None:
        if keep_admin and not _is_admin(user):
            self._keep_admin(user.username)
        kept = self._users.get(user.username, user)
        if user.username in self._users and instead_of not in (None, kept.password_hash):
            raise ChangedMeanwhile()
        user = attrs.evolve(user, subject=kept.subject)
        _update(self._users, user.username, user, "user", only)

    def delete_user(self, username: str, keep_admin: bool = False) -> Deferred[None]:
        return maybeDeferred(self._delete_user, username, keep_admin)

    def _delete_user(self, username: str, keep_admin: bool) -> Deferred[None]:
        if keep_admin:
            self._keep_admin(username)
        _delete(self._users, username, "user")
        return self.end_sessions(username)

    def _keep_admin(self, username: str) -> None:
        if self._admins() == [username]:
            raise LastAdmin()

    def _admins(self) -> list[str]:
        return [user.username for user in self._users.values() if _is_admin(user)]

    def users(self, page: Page) -> Deferred[list[User]]:
        found = self._users_after(*page.after)
        return succeed(found[page.offset : page.offset + page.size])

    def _users_after(self, name: Any = "") -> list[User]:
        users = sorted(self._users.values(), key=lambda user: user.username)
        return [user for user in users if user.username > name]

    def search_users(
        self, text: str, after: str, limit: int, most: int = MAX_SEARCHED
    ) -> Deferred[Found]:
        part = self._users_after(after)[:most]
        found = [
            each
            for each in part
            if _contain(text, each.username, f"{each.first_name} {each.last_name}", each.email)
        ][:limit]
        reached = found if len(found) == limit else part if len(part) == most else []
        return succeed(Found(found, reached[-1].username if reached else ""))

    def add_session(self, session: Session, most: int | None = None) -> Deferred[None]:
        return maybeDeferred(self._add_session, session, most)

    def _add_session(self, session: Session, most: int | None) -> None:
        _add(self._sessions, session.digest, session, "session")
        if most is not None:
            username = session.owner.username
            mine = [s for s in self._sessions.values() if s.owner.username == username]
            newest_first = sorted(mine, key=lambda s: (s is session, s.expires, s.digest), reverse=True)
            for old in newest_first[most:]:
                del self._sessions[old.digest]

    def find_session(self, session_digest: bytes, now: int) -> Deferred[Session | None]:
        session = self._sessions.get(session_digest)
        if session is None or now >= session.expires:
            return succeed(None)
        user = self._users.get(session.owner.username)
        over = user is not None and (user.disabled or user.subject != session.owner.subject)
        return succeed(None if over else session)

    def end_session(self, session_digest: bytes) -> Deferred[None]:
        self._sessions.pop(session_digest, None)
        return succeed(None)

    def end_sessions(self, username: str) -> Deferred[None]:
        for session in list(self._sessions.values()):
            if session.owner.username == username:
                del self._sessions[session.digest]
        return succeed(None)

    def count_failure(self, place: bytes, now: int, per_minute: int) -> Deferred[float]:
        level, since = self._failures.get(place, (0.0, now))
        self._failures[place] = (attempts.level(level, since, now, Limit(per_minute)) + 1, now)
        return succeed(self._failures[place][0])

    def begin_attempt(self, limits: Mapping[bytes, Limit], now: int) -> Deferred[dict[bytes, float]]:
        kept = {place: self._failures.get(place, (0.0, now)) for place in limits}
        levels = {place: attempts.level(*kept[place], now, limits[place]) for place in limits}
        waits = attempts.waits(levels, limits)
        if not waits:
            self._failures.update({place: (level + 1, now) for place, level in levels.items()})
        return succeed(waits)

    def give_back(self, places: Collection[bytes]) -> Deferred[None]:
        for place in places:
            if place in self._failures:
                level, since = self._failures[place]
                self._failures[place] = (max(0.0, level - 1), since)
        return succeed(None)

    def prune_failures(self, before: int, limit: int) -> Deferred[int]:
        old = [place for place, (_, since) in self._failures.items() if since < before][:limit]
        for place in old:
            del self._failures[place]
        return succeed(len(old))

    def acquire_lease(self, name: str, holder: str, expires: int, now: int) -> Deferred[bool]:
        other, until = self._leases.get(name, (holder, 0))
        if other != holder and until > now:
            return succeed(False)
        self._leases[name] = (holder, expires)
        return succeed(True)

    def prune_leases(self, now: int, limit: int) -> Deferred[int]:
        over = [name for name, (_, until) in self._leases.items() if until <= now][:limit]
        for name in over:
            del self._leases[name]
        return succeed(len(over))

    def prune_sessions(self, now: int, limit: int) -> Deferred[int]:
        over = [session for session in self._sessions.values() if session.expires <= now][:limit]
        for session in over:
            del self._sessions[session.digest]
        return succeed(len(over))

    def totals(self, now: int) -> Deferred[Totals]:
        alive = sum(now < session.expires for session in self._sessions.values())
        admins = len(self._admins())
        counts = len(self._clients), len(self._scopes), len(self._users), admins, alive
        return succeed(Totals(*(min(count, MAX_COUNTED + 1) for count in counts)))

    def add_event(self, event: Event) -> Deferred[None]:
        return maybeDeferred(_add, self._events, event.id, event, "event")

    def events(self, page: Page) -> Deferred[list[Event]]:
        found = sorted(self._events.values(), key=_newest_first)
        if page.after:
            time, event_id = page.after
            found = [event for event in found if _newest_first(event) > (-int(time), event_id)]
        return succeed(found[page.offset : page.offset + page.size])

    def prune_events(self, before: int, limit: int) -> Deferred[int]:
        old = [event.id for event in self._events.values() if event.time < before][:limit]
        for event_id in old:
            del self._events[event_id]
        return succeed(len(old))

    def add_statistics(self, counts: Mapping[tuple[int, str], int]) -> Deferred[None]:
        for (hour, kind), count in counts.items():
            self._statistics[hour][kind] += count
        return succeed(None)

    def statistics(self, since: int, hours: int) -> Deferred[dict[tuple[int, str], int]]:
        parts: defaultdict[int, dict[str, int]] = defaultdict(dict)
        for hour, counts in self._statistics.items():
            if hour >= since:
                part = parts[hour - hour % hours]
                for kind, count in counts.items():
                    part[kind] = part.get(kind, 0) + count
        return succeed({(first, kind): n for first in parts for kind, n in parts[first].items()})

    def prune_statistics(self, before: int, limit: int) -> Deferred[int]:
        old = sorted(hour for hour in self._statistics if hour < before)[:limit]
        for hour in old:
            del self._statistics[hour]
        return succeed(len(old))


def _digest_of(image: Image | None) -> bytes | None:
    return None if image is None else image.digest


def _contain(search: str, *texts: str) -> bool:
    return any(search.lower() in text.lower() for text in texts)


def _newest_first(event: Event) -> tuple[int, str]:
    return -event.time, event.id


def _is_admin(user: User) -> bool:
    return user.admin and not user.disabled


def _add(kept: dict[_K, _V], key: _K, value: _V, what: str) -> None:
    if key in kept:
        raise AlreadyExists(f"there is a {what} of that name")
    kept[key] = value


def _update(
    kept: dict[_K, Any], key: _K, value: Any, what: str, only: Collection[str] | None = None
) -> None:
    _known(kept, key, what)
    if only is not None:
        value = attrs.evolve(kept[key], **{name: getattr(value, name) for name in only})
    kept[key] = value


def _delete(kept: dict[_K, _V], key: _K, what: str) -> None:
    _known(kept, key, what)
    del kept[key]


def _known(kept: dict[_K, _V], key: _K, what: str) -> None:
    if key not in kept:
        raise NotFound(f"there is no such {what}")
