"""The last refused requests, by client, for the administrator's pages."""

from __future__ import annotations

from collections import Counter, deque

from attrs import frozen
from twisted.internet.interfaces import IReactorTime

from ..bounded_dict import BoundedDict
from ..events import Events, RequestRefused, Throttled
from ..printable import printable

#: For how many clients refusals are kept, and how many of each.
MAX_CLIENTS = 500
MAX_EACH = 10

#: The longest reason that is kept, in characters. The rest is cut off.
MAX_REASON_LENGTH = 300

#: The error of a request that was refused because too many failed before it.
THROTTLED = "throttled"


@frozen
class Refusal:
    """One refused request. It contains no secret, code or token.

    :param time: in seconds since the epoch.
    :param endpoint: as in `RequestRefused`.
    :param error: the name of the error in the statistics, or `THROTTLED`.
    :param reason: why exactly, as the log has it.
    """

    time: int
    endpoint: str
    error: str
    reason: str
    address: str
    request_id: str

    @property
    def kind(self) -> str:
        """The endpoint and the error, as the statistics name them."""
        return f"{self.endpoint}/{self.error}"


class RecentRefusals:
    """Keeps the last refusals of each client in memory: those of this process, since it started.

    The client of a request that names no registered client is the empty string. Where there are more
    than `MAX_CLIENTS`, the client whose last refusal was longest ago is forgotten.
    """

    def __init__(self, clock: IReactorTime, events: Events) -> None:
        self._clock = clock
        #: When this process began to keep refusals, in seconds since the epoch.
        self.since = int(clock.seconds())
        self._last: BoundedDict[str, deque[Refusal]] = BoundedDict(MAX_CLIENTS)
        self._counts: BoundedDict[str, Counter[str]] = BoundedDict(MAX_CLIENTS)
        events.subscribe(RequestRefused, self._add)
        events.subscribe(Throttled, self._add)

    def _add(self, event: RequestRefused | Throttled) -> None:
        refusal = Refusal(
            time=int(self._clock.seconds()),
            endpoint=event.endpoint,
            error=THROTTLED if isinstance(event, Throttled) else event.counted_as or event.error,
            reason=printable(event.reason[:MAX_REASON_LENGTH]),
            address=event.address,
            request_id=event.request_id,
        )
        last = self._last.get(event.client_id) or deque(maxlen=MAX_EACH)
        last.appendleft(refusal)
        self._last.set(event.client_id, last)
        counts = self._counts.get(event.client_id) or Counter()
        counts[refusal.kind] += 1
        self._counts.set(event.client_id, counts)

    def of(self, client_id: str) -> list[Refusal]:
        """The last refusals of a client, newest first."""
        return list(self._last.get(client_id) or ())

    def clients(self, kind: str, most: int) -> list[tuple[str, int]]:
        """The clients with most refusals of a kind, and how many each has had.

        :param most: how many clients at most.
        """
        counts = [(client_id, counts[kind]) for client_id, counts in self._counts.items()]
        found = sorted((-count, client_id) for client_id, count in counts if count)
        return [(client_id, -count) for count, client_id in found[:most]]
