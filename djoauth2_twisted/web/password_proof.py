"""Asks a user who is logged in for the password again, within limits."""

from __future__ import annotations

from attrs import frozen
from twisted.web.iweb import IRequest

from ..conf import Settings
from ..errors import RegistrationError, TemporarilyUnavailable
from ..messages import Message
from ..models import Limit, User
from ..passwords import ACQUAINTANCES, PasswordThreads, Turn
from ..protocol import precis
from .reading import throttle_key_of
from .throttle import Attempts, ThrottleKey


class WrongPassword(RegistrationError):
    """The password that a user has typed again is wrong."""

    def __init__(self) -> None:
        super().__init__(Message("the password is wrong"))


@frozen
class PasswordProof:
    """Checks a password that is typed again."""

    settings: Settings
    passwords: PasswordThreads
    attempts: Attempts

    async def check(self, request: IRequest, user: User, typed: str) -> None:
        """Check a password. An attempt counts as a guess until the password has proved right.

        :raises WrongPassword: it is wrong.
        :raises TooManyRequests: too many were.
        """
        limits = self._limits(throttle_key_of(request), precis.folded(user.username))
        await self.attempts.begin(limits)
        turn = Turn(ACQUAINTANCES, user.username)
        try:
            right = await self.passwords.verify(user.password_hash, typed, turn)
        except TemporarilyUnavailable:
            await self.attempts.give_back(limits)
            raise
        if right is None:
            raise WrongPassword()
        await self.attempts.give_back(limits)

    def _limits(self, address: str, identity: str) -> dict[ThrottleKey, Limit]:
        # The limits of the login page have other keys: guesses by strangers lock out no user here.
        return {
            ("guess after login", address, identity): Limit(self.settings.max_wrong_passwords),
            ("guess at an account after login", identity): Limit(
                self.settings.max_wrong_passwords_per_account, 3600
            ),
        }

    async def hash(self, password: str, username: str) -> str:
        """Hash a new password, in the turn of its user."""
        return await self.passwords.rehash(password, Turn(ACQUAINTANCES, username))
