"""A token verifier that knows the access tokens that a test has granted, and no others."""

from __future__ import annotations

from twisted.internet.defer import Deferred, execute, fail
from twisted.internet.task import Clock
from zope.interface import implementer

from ..credentials import random_string
from ..errors import DJOAuthError
from ..interfaces import ITokenVerifier
from ..models import AccessToken, ResourceOwner
from ..protocol.bearer import check_token

#: The time at which the clocks of tests begin, in seconds since the epoch.
START = 1_700_000_000


def memory_clock() -> Clock:
    """A clock at `START`. It stands still until the test calls ``advance(seconds)``."""
    clock = Clock()
    clock.rightNow = float(START)
    return clock


@implementer(ITokenVerifier)
class GrantingVerifier:
    """Verifies the tokens that `grant` has made, by the same rules as the server's own verifier::

        verifier = GrantingVerifier()
        token = verifier.grant("alice", "user_info")

    Any other token is refused with `InvalidToken`, as an expired one is, and a token with too little
    scope with `InsufficientScope`.

    :param clock: the time at which tokens expire; a `memory_clock` by default.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock = clock or memory_clock()
        #: While it is set, every look-up fails with it: `TemporarilyUnavailable()`, for instance.
        self.error: DJOAuthError | None = None
        #: Each token that was asked for, with the scopes that it must cover.
        self.asked: list[tuple[str, tuple[str, ...]]] = []
        self._tokens: dict[str, AccessToken] = {}

    def grant(
        self,
        user: str | ResourceOwner,
        *scopes: str,
        client_id: str = "a-client",
        lifetime: int = 3600,
    ) -> str:
        """A new access token.

        :param user: the name of the resource owner, or a `ResourceOwner` with a profile.
        :param scopes: what the token covers.
        :param client_id: the client that it was issued to.
        :param lifetime: in seconds.
        """
        owner = user if isinstance(user, ResourceOwner) else ResourceOwner(user)
        token, now = random_string(30), int(self.clock.seconds())
        self._tokens[token] = AccessToken(
            client_id=client_id,
            user=owner,
            scopes=scopes,
            issued=now,
            expires=now + lifetime,
            grant_id=random_string(22),
        )
        return token

    def revoke(self, token: str) -> None:
        """End an access token. It is refused from now on."""
        del self._tokens[token]

    def verify(self, token: str, scopes: tuple[str, ...]) -> Deferred[AccessToken]:
        """Judge an access token; see `ITokenVerifier`."""
        self.asked.append((token, scopes))
        if self.error is not None:
            return fail(self.error)
        return execute(check_token, self._tokens.get(token), scopes, int(self.clock.seconds()))
