"""The workers of a server: they are started, replaced when they end, and stopped."""

from __future__ import annotations

import select
from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from ...clock import ICrewReactor
from ...idle import WhenIdle
from ..ports import StartError
from .channel import Lines
from .process import Program, Worker

#: The pause before a worker is replaced that has not served for `STEADY` seconds: the first one, which
#: is doubled each time, and the longest, in seconds.
FIRST_PAUSE, MAX_PAUSE = 1.0, 30.0

#: A worker that has served for this time is replaced at once, in seconds.
STEADY = 10.0

#: The longest time that workers may take to end, in seconds. By then only a store can hold them up.
STOP_DEADLINE = 12


class _Place:
    """The place of one worker, which others take after it."""

    def __init__(self) -> None:
        self.worker: Worker | None = None
        self.pause = 0.0
        self.serves_since: float | None = None
        self.waiting: IDelayedCall | None = None


class Crew:
    """So many workers, each of which is replaced when it ends.

    :param reactor: provides IReactorTime and IReactorFDSet.
    :param program: starts them.
    :param lost: is called with each worker that has ended.
    :param measured: gets the metrics that a worker has sent.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: ICrewReactor,
        count: int,
        program: Program,
        lost: Callable[[Worker], object] = lambda _: None,
        measured: Callable[[Worker, str], object] = lambda *_: None,
    ) -> None:
        self._reactor = reactor
        self._program = program
        self._lost = lost
        self._measured = measured
        self._places = {number: _Place() for number in range(1, count + 1)}
        self._descriptors: tuple[int, ...] = ()
        self._is_watched = self._is_stopping = False
        self._when_none = WhenIdle(lambda: not self.running())
        #: How many were started to replace others.
        self.replaced = 0

    def running(self) -> list[Worker]:
        """The workers that have not ended."""
        workers = (place.worker for place in self._places.values())
        return [worker for worker in workers if worker is not None]

    def serving(self) -> list[Worker]:
        """The workers that accept connections."""
        return [worker for worker in self.running() if worker.is_ready]

    # The start.

    def begin(self, descriptors: tuple[int, ...]) -> None:
        """Start all workers, and wait until each could serve. Blocks, for the reactor does not run yet.

        :param descriptors: the sockets of the ports.
        :raises StartError: a worker could not start, so all are ended. The message is the worker's.
        """
        self._descriptors = descriptors
        try:
            for number in self._places:
                self._start(number)
            while len(self.serving()) < len(self._places):
                self._wait()
        except OSError as error:
            raise StartError(f"a worker cannot be started: {error.strerror}", "workers") from None
        finally:
            if len(self.serving()) < len(self._places):
                self._end_all()

    def _start(self, number: int) -> Worker:
        place = self._places[number]
        place.worker = worker = Worker(number, self._program, self._descriptors, self)
        place.serves_since = None
        return worker

    def _wait(self) -> None:
        """Wait for something that a worker says."""
        readers = {each.fileno(): each for worker in self.running() for each in worker.readers()}
        poll = select.poll()
        for descriptor in readers:
            poll.register(descriptor, select.POLLIN)
        for descriptor, _ in poll.poll():
            reader = readers[descriptor]
            if not reader.has_ended and (reason := reader.doRead()) is not None:
                reader.connectionLost(Failure(reason))

    def _end_all(self) -> None:
        self._is_stopping = True
        for worker in self.running():
            worker.kill()
        while self.running():
            self._wait()

    def serve(self) -> None:
        """Let all accept connections, and watch them from now on."""
        self._is_watched = True
        for worker in self.running():
            self._watch(worker)
            self.ready(worker)

    def _watch(self, worker: Worker) -> None:
        for reader in worker.readers():
            self._reactor.addReader(reader)

    # What workers do; see `process.Owner`.

    def ready(self, worker: Worker) -> None:
        """A worker could serve now. At the start it waits for the others."""
        if self._is_watched and not self._is_stopping:
            self._places[worker.number].serves_since = self._reactor.seconds()
            worker.serve()

    def measured(self, worker: Worker, text: str) -> None:
        """A worker has sent its metrics."""
        self._measured(worker, text)

    def closing(self, reader: Lines) -> None:
        """A reader is about to be closed."""
        self._reactor.removeReader(reader)

    def ended(self, worker: Worker) -> None:
        """Replace a worker that has ended, unless all end."""
        place = self._places[worker.number]
        place.worker = None
        self._lost(worker)
        if self._is_stopping:
            self._when_none.check()
        elif not self._is_watched:
            raise StartError(worker.why())
        elif worker.is_ready:
            self._log.warn(
                "Worker {number} (process {pid}) {ending}. It is replaced.",
                number=worker.number,
                pid=worker.pid,
                ending=worker.ending(),
            )
            self._replace_later(worker.number)
        else:
            self._cannot_start(worker.number, worker.why())

    def _cannot_start(self, number: int, why: str) -> None:
        self._log.error("Worker {number} cannot start: {why}", number=number, why=why)
        self._replace_later(number)

    def _replace_later(self, number: int) -> None:
        place = self._places[number]
        now = self._reactor.seconds()
        if place.serves_since is not None and now - place.serves_since >= STEADY:
            place.pause = 0.0
            pause = 0.0
        else:
            pause = place.pause = min(max(FIRST_PAUSE, 2 * place.pause), MAX_PAUSE)
        place.waiting = self._reactor.callLater(pause, self._replace, number)

    def _replace(self, number: int) -> None:
        self._places[number].waiting = None
        self.replaced += 1
        try:
            self._watch(self._start(number))
        except OSError as error:
            self._cannot_start(number, str(error.strerror))

    # Later.

    def reload(self) -> None:
        """Let all read their certificates again."""
        for worker in self.serving():
            worker.reload()

    def stop(self) -> Deferred[None]:
        """Let all end in order. The Deferred fires when none is left."""
        self._is_stopping = True
        for place in self._places.values():
            if place.waiting is not None:
                place.waiting.cancel()
                place.waiting = None
        for worker in self.running():
            worker.stop()
        killing = self._reactor.callLater(STOP_DEADLINE, self._kill)
        return self._when_none.wait().addBoth(self._none_left, killing)

    def _kill(self) -> None:
        for worker in self.running():
            self._log.warn("Worker {number} does not end, so it is killed.", number=worker.number)
            worker.kill()

    def _none_left(self, _: object, killing: IDelayedCall) -> None:
        if killing.active():
            killing.cancel()
