"""Finding the user whom a typed name means."""

from __future__ import annotations

from .interfaces import IUsers
from .models import User
from .protocol import precis

#: Of how many groups of names that are alike the operator is warned at once.
MAX_NAMESAKES = 20


async def find_typed(users: IUsers, typed: str) -> User | None:
    """The user whom a typed name means, in any case and Unicode form; disabled or not."""
    name = precis.username(typed)
    if not name.isprintable() or not 0 < len(name.encode("utf-8")) <= precis.MAX_NAME_LENGTH:
        return None
    return precis.choose(typed, await users.users_alike(typed))


def warning_of(namesakes: list[str]) -> str:
    """A line for the operator about names that differ only in case or Unicode form."""
    # In ASCII, as two Unicode forms of a name look the same.
    names = ", ".join(map(ascii, namesakes))
    return f"These users must log in with exactly their names, which are alike otherwise: {names}"
