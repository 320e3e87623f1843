"""Whether the store is open, and who waits for that."""

from __future__ import annotations

from twisted.internet.defer import Deferred, fail, succeed
from twisted.python.failure import Failure


class Readiness:
    """Whether a service is ready, is not ready yet, or has failed to start."""

    def __init__(self) -> None:
        self.is_ready = False
        #: Why the service could not start.
        self.failure: Failure | None = None
        self._waiting: list[Deferred[None]] = []

    def begin(self) -> None:
        """The service starts."""
        self.failure = None

    def started(self, is_ready: bool) -> None:
        """The start is complete.

        :param is_ready: False if the service was stopped meanwhile.
        """
        self.is_ready = is_ready
        self._fire()

    def failed(self, failure: Failure) -> None:
        """The service could not start."""
        self.failure = failure
        self._fire()

    def end(self) -> None:
        """The service stops."""
        self.is_ready = False

    def wait(self) -> Deferred[None]:
        """A Deferred that fires when the service is ready, and fails if it could not start."""
        if self.is_ready:
            return succeed(None)
        if self.failure is not None:
            return fail(self.failure)
        waiting: Deferred[None] = Deferred()
        self._waiting.append(waiting)
        return waiting

    def _fire(self) -> None:
        waiting, self._waiting = self._waiting, []
        for deferred in waiting:
            deferred.callback(self.failure)
