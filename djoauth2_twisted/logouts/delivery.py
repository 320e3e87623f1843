"""Sends the notices of logouts that are due, and again where a client does not take them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..credentials import random_string
from ..errors import TemporarilyUnavailable
from ..events import Events, LogoutNotSent, LogoutSent
from ..models import Client, LogoutNotice
from ..protocol.logout import logout_claims, pause_after
from .notices import ID_LENGTH, Logouts
from .sending import Answer, Sender

#: How often the store is asked for notices that are due, in seconds. A notice of this process is sent at
#: once.
POLL_INTERVAL = 10

#: How many notices are sent at the same time, about.
AT_ONCE = 100

#: How many notices are claimed at once. No more are claimed for a client while so many are sent to it.
SHARE = 5

#: How long a process has for a notice that it has claimed, in seconds. It is more than a client has.
CLAIM_LIFETIME = 60

#: Signs the claims of a logout token for a client.
Sign = Callable[[Client, Mapping[str, Any]], Awaitable[str]]


class LogoutDelivery:
    """A loop of one process. Of all processes, one sends each notice.

    :param reactor: provides IReactorTime.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        logouts: Logouts,
        sender: Sender,
        sign: Sign,
        issuer: str,
        events: Events,
    ) -> None:
        self._registry, self._logouts = logouts.registry, logouts
        self._sender, self._sign = sender, sign
        self._issuer, self._seconds, self._events = issuer, logouts.seconds, events
        self._polling = LoopingCall(self._begin_round)
        self._polling.clock = reactor
        self._round: Deferred[None] | None = None
        #: What is being sent, and the client of each.
        self._sending: dict[Deferred[None], str] = {}
        #: Whether there may be notices that the current round does not find.
        self._is_kicked = False
        #: Whether there may be notices for which there was no room.
        self._is_waiting = False
        logouts.added = self.kick

    def start(self) -> None:
        """Start the loop. A round begins at once."""
        self._polling.start(POLL_INTERVAL, now=True)

    def stop(self) -> None:
        """Stop the loop, and cancel what is being sent. Its notices are due again soon."""
        if self._polling.running:
            self._polling.stop()
        for working in [self._round, *self._sending]:
            if working is not None:
                working.cancel()

    def kick(self) -> None:
        """Begin a round now, since there are new notices. Does nothing before `start`."""
        self._is_kicked = True
        if self._polling.running:
            self._begin_round()

    def _begin_round(self) -> None:
        if self._round is not None:
            return

        def end(result: object) -> None:
            self._round = None
            self._report(result)
            if self._is_kicked and self._polling.running and not isinstance(result, Failure):
                self._begin_round()

        self._is_kicked = False
        self._round = Deferred.fromCoroutine(self._send_due())
        self._round.addBoth(end)

    def _report(self, result: object) -> None:
        if not isinstance(result, Failure) or result.check(CancelledError):
            return
        if result.check(TemporarilyUnavailable):
            self._log.warn("Logout tokens could not be sent. The server will try again.")
        else:
            self._log.failure("Logout tokens could not be sent", result)

    async def _send_due(self) -> None:
        """Claim the notices that are due, as long as there is room for them.

        A client that has its share of the room waits, so that one that hangs holds up no other.
        """
        while len(self._sending) < AT_ONCE:
            now, clients = int(self._seconds()), Counter(self._sending.values())
            busy = {client_id for client_id, count in clients.items() if count >= SHARE}
            notices = await self._registry.claim_notices(now, now + CLAIM_LIFETIME, SHARE, busy)
            for notice in notices:
                self._begin_sending(notice)
            if not notices:
                self._is_waiting = bool(busy)
                return
        self._is_waiting = True

    def _begin_sending(self, notice: LogoutNotice) -> None:
        working = Deferred.fromCoroutine(self._handle(notice))
        self._sending[working] = notice.client_id

        def end(result: object) -> None:
            del self._sending[working]
            self._report(result)
            if self._is_waiting:
                self.kick()

        working.addBoth(end)

    async def _handle(self, notice: LogoutNotice) -> None:
        if not notice.client_id:
            await self._logouts.divide(notice)
            self.kick()
            return
        client = await self._logouts.recipient(notice.client_id)
        if client is None:
            await self._registry.replace_notice(notice.id)
            return
        answer = await self._sender.send(
            client.backchannel_logout_uri, await self._token(client, notice)
        )
        pause = None if answer.final else pause_after(notice.attempts)
        if pause is None:
            await self._registry.replace_notice(notice.id)
        else:
            await self._registry.postpone_notice(notice.id, int(self._seconds()) + pause)
        self._publish(notice, answer, pause)

    async def _token(self, client: Client, notice: LogoutNotice) -> str:
        now = int(self._seconds())
        claims = logout_claims(
            self._issuer, client.client_id, notice.subject, notice.sid, random_string(ID_LENGTH), now
        )
        return await self._sign(client, claims)

    def _publish(self, notice: LogoutNotice, answer: Answer, pause: int | None) -> None:
        named = {"username": notice.username, "client_id": notice.client_id}
        if answer.taken:
            self._events.publish(LogoutSent(**named))
        else:
            self._events.publish(LogoutNotSent(**named, reason=answer.reason, again_in=pause))
