"""The beginning of a login, after the user has proved who he is."""

from __future__ import annotations

from attrs import field, frozen
from twisted.web.iweb import IRequest

from ..events import Events, LoggedIn
from ..models import ResourceOwner
from . import statistics
from .devices import Devices
from .reading import address_of, request_id_of
from .respond import Response
from .sessions import Browser, Sessions
from .statistics import Statistics
from .typed import carry_over


@frozen
class Proof:
    """What a user of the database has proved.

    :param password_hash: the hash of the password; empty if the user is not one of the database.
    :param factor_made: when the second factor was made, in seconds since the epoch; None without one.
    """

    password_hash: str = field(default="", repr=False)
    factor_made: int | None = None


@frozen
class LoginStart:
    """Begins logins.

    :param devices: as in `Login`.
    """

    sessions: Sessions
    statistics: Statistics
    events: Events
    devices: Devices | None

    async def begin(
        self, request: IRequest, browser: Browser, owner: ResourceOwner, proof: Proof
    ) -> Browser | None:
        """Begin a login, and return the browser with it.

        None where the user has another password or second factor by now, or was disabled or deleted.
        Such a change ends the logins that there are. It could not end one that was stored after it.
        """
        address = address_of(request)
        has_factor = proof.factor_made is not None
        logged_in = await self.sessions.log_in(browser, owner, address, has_factor)
        if not await self._still_holds(owner, proof):
            await self.sessions.forget_login(logged_in)
            return None
        self.statistics.count(statistics.LOGIN)
        self.events.publish(
            LoggedIn(username=owner.username, address=address, request_id=request_id_of(request))
        )
        return logged_in

    async def _still_holds(self, owner: ResourceOwner, proof: Proof) -> bool:
        if not proof.password_hash:
            return True
        registry = self.sessions.registry
        user = await registry.find_user(owner.username)
        if user is None or user.disabled or user.subject != owner.subject:
            return False
        if user.password_hash != proof.password_hash:
            return False
        factor = await registry.find_second_factor(owner.subject)
        return (None if factor is None else factor.created) == proof.factor_made

    async def finish(
        self, request: IRequest, response: Response, before: Browser, after: Browser
    ) -> Response:
        """The response, with the cookies of the login that has begun."""
        assert after.owner is not None
        if self.devices is not None:
            response = await self.devices.remember(response, after.owner.username)
        response = self.sessions.remember(response, after)
        return carry_over(self.sessions, request, response, before, after)
