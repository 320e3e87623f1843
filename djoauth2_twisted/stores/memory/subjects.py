"""Subjects of users from elsewhere, and of users who were deleted."""

from __future__ import annotations

from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from ...errors import AlreadyExists
from ...interfaces import ISubjects
from .tables import Tables


@implementer(ISubjects)
class MemorySubjects(Tables):
    """`ISubjects` in memory."""

    def subject_of(self, username: str, proposed: str) -> Deferred[str]:
        for subject, name in self._subjects.items():
            if name == username:
                return succeed(subject)
        if proposed in self._subjects:
            return fail(AlreadyExists())
        self._subjects[proposed] = username
        return succeed(proposed)

    def note_deleted(self, subject: str) -> Deferred[None]:
        self._subjects[subject] = None
        return succeed(None)

    def was_deleted(self, subject: str) -> Deferred[bool]:
        return succeed(self._subjects.get(subject, "") is None)
