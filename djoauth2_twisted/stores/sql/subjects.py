"""`ISubjects` on SQL: the table ``djoauth2_subject``."""

from __future__ import annotations

import sqlalchemy as sa
from twisted.internet.defer import Deferred
from zope.interface import implementer

from ...interfaces import ISubjects
from . import schema, statements
from .database import OnDatabase


@implementer(ISubjects)
class SQLSubjects(OnDatabase):
    """The subjects. Each verb is one step; the steps are the functions below the class."""

    def subject_of(self, username: str, proposed: str) -> Deferred[str]:
        return Deferred.fromCoroutine(self._subject_of(username, proposed))

    async def _subject_of(self, username: str, proposed: str) -> str:
        # Nearly always it is there, and a reader finds it.
        found = await self.database.read(_find, username)
        if found is None:
            found = await self.database.write(_keep, username, proposed, key=username)
        return found

    def note_deleted(self, subject: str) -> Deferred[None]:
        return self.database.write(note_deleted, subject, key=subject)

    def was_deleted(self, subject: str) -> Deferred[bool]:
        return self.database.read(_was_deleted, subject)


_subject = schema.subject


def _find(connection: sa.Connection, username: str) -> str | None:
    return connection.scalar(sa.select(_subject.c.subject).where(_subject.c.username == username))


def _keep(connection: sa.Connection, username: str, proposed: str) -> str:
    found = _find(connection, username)
    if found is not None:
        return found
    statements.insert(connection, _subject, {"subject": proposed, "username": username})
    return proposed


def _was_deleted(connection: sa.Connection, subject: str) -> bool:
    wanted = sa.select(_subject.c.subject)
    deleted = wanted.where(_subject.c.subject == subject, _subject.c.username.is_(None))
    return connection.execute(deleted).first() is not None


def note_deleted(connection: sa.Connection, subject: str) -> None:
    """Note that the user of a subject is deleted."""
    changed = sa.update(_subject).where(_subject.c.subject == subject).values(username=None)
    known = sa.select(_subject.c.subject).where(_subject.c.subject == subject)
    # MySQL counts only rows that have changed.
    if connection.execute(changed).rowcount == 0 and connection.execute(known).first() is None:
        statements.insert(connection, _subject, {"subject": subject, "username": None})
