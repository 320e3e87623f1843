"""What becomes of requests while servers are restarted, at a fixed rate over TLS.

    python benchmarks/restart.py [socket | overlap | haproxy] [RATE] [RESTARTS]

- `socket`: one process at a socket that a parent keeps, as systemd does. It ends before the next starts.
- `overlap`: the same, but the next starts before the one before it ends.
- `haproxy`: two processes behind HAProxy, with `deploy/haproxy/ending-tls.cfg`, restarted in turn.

One request in 50 is a refresh, and one in 25 comes on a new connection. See `tests/service/load_kit.py`.
"""

import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent / "tests"
sys.path[:0] = [str(TESTS / "service"), str(TESTS)]

from load_kit import TLS_SOCKET, Load, inheriting, two_behind_haproxy  # noqa: E402
from service_kit import Prepared, Server, free_port, is_listening, prepare  # noqa: E402
from waiting import wait_for  # noqa: E402

#: How long the load lasts before, between and after the restarts, in seconds.
BETWEEN = 5

#: How many refresh tokens are used in turn, and how many requests may be in flight.
GRANTS, MAX_AT_ONCE = 50, 5000


class Restarted:
    """The servers of one way to restart."""

    def __init__(self, prepared: Prepared) -> None:
        self.prepared = prepared
        self.started: list[Server] = []

    def begin(self, *options: str, **named: object) -> Server:
        """Start a server, and wait until it accepts connections."""
        log = f"log{len(self.started)}-"
        server = Server.start(self.prepared, *options, log=log, **named)  # type: ignore[arg-type]
        self.started.append(server)
        wait_for(lambda: "Serving" in server.text(), "the start", server.text)
        return server

    def end(self) -> None:
        """End all that still run."""
        for server in self.started:
            server.kill()


class AtSocket(Restarted):
    """Processes that get the socket of this one."""

    def __init__(self, prepared: Prepared, overlap: bool) -> None:
        super().__init__(prepared)
        self._overlap = overlap
        self._kept = socket.create_server(("127.0.0.1", 0), backlog=socket.SOMAXCONN)
        self._kept.set_inheritable(True)
        self.front = self._start()

    def _start(self) -> Server:
        program, descriptor = inheriting(self._kept), self._kept.fileno()
        server = self.begin(ports=(TLS_SOCKET,), program=program, pass_fds=(descriptor,))
        server.ports = [self._kept.getsockname()[1]]
        return server

    def restart(self, _: int) -> None:
        """Replace the process by another one."""
        last = self.started[-1]
        if self._overlap:
            self._start()
        assert last.stop() == -signal.SIGTERM
        if not self._overlap:
            self._start()


class BehindHAProxy(Restarted):
    """Two processes, each at its own port."""

    def __init__(self, prepared: Prepared) -> None:
        super().__init__(prepared)
        self._ports = [free_port() for _ in range(3)]
        self._servers = [self._start(0), self._start(1)]
        command = two_behind_haproxy(prepared.folder, self._ports[0], self._ports[1:])
        self._haproxy = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        wait_for(lambda: is_listening(self._ports[0]), "HAProxy")
        one = self._servers[0]
        self.front = Server(prepared, one.process, one.log, one.errors, [self._ports[0]])
        wait_for(self.front.is_healthy, "readiness")

    def _start(self, number: int) -> Server:
        endpoint = f"tcp:{self._ports[number + 1]}:interface=127.0.0.1"
        return self.begin("--trusted-proxy", "127.0.0.1", ports=(endpoint,))

    def restart(self, round_: int) -> None:
        """Stop one of them, and start it again."""
        number = round_ % 2
        assert self._servers[number].stop() == -signal.SIGTERM
        self._servers[number] = self._start(number)

    def end(self) -> None:
        """End HAProxy, too."""
        self._haproxy.terminate()
        self._haproxy.wait()
        super().end()


def measure(kind: str, rate: int, restarts: int, folder: Path) -> None:
    """Restart under load, and print what became of the requests."""
    prepared = prepare(folder)
    restarted = BehindHAProxy(prepared) if kind == "haproxy" else AtSocket(prepared, kind == "overlap")
    try:
        load = Load(restarted.front, rate, MAX_AT_ONCE)
        load.prepare(GRANTS)
        load.start()
        took = []
        for round_ in range(restarts):
            time.sleep(BETWEEN)
            begun = time.monotonic()
            restarted.restart(round_)
            took.append(time.monotonic() - begun)
        time.sleep(BETWEEN)
        load.stop()
    finally:
        restarted.end()
    waits = sorted(load.waits)
    outcomes = ", ".join(f"{count} x {name}" for name, count in sorted(load.outcomes.items()))
    print(f"{kind}: {len(waits)} requests, {len(waits) / load.seconds:.0f}/s; {outcomes}")
    print(f"  calls sent twice: {load.sent_again}")
    print(f"  restarts: {', '.join(f'{each:.1f}' for each in took)} s")
    for share, which in ((0.5, "median"), (0.99, "99 %"), (0.999, "99.9 %")):
        print(f"  wait, {which}: {waits[int(share * len(waits))]:.3f} s")
    print(f"  longest wait: {waits[-1]:.3f} s")


if __name__ == "__main__":
    _, *words = sys.argv
    kinds = words[:1] or ["socket", "overlap", "haproxy"]
    rate, restarts = int((words[1:] or ["500"])[0]), int((words[2:] or ["4"])[0])
    for kind in kinds:
        with tempfile.TemporaryDirectory() as name:
            measure(kind, rate, restarts, Path(name))
