"""The metrics of all workers, at the one port of ``--metrics-port``.

The parent asks each worker for its metrics and adds them up. The library's own way is files that all
processes map into memory. It has no gauges that are computed at the scrape, of which there are many
here, and makes each count slower.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.web.iweb import IRequest
from twisted.web.resource import IResource

from ...conf import Settings
from ...web import respond
from ...web.endpoint import Endpoint
from ...web.reading import require_method
from ...web.respond import Response

if TYPE_CHECKING:
    from .crew import Crew
    from .process import Worker

#: How long a scrape waits for the workers, in seconds. Of one that is slower, what it sent last counts.
DEADLINE = 2

_TEXT = "text/plain; version=0.0.4; charset=utf-8"


class SummedMetrics:
    """The metrics of a crew.

    :raises ConfigurationError: the library for metrics is not installed.
    """

    def __init__(self, reactor: IReactorTime) -> None:
        from ...metrics.sums import Sums

        self._reactor = reactor
        self._sums = Sums()
        #: The scrapes that wait, each with the workers that have not sent anything yet.
        self._waiting: list[tuple[set[Worker], Deferred[None]]] = []

    def measured(self, worker: Worker, text: str) -> None:
        """A worker has sent its metrics."""
        self._sums.measured(worker, text)
        self._heard(worker)

    def lost(self, worker: Worker) -> None:
        """A worker has ended."""
        self._sums.lost(worker)
        self._heard(worker)

    def _heard(self, worker: Worker) -> None:
        waiting, self._waiting = self._waiting, []
        for workers, deferred in waiting:
            workers.discard(worker)
            if workers:
                self._waiting.append((workers, deferred))
            else:
                deferred.callback(None)

    def resource(self, crew: Crew) -> IResource:
        """A resource that answers GET and HEAD with the sums."""

        async def answer(request: IRequest) -> Response:
            require_method(request, "GET", "HEAD")
            await self._ask(crew.serving())
            headers = {**respond.NO_STORE, "Content-Type": _TEXT}
            text = self._sums.text(len(crew.serving()), crew.replaced)
            return respond.respond(request, 200, headers, text)

        return Endpoint(answer, Settings())

    async def _ask(self, workers: list[Worker]) -> None:
        asked = {worker for worker in workers if worker.ask_metrics()}
        if not asked:
            return
        answered: Deferred[None] = Deferred()
        self._waiting.append((asked, answered))
        answered.addTimeout(DEADLINE, self._reactor)
        await answered.addErrback(lambda _: self._forget(answered))

    def _forget(self, late: Deferred[None]) -> None:
        self._waiting = [each for each in self._waiting if each[1] is not late]
