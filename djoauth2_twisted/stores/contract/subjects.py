"""The contract of `ISubjects`."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from ...errors import AlreadyExists
from ...interfaces import IRegistry
from .samples import CROWDS, HOSTILE, new_user
from .steps import assert_fails, at_once


class SubjectsContract:
    """What a registry promises as `ISubjects`."""

    async def test_user_from_elsewhere_keeps_the_subject(self, registry: IRegistry) -> None:
        """Each name has its own, character for character."""
        for number, name in enumerate(HOSTILE):
            assert await registry.subject_of(name, f"subject {number}") == f"subject {number}"
        for number, name in enumerate(HOSTILE):
            assert await registry.subject_of(name, "another") == f"subject {number}"

    async def test_subject_is_not_given_to_two_users(self, registry: IRegistry) -> None:
        await registry.subject_of("one", "subject")
        await assert_fails(AlreadyExists, registry.subject_of("two", "subject"))
        assert await registry.subject_of("two", "another") == "another"

    async def test_one_of_many_gives_a_name_its_subject(self, registry: IRegistry) -> None:
        """All others get the same, or try again."""
        for crowd in CROWDS:
            name = f"user {crowd}"
            asked = (_try(registry, name, f"{crowd} {number}") for number in range(crowd))
            given = set(await at_once(asked)) - {""}
            assert given == {await registry.subject_of(name, "another")}

    async def test_subject_of_a_deleted_user_is_remembered(self, registry: IRegistry) -> None:
        """Also where the name is used again, and deleted again."""
        await registry.subject_of("carol", "of carol")
        for number in range(2):
            await registry.add_user(new_user("alice", subject=f"subject {number}"))
            assert not await registry.was_deleted(f"subject {number}")
            await registry.delete_user("alice")
            assert await registry.was_deleted(f"subject {number}")
        await registry.note_deleted("of another")
        await registry.note_deleted("of another")
        assert await registry.was_deleted("of another")
        for name in ("alice", "alice again"):
            await assert_fails(AlreadyExists, registry.subject_of(name, "subject 0"))
        for subject in ("of carol", "never", "", "SUBJECT 0", "subject"):
            assert not await registry.was_deleted(subject)


def _try(registry: IRegistry, username: str, proposed: str) -> Deferred[str]:
    asking: Deferred[str] = registry.subject_of(username, proposed)
    return asking.addErrback(lambda failure: failure.trap(AlreadyExists) and "")
