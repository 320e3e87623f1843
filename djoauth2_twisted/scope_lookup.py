"""Finding the scopes of a request: those that are registered, and those of OpenID Connect."""

from __future__ import annotations

from .interfaces import IScopes
from .models import Scope
from .protocol.openid_scopes import BUILT_IN


async def find_scopes(scopes: IScopes, names: tuple[str, ...], openid: bool) -> dict[str, Scope]:
    """The scopes with these names, by name. A registered scope comes before a built-in one.

    :param openid: the setting ``OPENID``.
    """
    found = await scopes.find_scopes(names)
    if not openid:
        return found
    return {name: scope for name, scope in BUILT_IN.items() if name in names} | found


async def names_of_scopes(scopes: IScopes, openid: bool) -> list[str]:
    """The names of all scopes, sorted.

    :param openid: the setting ``OPENID``.
    """
    names = {scope.name for scope in await scopes.scopes()}
    return sorted(names | BUILT_IN.keys() if openid else names)
