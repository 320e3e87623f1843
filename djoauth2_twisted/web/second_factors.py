"""The second factors of users of the database: setting one up, and checking its codes."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Awaitable
from typing import Any

import segno
from attrs import frozen
from markupsafe import Markup
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.web.iweb import IRequest

from ..conf import Settings
from ..errors import (
    AlreadyExists,
    ConfigurationError,
    RegistrationError,
    TemporarilyUnavailable,
)
from ..interfaces import IRegistry
from ..key_file import CannotUnseal, KeyFile, ServerKeys
from ..messages import Message
from ..models import Limit, SecondFactor, User
from ..protocol import precis
from ..protocol import second_factor as rules
from ..protocol.second_factor import Secrets
from .devices import Devices
from .reading import throttle_key_of
from .sessions import FORM_LIFETIME, Browser
from .throttle import Attempts, ThrottleKey

#: How many wrong codes there may be for one user in an hour: of a million codes, three are good.
CODES_PER_ACCOUNT = Limit(20, 3600)

#: The same from all browsers together in which the user has logged in before. Someone who knows the
#: password may have made many of them before there was a second factor.
CODES_WITH_DEVICES = Limit(40, 3600)

_log = Logger()


class WrongCode(RegistrationError):
    """The code is wrong, too old, or was used before."""

    def __init__(self) -> None:
        super().__init__(Message("The code is wrong, or was used before."))


@frozen
class SecondFactors:
    """Sets second factors up, and checks their codes.

    :param site: the name of the server in authenticator applications.
    """

    settings: Settings
    clock: IReactorTime
    registry: IRegistry
    keys: ServerKeys
    attempts: Attempts
    devices: Devices
    site: str

    @property
    def can_be_set_up(self) -> bool:
        """Whether there is a key file, or one can be made."""
        return self.keys.path is not None

    def is_required_of(self, user: User) -> bool:
        """Whether a user must have a second factor."""
        required = self.settings.require_second_factor
        return required == "all" or (required == "admins" and user.admin)

    async def of(self, user: User) -> SecondFactor | None:
        """The second factor of a user."""
        factor: SecondFactor | None = await self.registry.find_second_factor(user.subject)
        return factor

    # Setting one up. Until the first code has proved that the application has the secret, only the
    # page knows it, sealed for this browser and user.

    def new_secrets(self) -> Secrets:
        """Secrets from the operating system's random source."""
        shared = secrets.token_bytes(rules.SECRET_LENGTH)
        return Secrets(shared, secrets.token_bytes(rules.RECOVERY_KEY_LENGTH))

    def seal_new(self, browser: Browser, user: User, new: Secrets) -> str:
        """New secrets as a hidden field of the form that asks for the first code."""
        until = int(self.clock.seconds()) + FORM_LIFETIME
        packed = base64.b64encode(new.packed()).decode("ascii")
        content = json.dumps([packed, until]).encode("ascii")
        sealed = self.key_file().seal(content, _of_form(browser, user))
        return base64.urlsafe_b64encode(sealed).decode("ascii")

    def unseal_new(self, browser: Browser, user: User, text: str) -> Secrets | None:
        """The secrets of `seal_new`; None where they are of another form or too old."""
        try:
            sealed = base64.urlsafe_b64decode(text.encode("ascii"))
            content = self.key_file().unseal(sealed, _of_form(browser, user))
        except (ValueError, CannotUnseal):
            return None
        packed, until = json.loads(content)
        return Secrets.unpacked(base64.b64decode(packed)) if self.clock.seconds() < until else None

    def context(self, user: User, new: Secrets) -> dict[str, Any]:
        """What a page shows of new secrets: as a QR code and as text."""
        drawn = segno.make(new.uri(user.username, self.site), error="m")
        svg = drawn.svg_inline(omitsize=True, light="white", svgclass="qr", lineclass=None)
        return {"qr": Markup(svg), "secret": new.text}  # noqa: S704 (made of numbers alone)

    async def add(self, user: User, new: Secrets, typed: str) -> list[str]:
        """Keep a new second factor, and return its recovery codes, which are not stored.

        :param typed: the first code.
        :raises WrongCode: it is not of these secrets.
        :raises AlreadyExists: the user has a second factor.
        """
        now = int(self.clock.seconds())
        step = new.matching_step(typed, now)
        if step is None:
            raise WrongCode()
        codes = [_new_recovery_code() for _ in range(rules.RECOVERY_CODES)]
        digests = frozenset(map(new.recovery_digest, codes))
        sealed = self.key_file().seal(new.packed(), _at_rest(user))
        try:
            await self.registry.add_second_factor(SecondFactor(user.subject, sealed, now, step, digests))
        except AlreadyExists:
            raise AlreadyExists(Message("There is a second factor already.")) from None
        return [rules.grouped(code) for code in codes]

    # Checking codes.

    async def prove(self, request: IRequest, user: User, factor: SecondFactor, typed: str) -> None:
        """Check a code, which is then used. It counts as a guess until it has proved right.

        :raises WrongCode: it is wrong, or was used before.
        :raises TooManyRequests: too many were.
        """
        found = await self._unsealed(user, factor)
        limits = await self._limits(request, user)
        await self.attempts.begin(limits)
        if not await self._use(user, found, typed):
            raise WrongCode()
        await self.attempts.give_back(limits)

    async def _use(self, user: User, found: Secrets, typed: str) -> bool:
        step = found.matching_step(typed, int(self.clock.seconds()))
        using: Awaitable[bool] = (
            self.registry.use_recovery_code(user.subject, found.recovery_digest(typed))
            if step is None
            else self.registry.use_time_step(user.subject, step)
        )
        return await using

    async def _limits(self, request: IRequest, user: User) -> dict[ThrottleKey, Limit]:
        """The limits on wrong codes. Only a person who knows the password gets here."""
        identity = precis.folded(user.username)
        device = await self.devices.find(request, user.username)
        if device is not None:
            # A browser that the user has logged in with is not locked out by others.
            return {
                ("code with a device", device, identity): CODES_PER_ACCOUNT,
                ("code with devices", identity): CODES_WITH_DEVICES,
            }
        address, most = throttle_key_of(request), self.settings.max_wrong_passwords
        return {
            ("code", address, identity): Limit(most),
            ("code at an account", identity): CODES_PER_ACCOUNT,
        }

    async def _unsealed(self, user: User, factor: SecondFactor) -> Secrets:
        keys = self.key_file(is_new=False)
        try:
            packed = keys.unseal(factor.sealed, _at_rest(user))
        except CannotUnseal as error:
            raise _unavailable(error) from None
        if not keys.is_newest(factor.sealed):
            # The key was changed. Once all are sealed again, the old one is not needed any more.
            again = keys.seal(packed, _at_rest(user))
            await self.registry.seal_again(user.subject, again, factor.sealed)
        return Secrets.unpacked(packed)

    def key_file(self, is_new: bool = True) -> KeyFile:
        """The key file.

        :param is_new: whether it may be made where there is none. What was sealed before needs the file
            that was there before.
        :raises TemporarilyUnavailable: it cannot be used; the log says why.
        """
        try:
            return self.keys.open() if is_new else self.keys.open_existing()
        except ConfigurationError as error:
            raise _unavailable(error) from None


def _unavailable(error: Exception) -> TemporarilyUnavailable:
    _log.critical("Second factors cannot be used: {reason}", reason=str(error))
    return TemporarilyUnavailable(reason="second factors cannot be used")


def _at_rest(user: User) -> bytes:
    return b"second factor\0" + user.subject.encode("utf-8")


def _of_form(browser: Browser, user: User) -> bytes:
    return b"\0".join((b"new second factor", browser.secret.encode("ascii"), user.subject.encode()))


def _new_recovery_code() -> str:
    return "".join(secrets.choice(rules.RECOVERY_ALPHABET) for _ in range(rules.RECOVERY_LENGTH))
