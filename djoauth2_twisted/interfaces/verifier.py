"""Verifying access tokens: the user, the token and the verifier."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias, TypeVar, overload

from zope.interface import Attribute, Interface, classImplements

from ..models import AccessToken, ResourceOwner

if TYPE_CHECKING:
    from collections.abc import Collection

    from twisted.internet.defer import Deferred
    from twisted.web.server import Request
    from zope.interface.interface import InterfaceClass

_T = TypeVar("_T")


class IResourceOwner(Interface):
    """The user who is logged in (RFC 6749, section 1.1): the avatar that a Portal is asked for."""

    username = Attribute("The name, which is unique among all users. (str)")
    first_name = Attribute("Where known. (str)")
    last_name = Attribute("Where known. (str)")
    email = Attribute("Where known. (str)")
    subject = Attribute("An id that no other user ever gets, unlike the name; where known. (str)")
    email_verified = Attribute("Whether the email address was shown to be the user's. (bool)")
    auth_time = Attribute("When the user logged in, in seconds since the epoch; where known. (int)")


if TYPE_CHECKING:

    class _AccessTokenInterface(InterfaceClass):
        """What a type checker must know of `IAccessToken`, as most cannot read an interface."""

        @overload  # type: ignore[override]
        def __call__(self, obj: object) -> AccessToken: ...

        @overload
        def __call__(self, obj: object, alternate: _T) -> AccessToken | _T: ...

        def __call__(self, obj: object, alternate: object = None) -> object: ...

    IAccessToken: _AccessTokenInterface
else:

    class IAccessToken(Interface):
        """The valid access token of a guarded request: ``IAccessToken(request)``."""

        client_id = Attribute("The client that it was issued to. (str)")
        user = Attribute("The resource owner who authorized the client. (IResourceOwner)")
        scopes = Attribute("The scopes that it covers. (tuple of str)")
        issued = Attribute("When it was issued, in seconds since the epoch. (int)")
        expires = Attribute("From when on it is refused, in seconds since the epoch. (int)")
        grant_id = Attribute("The grant that it belongs to; not a secret. (str)")

        def has_scope(*names: str) -> bool:
            """Whether the token covers all of the scopes named."""


class ITokenVerifier(Interface):
    """Says whether an access token is valid, wherever it was issued."""

    def verify(token: str, scopes: tuple[str, ...]) -> Deferred[AccessToken]:
        """Judge an access token.

        :param token: as the client sent it.
        :param scopes: the token must cover all of them.
        :returns: a Deferred of the `AccessToken`. It fails with `InvalidToken` or `InsufficientScope`;
            with `TemporarilyUnavailable` where the verifier cannot decide for now, within a deadline of
            its own, since the caller waits; with `TooManyRequests` where unknown tokens come too often.

        A verifier may name a third parameter, ``address: str | None = None``. It is then called with
        the network address that the token was sent from.
        """


class IRecallingVerifier(Interface):
    """A verifier that knows without waiting whether some access tokens are valid.

    A guard asks it first, and `ITokenVerifier.verify` if the answer is None. A subclass that defines
    its own ``verify`` is asked by that alone.
    """

    def recall(token: str) -> AccessToken | None:
        """The access token, if it is known to be valid now. Its scopes are not checked.

        :returns: None if the token is not known, and while no request can be served.
        :raises InvalidToken: the token is known to be invalid.
        """

    def enter() -> None:
        """Guarded code is about to run for a request whose token was recalled."""

    def leave(request: Request) -> None:
        """The guarded code has returned. The request is counted until its answer has ended."""


class Verifier(Protocol):
    """What provides `ITokenVerifier`, for type checkers that cannot read an interface."""

    def verify(self, token: str, scopes: tuple[str, ...]) -> Deferred[AccessToken]:
        """Judge an access token; see `ITokenVerifier`."""


#: The type of an argument that must provide `ITokenVerifier`.
AnyVerifier: TypeAlias = "ITokenVerifier | Verifier"


class IRequestCounter(Interface):
    """A verifier that finishes the requests in flight before it stops."""

    def begin_request(request: Request) -> bool:
        """Count a request until it ends. False if the verifier takes no new requests now.

        A request that is counted already may be counted again.
        """


class IResourceServer(Interface):
    """What a guard needs of its verifier, in addition to `ITokenVerifier`.

    A verifier need not provide it. Its guards then use its attribute ``settings`` where that is a
    `Settings`, and refuse an ``address``.
    """

    settings = Attribute("``realm`` and ``ssl_only`` are those of the guards. (Settings)")

    def note_scopes(scopes: Collection[str]) -> None:
        """Note that a guard asks for scopes, so that those that do not exist can be reported."""

    def publish_metadata(address: str, scopes: tuple[str, ...]) -> None:
        """Publish the metadata of a protected resource (RFC 9728).

        :param address: the public address of the resource.
        :param scopes: those that a guard asks for.
        :raises ConfigurationError: there is no place to publish it.
        """


classImplements(ResourceOwner, IResourceOwner)
classImplements(AccessToken, IAccessToken)  # type: ignore[misc]
