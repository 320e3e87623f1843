"""Users."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import attrs
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from zope.interface import implementer

from ...errors import ChangedMeanwhile, LastAdmin
from ...interfaces import MAX_SEARCHED, IUsers
from ...models import Found, Page, User
from ...protocol.precis import folded
from .tables import Tables, add, contains, require, update


@implementer(IUsers)
class MemoryUsers(Tables):
    """`IUsers` in memory."""

    def add_user(self, user: User) -> Deferred[None]:
        return maybeDeferred(self._add_user, user)

    def _add_user(self, user: User) -> None:
        add(self._folded_names, folded(user.username), user.username, "user")
        self._users[user.username] = user

    def find_user(self, username: str) -> Deferred[User | None]:
        return succeed(self._users.get(username))

    def users_alike(self, username: str) -> Deferred[list[User]]:
        found = self._folded_names.get(folded(username))
        return succeed([] if found is None else [self._users[found]])

    def namesakes(self, limit: int) -> Deferred[list[list[str]]]:
        return succeed([])

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
        if keep_admin and not is_admin(user):
            self._keep_admin(user.username)
        stored = self._users.get(user.username, user)
        if user.username in self._users and instead_of not in (None, stored.password_hash):
            raise ChangedMeanwhile()
        user = attrs.evolve(user, subject=stored.subject)
        update(self._users, user.username, user, "user", only)

    def delete_user(self, username: str, keep_admin: bool = False) -> Deferred[None]:
        return maybeDeferred(self._delete_user, username, keep_admin)

    def _delete_user(self, username: str, keep_admin: bool) -> None:
        if keep_admin:
            self._keep_admin(username)
        require(self._users, username, "user")
        subject = self._users.pop(username).subject
        self._subjects[subject] = None
        self._second_factors.pop(subject, None)
        del self._folded_names[folded(username)]
        for session in list(self._sessions.values()):
            if session.owner.username == username:
                del self._sessions[session.digest]

    def _keep_admin(self, username: str) -> None:
        """Raise `LastAdmin` where no other user may administer."""
        if [user.username for user in self._users.values() if is_admin(user)] == [username]:
            raise LastAdmin()

    def users(self, page: Page) -> Deferred[list[User]]:
        found = self._users_after(*page.after)
        return succeed(found[page.offset : page.offset + page.size])

    def _users_after(self, name: Any = "") -> list[User]:
        users = sorted(self._users.values(), key=lambda user: user.username)
        return [user for user in users if user.username > name]

    def search_users(
        self, text: str, after: str, limit: int, most: int = MAX_SEARCHED
    ) -> Deferred[Found]:
        searched = self._users_after(after)[:most]
        found = [
            each
            for each in searched
            if contains(text, each.username, f"{each.first_name} {each.last_name}", each.email)
        ][:limit]
        reached = found if len(found) == limit else searched if len(searched) == most else []
        return succeed(Found(found, reached[-1].username if reached else ""))


def is_admin(user: User) -> bool:
    """Whether a user may administer."""
    return user.admin and not user.disabled
