"""Subjects: the permanent identifiers of users (OpenID Connect Core 1.0, section 2)."""

from __future__ import annotations

from .credentials import random_string
from .errors import AlreadyExists, TemporarilyUnavailable
from .interfaces import ISubjects

#: The length of a subject, in characters. It has more than 128 random bits.
SUBJECT_LENGTH = 22

#: How often a subject is drawn. Two processes may give one name its subject at the same moment.
MAX_DRAWS = 3


def new_subject() -> str:
    """A subject for a new user. No other user ever has it."""
    return random_string(SUBJECT_LENGTH)


async def subject_of(subjects: ISubjects, username: str) -> str:
    """The subject of a user from elsewhere, who gets one at the first login."""
    for _ in range(MAX_DRAWS):
        try:
            return await subjects.subject_of(username, new_subject())
        except AlreadyExists:
            continue
    raise TemporarilyUnavailable()
