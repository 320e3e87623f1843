"""The beginning of a login, after the user has proved who he is."""

from __future__ import annotations

from attrs import frozen
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
class LoginStart:
    """Begins logins.

    :param devices: as in `Login`.
    """

    sessions: Sessions
    statistics: Statistics
    events: Events
    devices: Devices | None

    async def begin(
        self, request: IRequest, browser: Browser, owner: ResourceOwner, second_factor: bool = False
    ) -> Browser:
        """Begin a login, and return the browser with it.

        :param second_factor: whether the user has proved a second factor, too.
        """
        address = address_of(request)
        logged_in = await self.sessions.log_in(browser, owner, address, second_factor)
        self.statistics.count(statistics.LOGIN)
        self.events.publish(
            LoggedIn(username=owner.username, address=address, request_id=request_id_of(request))
        )
        return logged_in

    async def finish(
        self, request: IRequest, response: Response, before: Browser, after: Browser
    ) -> Response:
        """The response, with the cookies of the login that has begun."""
        assert after.owner is not None
        if self.devices is not None:
            response = await self.devices.remember(response, after.owner.username)
        response = self.sessions.remember(response, after)
        return carry_over(self.sessions, request, response, before, after)
