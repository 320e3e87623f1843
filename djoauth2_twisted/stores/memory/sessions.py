"""Sessions of browsers."""

from __future__ import annotations

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from zope.interface import implementer

from ...interfaces import ISessions
from ...models import Session
from .tables import Tables, add


@implementer(ISessions)
class MemorySessions(Tables):
    """`ISessions` in memory."""

    def add_session(self, session: Session, most: int | None = None) -> Deferred[None]:
        return maybeDeferred(self._add_session, session, most)

    def _add_session(self, session: Session, most: int | None) -> None:
        add(self._sessions, session.digest, session, "session")
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
        refused = user is not None and (user.disabled or user.subject != session.owner.subject)
        return succeed(None if refused else session)

    def end_session(self, session_digest: bytes) -> Deferred[None]:
        self._sessions.pop(session_digest, None)
        return succeed(None)

    def end_sessions(self, username: str, keep: bytes | None = None) -> Deferred[None]:
        for session in list(self._sessions.values()):
            if session.owner.username == username and session.digest != keep:
                del self._sessions[session.digest]
        return succeed(None)

    def sessions_of(self, username: str, now: int, limit: int) -> Deferred[list[Session]]:
        mine = [s for s in self._sessions.values() if s.owner.username == username and now < s.expires]
        return succeed(sorted(mine, key=lambda s: (s.expires, s.digest), reverse=True)[:limit])

    def prune_sessions(self, now: int, limit: int) -> Deferred[int]:
        expired = [session for session in self._sessions.values() if session.expires <= now][:limit]
        for session in expired:
            del self._sessions[session.digest]
        return succeed(len(expired))
