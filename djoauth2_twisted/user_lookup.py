"""Finding the user whom a typed name means."""

from __future__ import annotations

from .interfaces import IUsers
from .models import User
from .protocol import precis


async def find_typed(users: IUsers, typed: str) -> User | None:
    """The user whom a typed name means, in any case and Unicode form; disabled or not."""
    name = precis.username(typed)
    if not name.isprintable() or not 0 < len(name.encode("utf-8")) <= precis.MAX_NAME_LENGTH:
        return None
    return precis.choose(typed, await users.users_alike(typed))
