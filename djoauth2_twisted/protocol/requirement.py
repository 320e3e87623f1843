"""What a guard requires of an access token: scopes, alternatives, and either of them by method."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from attrs import frozen

from ..errors import ConfigurationError, InsufficientScope, InvalidToken, MethodNotAllowed
from ..models import AccessToken
from .scopes import is_scope_token


@frozen
class AnyOf:
    """Alternative sets of scopes, of which a token must cover one; see `any_of`."""

    alternatives: tuple[tuple[str, ...], ...]

    @property
    def in_any_case(self) -> tuple[str, ...]:
        """The scopes to ask a verifier for. It does not know alternatives, so several mean none."""
        return self.alternatives[0] if len(self.alternatives) == 1 else ()

    def is_covered(self, scopes: Collection[str]) -> bool:
        """Whether scopes cover one of the alternatives."""
        for alternative in self.alternatives:
            for name in alternative:
                if name not in scopes:
                    break
            else:
                return True
        return False

    def check(self, token: AccessToken | None) -> AccessToken:
        """Check the scopes of a token, in case that the verifier ignored them.

        :param token: what the verifier found.
        :raises InvalidToken: it is None.
        :raises InsufficientScope: it covers no alternative. The error names the first one.
        """
        if token is None:
            raise InvalidToken()
        if not self.is_covered(token.scopes):
            raise InsufficientScope(self.alternatives[0])
        return token


def any_of(*alternatives: str | Iterable[str]) -> AnyOf:
    """Scopes of which one is enough, or sets of scopes of which a token must cover one::

        any_of("read", "admin")
        any_of(("read", "list"), ("admin",))

    A refusal names the first alternative, so this should be the one with the fewest permissions.

    :raises ConfigurationError: there is no alternative, or a scope's name is not valid.
    """
    if not alternatives:
        raise ConfigurationError("any_of() needs at least one scope")
    return AnyOf(tuple(_names((each,) if isinstance(each, str) else each) for each in alternatives))


Scopes = Iterable[str | AnyOf] | AnyOf


@frozen
class Requirement:
    """What a guard requires: the same for every method, or different scopes by method."""

    everywhere: AnyOf | None
    by_method: Mapping[str, AnyOf]

    @property
    def scopes(self) -> tuple[str, ...]:
        """All scopes that occur, each once."""
        demands = self.by_method.values() if self.everywhere is None else [self.everywhere]
        return tuple(dict.fromkeys(n for each in demands for names in each.alternatives for n in names))

    @property
    def methods(self) -> tuple[str, ...]:
        """The allowed methods; empty if every method is allowed."""
        # RFC 9110, section 9.3.2: HEAD is GET without the content.
        head = ("HEAD",) if "GET" in self.by_method and "HEAD" not in self.by_method else ()
        return (*self.by_method, *head)

    def _find(self, method: str) -> AnyOf | None:
        if method == "HEAD" and method not in self.by_method:
            method = "GET"
        return self.everywhere or self.by_method.get(method)

    def asked(self, method: str) -> tuple[str, ...]:
        """The scopes that the verifier is asked for."""
        demand = self._find(method)
        return () if demand is None else demand.in_any_case

    def demand(self, method: str) -> AnyOf:
        """What a token must cover for a method.

        :raises MethodNotAllowed: there are scopes by method, but not for this one.
        """
        demand = self._find(method)
        if demand is None:
            raise MethodNotAllowed(*self.methods)
        return demand


def requirement_of(scopes: Scopes | Mapping[str, Scopes]) -> Requirement:
    """The requirement for the argument ``scopes`` of a guard.

    :raises ConfigurationError: the name of a scope or method is not valid.
    """
    if not isinstance(scopes, Mapping):
        return Requirement(demand_of(scopes), {})
    if not scopes:
        raise ConfigurationError("scopes by method must name a method")
    return Requirement(None, {_method(name): demand_of(each) for name, each in scopes.items()})


def demand_of(scopes: Scopes) -> AnyOf:
    """The alternatives for scopes. Scopes that are all required make one alternative.

    :raises ConfigurationError: a scope's name is not valid.
    :raises TypeError: the scopes are a str or a mapping.
    """
    if isinstance(scopes, AnyOf):
        return scopes
    if isinstance(scopes, (str, Mapping)):
        # A str would be taken letter by letter, a mapping by its methods.
        raise TypeError('scopes must be a sequence of names, like ("user_info",)')
    given: tuple[Any, ...] = tuple(scopes)
    if len(given) == 1 and isinstance(given[0], AnyOf):
        return given[0]
    return AnyOf((_names(given),))


def _names(scopes: Iterable[Any]) -> tuple[str, ...]:
    names = tuple(scopes)
    for name in names:
        if not isinstance(name, str) or not is_scope_token(name):
            raise ConfigurationError(
                f"{name!r} is not a scope: write a str of printable ASCII without space, quote or \\"
            )
    return names


def _method(name: object) -> str:
    # RFC 9110, section 9.1: "The method token is case-sensitive"; all registered ones are in capitals.
    if not isinstance(name, str) or not name.isascii() or not name.isalpha() or not name.isupper():
        raise ConfigurationError(f"{name!r} is not a method: write 'GET'")
    return name
