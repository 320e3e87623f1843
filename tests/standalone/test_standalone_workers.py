"""The parts of `--workers`: messages, places, the log of a worker, and the sums of metrics."""

from __future__ import annotations

import io
import json
import os
import select
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest
from attrs import define, field
from twisted.internet.task import Clock
from twisted.logger import Logger, LogPublisher, capturedLogs, formatEvent, textFileLogObserver
from twisted.python.failure import Failure

from djoauth2_twisted.clock import ICrewReactor
from djoauth2_twisted.errors import ConfigurationError
from djoauth2_twisted.metrics.sums import Sums
from djoauth2_twisted.standalone.files import Log
from djoauth2_twisted.standalone.ports import StartError
from djoauth2_twisted.standalone.workers import assignment
from djoauth2_twisted.standalone.workers.assignment import Assignment
from djoauth2_twisted.standalone.workers.channel import Channel
from djoauth2_twisted.standalone.workers.crew import FIRST_PAUSE, STEADY, Crew
from djoauth2_twisted.standalone.workers.marking import WorkerLog
from djoauth2_twisted.standalone.workers.process import Program
from djoauth2_twisted.standalone.workers.starting import program_of

ASSIGNMENT = Assignment(2, (7, 9), ("--port", "ssl:443"), {"realm": "here"}, "json", "warn", ("--x",))


def test_assignment_is_read_and_what_is_behind_it_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assignment, "_THIS_PROCESS", assignment._Worker())
    parent, worker = socket.socketpair()
    with parent, worker:
        Channel(parent, lambda _: None, lambda: None).send(**ASSIGNMENT.message())
        parent.sendall(b"more")
        assert assignment.read(worker) == ASSIGNMENT
        assert (assignment.assigned(), assignment.parent_socket()) == (ASSIGNMENT, worker)
        assert worker.recv(100) == b"more"


def test_worker_without_a_parent_has_no_assignment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assignment, "_THIS_PROCESS", assignment._Worker())
    parent, worker = socket.socketpair()
    parent.close()
    with worker, pytest.raises(EOFError):
        assignment.read(worker)
    assert assignment.assigned() is None


class Ends:
    """Both ends of a channel, and what one of them has received."""

    def __init__(self) -> None:
        self.ours, self.theirs = socket.socketpair()
        self.received: list[dict[str, Any]] = []
        self.ended = 0
        self.channel = Channel(self.theirs, self.received.append, self._end)

    def _end(self) -> None:
        self.ended += 1

    def read(self) -> None:
        """Read once, as the reactor does."""
        reason: Any = self.channel.reader.doRead()
        if reason is not None:
            self.channel.reader.connectionLost(Failure(reason))


def test_messages_arrive_whole_and_in_order() -> None:
    ends = Ends()
    ends.ours.sendall(b'{"a": 1}\n{"b": 2}\n{"c"')
    ends.read()
    assert ends.received == [{"a": 1}, {"b": 2}]
    ends.ours.sendall(b": 3}\n")
    ends.read()
    assert ends.received[2:] == [{"c": 3}]
    ends.ours.sendall(b'{"incomplete')
    ends.ours.close()
    ends.read()
    ends.read()
    assert (len(ends.received), ends.ended) == (3, 1)


def test_message_to_a_process_that_has_ended_is_not_sent() -> None:
    ends = Ends()
    ends.ours.close()
    assert not ends.channel.send(do="stop")
    ends.theirs.close()


@pytest.mark.parametrize("form", ["text", "json", "twisted-json"])
def test_each_line_of_a_worker_says_which_it_is(form: str) -> None:
    file = io.StringIO()
    log = WorkerLog(Assignment(3, (), (), {}, form), file)
    Logger("here", observer=LogPublisher(log)).info("said {what}", what="this")
    line = file.getvalue()
    if form == "text":
        assert line.endswith(" [worker 3 here#info] said this\n")
    elif form == "json":
        assert json.loads(line)["fields"] == {"what": "this", "worker": 3}
    else:
        assert json.loads(line.strip("\x1e\n"))["worker"] == 3


def test_worker_logs_from_the_level_of_twist_on() -> None:
    file = io.StringIO()
    log = Logger(
        "here", observer=LogPublisher(WorkerLog(Assignment(1, (), (), {}, "text", "warn"), file))
    )
    log.info("one")
    log.warn("two")
    assert file.getvalue().count("\n") == 1
    assert "two" in file.getvalue()


# How workers are started.


def test_workers_of_twistd_have_its_reactor_its_folder_and_its_log() -> None:
    starter = {"reactor": "poll", "rundir": ".", "syslog": True, "prefix": "auth"}
    program = program_of(starter, ("--realm",), {"a": 1}, None)
    assert program.assignment == Assignment(
        0,
        (),
        ("--realm",),
        {"a": 1},
        starter=("--reactor=poll", f"--rundir={os.getcwd()}", "--syslog", "--prefix=auth"),
    )
    assert (program.folder, program.copy) == (os.getcwd(), None)


def test_workers_have_the_logger_of_an_operator_but_not_that_of_this_process() -> None:
    log = Log()
    log.form = "json"
    own = program_of({"logger": log.open}, (), {}, log).assignment
    assert (own.starter, own.log_format) == ((), "json")
    named = program_of({"logger": textFileLogObserver}, (), {}, None).assignment
    assert named.starter == ("--logger=twisted.logger._file.textFileLogObserver",)


def test_worker_takes_no_module_from_the_folder_in_which_the_parent_was_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder may belong to another user."""
    (tmp_path / "djoauth2_twisted").mkdir()
    (tmp_path / "djoauth2_twisted" / "__init__.py").write_text("raise SystemExit(66)")
    monkeypatch.setattr(sys, "path", [each for each in sys.path if each])
    ours, theirs = socket.socketpair()
    with theirs:
        process = Program(ASSIGNMENT, folder=str(tmp_path)).begin(1, (), theirs)
    # A worker whose parent has ended ends.
    ours.close()
    process.communicate()
    assert process.returncode != 66


def test_workers_in_a_chroot_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="--chroot"):
        program_of({"chroot": "/srv"}, (), {}, None)


# Places of workers.


class Reactor(Clock):
    """A clock that is asked to read."""

    def __init__(self) -> None:
        super().__init__()
        self.readers: list[Any] = []

    def addReader(self, reader: Any) -> None:
        self.readers.append(reader)

    def removeReader(self, reader: Any) -> None:
        if reader in self.readers:
            self.readers.remove(reader)


#: A worker that says that it is ready.
READY = """
import os, sys
fd = int(sys.argv[2])
os.read(fd, 65536)
os.write(fd, b'{"ready": true}\\n')
while (said := os.read(fd, 65536)) and b'"stop"' not in said:
    pass
"""

#: One that ignores the request to end.
DEAF = READY.replace("stop", "nothing")


@define
class Started:
    """Starts programs of a test instead of workers.

    :param texts: what the first one, the second one, ... is.
    """

    texts: list[str]
    count: int = 0
    assignment: Assignment = ASSIGNMENT
    copy: Any = None
    processes: list[Any] = field(factory=list)

    def begin(self, number: int, descriptors: tuple[int, ...], theirs: socket.socket) -> Any:
        """As of `Program`."""
        text = self.texts[min(self.count, len(self.texts) - 1)]
        self.count += 1
        if not text:
            raise OSError(11, "Resource temporarily unavailable")
        process = subprocess.Popen(
            [sys.executable, "-c", text, str(number), str(theirs.fileno())],
            pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            bufsize=0,
        )
        self.processes.append(process)
        return process


def crew_of(*texts: str, count: int = 1) -> tuple[Reactor, Crew, Started]:
    """A crew that has begun with these programs."""
    reactor, started = Reactor(), Started(list(texts))
    program: Any = started
    crew = Crew(cast("ICrewReactor", reactor), count, program)
    return reactor, crew, started


def read_until(reactor: Reactor, condition: Any) -> None:
    """Read what workers say, as a reactor does, until a condition is true."""
    while not condition():
        readers = {reader.fileno(): reader for reader in reactor.readers}
        poll = select.poll()
        for descriptor in readers:
            poll.register(descriptor, select.POLLIN)
        for descriptor, _ in poll.poll(100):
            reader = readers[descriptor]
            if reader.has_ended:
                continue
            reason = reader.doRead()
            if reason is not None:
                reactor.removeReader(reader)
                reader.connectionLost(Failure(reason))


def test_pause_before_a_replacement_doubles_until_a_worker_has_been_steady() -> None:
    reactor, crew, started = crew_of(READY)
    crew.begin(())
    crew.serve()
    pauses = []
    for lives in (0.0, 0.0, 0.0, STEADY, 0.0):
        reactor.advance(lives)
        started.processes[-1].kill()
        read_until(reactor, lambda: not crew.running())
        (call,) = reactor.getDelayedCalls()
        pauses.append(call.getTime() - reactor.seconds())
        reactor.advance(pauses[-1])
        read_until(reactor, crew.serving)
    assert pauses == [FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE, 0.0, FIRST_PAUSE]
    assert crew.replaced == 5
    stopped = crew.stop()
    read_until(reactor, lambda: stopped.called)
    assert reactor.getDelayedCalls() == []


def test_replacement_that_cannot_start_is_logged_and_tried_again() -> None:
    fails = "import sys; sys.exit('djoauth2: no database')"
    reactor, crew, started = crew_of(READY, fails, "", READY)
    crew.begin(())
    crew.serve()
    reactor.advance(STEADY)
    started.processes[0].kill()
    read_until(reactor, lambda: not crew.running())
    with capturedLogs() as logged:
        reactor.advance(0)
        read_until(reactor, lambda: not crew.running())
        reactor.advance(FIRST_PAUSE)
        reactor.advance(2 * FIRST_PAUSE)
        read_until(reactor, crew.serving)
    lines = [formatEvent(event) for event in logged]
    assert lines == [
        "Worker 1 cannot start: no database",
        "Worker 1 cannot start: Resource temporarily unavailable",
    ]
    stopped = crew.stop()
    read_until(reactor, lambda: stopped.called)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("import sys; sys.exit('djoauth2: no database\\nMake one')", "no database\nMake one"),
        ("import sys; sys.exit('orange')", "orange"),
        ("raise SystemExit(3)", "a worker ended with status 3"),
        ("import os; os.kill(os.getpid(), 9)", "a worker was ended by signal 9"),
        ("", "a worker cannot be started: Resource temporarily unavailable"),
    ],
)
def test_worker_that_cannot_start_at_first_ends_all(text: str, why: str) -> None:
    _, crew, started = crew_of(READY, text, count=2)
    with pytest.raises(StartError) as refused:
        crew.begin(())
    assert str(refused.value) == why
    assert all(process.poll() is not None for process in started.processes)


def test_worker_that_does_not_end_is_killed() -> None:
    reactor, crew, _ = crew_of(DEAF)
    crew.begin(())
    crew.serve()
    stopped = crew.stop()
    (killing,) = reactor.getDelayedCalls()
    reactor.advance(killing.getTime())
    read_until(reactor, lambda: stopped.called)


# The sums of metrics.

FIRST = """# TYPE djoauth2_requests_total counter
djoauth2_requests_total{endpoint="token"} 3
# TYPE djoauth2_connections gauge
djoauth2_connections 2
# TYPE djoauth2_ready gauge
djoauth2_ready 1
# TYPE djoauth2_prune_last_timestamp_seconds gauge
djoauth2_prune_last_timestamp_seconds 100
# TYPE djoauth2_prune_backlog_rows gauge
djoauth2_prune_backlog_rows{kind="grants"} 12
# TYPE djoauth2_certificate_expiry_timestamp_seconds gauge
djoauth2_certificate_expiry_timestamp_seconds{port="443"} 900
# TYPE djoauth2_request_duration_seconds histogram
djoauth2_request_duration_seconds_bucket{le="1.0"} 2
djoauth2_request_duration_seconds_bucket{le="+Inf"} 3
djoauth2_request_duration_seconds_count 3
djoauth2_request_duration_seconds_sum 4
"""
SECOND = """# TYPE djoauth2_requests_total counter
djoauth2_requests_total{endpoint="token"} 4
djoauth2_requests_total{endpoint="login"} 1
# TYPE djoauth2_connections gauge
djoauth2_connections 5
# TYPE djoauth2_ready gauge
djoauth2_ready 0
# TYPE djoauth2_prune_last_timestamp_seconds gauge
djoauth2_prune_last_timestamp_seconds 160
# TYPE djoauth2_prune_backlog_rows gauge
djoauth2_prune_backlog_rows{kind="grants"} 10
djoauth2_prune_backlog_rows{kind="sessions"} 0
# TYPE djoauth2_certificate_expiry_timestamp_seconds gauge
djoauth2_certificate_expiry_timestamp_seconds{port="443"} 800
# TYPE djoauth2_request_duration_seconds histogram
djoauth2_request_duration_seconds_bucket{le="1.0"} 1
djoauth2_request_duration_seconds_bucket{le="+Inf"} 1
djoauth2_request_duration_seconds_count 1
djoauth2_request_duration_seconds_sum 0.5
"""


def samples(sums: Sums) -> dict[str, float]:
    """The values, by name and labels."""
    lines = sums.text(2, 0).decode().splitlines()
    return {
        name: float(value)
        for name, _, value in (each.rpartition(" ") for each in lines if not each.startswith("#"))
    }


def test_counters_and_histograms_are_added_and_gauges_by_their_meaning() -> None:
    sums = Sums()
    sums.measured("first", FIRST)
    sums.measured("second", SECOND)
    assert samples(sums) == {
        'djoauth2_requests_total{endpoint="token"}': 7,
        'djoauth2_requests_total{endpoint="login"}': 1,
        "djoauth2_connections": 7,
        "djoauth2_ready": 0,
        "djoauth2_prune_last_timestamp_seconds": 160,
        # While the lease changes hands, two count the same rows.
        'djoauth2_prune_backlog_rows{kind="grants"}': 12,
        'djoauth2_prune_backlog_rows{kind="sessions"}': 0,
        'djoauth2_certificate_expiry_timestamp_seconds{port="443"}': 800,
        'djoauth2_request_duration_seconds_bucket{le="1.0"}': 3,
        'djoauth2_request_duration_seconds_bucket{le="+Inf"}': 4,
        "djoauth2_request_duration_seconds_count": 4,
        "djoauth2_request_duration_seconds_sum": 4.5,
        "djoauth2_workers": 2,
        "djoauth2_workers_replaced_total": 0,
    }


def test_counter_does_not_fall_when_a_process_ends() -> None:
    sums = Sums()
    sums.measured("first", FIRST)
    sums.measured("second", SECOND)
    sums.lost("first")
    sums.lost("never measured")
    found = samples(sums)
    assert found['djoauth2_requests_total{endpoint="token"}'] == 7
    assert found["djoauth2_request_duration_seconds_count"] == 4
    assert found["djoauth2_connections"] == 5
    assert found["djoauth2_prune_last_timestamp_seconds"] == 160
