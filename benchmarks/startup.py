"""The time until the first answer of the stand-alone server, and its memory then.

    python benchmarks/startup.py [ROUNDS]

The time is from the start of ``twistd -n djoauth2`` to the end of the first answer over TLS, with a new
database and with an existing one. The memory is the resident memory, which Linux calls VmRSS. The table
has the median, the least and the most of some rounds.
"""

import http.client
import os
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from djoauth2_twisted.cli.certificate import make_certificate

#: The limits, in seconds and in MiB.
MAX_START = 2.0
MAX_MEMORY = 80

TWISTD = Path(sys.executable).with_name("twistd")


def free_port() -> int:
    """A free port."""
    with socket.socket() as tried:
        tried.bind(("127.0.0.1", 0))
        port: int = tried.getsockname()[1]
    return port


def first_answer(process: "subprocess.Popen[bytes]", port: int, trust: ssl.SSLContext) -> None:
    """Return as soon as the server has served a page."""
    while True:
        connection = http.client.HTTPSConnection("localhost", port, timeout=10, context=trust)
        with suppress(OSError):
            connection.request("GET", "/oauth2/login/")
            response = connection.getresponse()
            response.read()
            if response.status == 200:
                connection.close()
                return
        connection.close()
        if process.poll() is not None:
            raise SystemExit(f"the server ended with {process.returncode}")
        time.sleep(0.005)


def resident(pid: int) -> float:
    """A process's resident memory in MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise SystemExit("there is no VmRSS here")


def start_once(folder: Path, trust: ssl.SSLContext) -> tuple[float, float]:
    """Start the server. Returns the seconds to its first answer, and its memory in MiB then."""
    port = free_port()
    endpoint = f"ssl:{port}:interface=127.0.0.1"
    command = [sys.executable, TWISTD, "-n", "--pidfile=", "--logfile=twistd.log", "djoauth2"]
    begun = time.perf_counter()
    process = subprocess.Popen([*command, "--port", endpoint], cwd=folder, env=os.environ)
    try:
        first_answer(process, port, trust)
        return time.perf_counter() - begun, resident(process.pid)
    finally:
        process.terminate()
        process.wait()


def show(name: str, values: list[float], unit: str, most: float) -> None:
    """Print one row of the table."""
    print(
        f"| {name:22} | {statistics.median(values):6.2f} | {min(values):6.2f} | {max(values):6.2f} "
        f"| {most:6.2f} | {unit:3} |"
    )


def main(rounds: int) -> None:
    """Measure and print."""
    new: list[float] = []
    existing: list[float] = []
    memory: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "server.pem").write_bytes(make_certificate("localhost"))
        trust = ssl.create_default_context(cafile=str(folder / "server.pem"))
        for _ in range(rounds):
            for path in folder.glob("djoauth2.db*"):
                path.unlink()
            for seconds in (new, existing):
                took, has = start_once(folder, trust)
                seconds.append(took)
                memory.append(has)
    print("|                        | median |  least |   most | demand |     |")
    print("|------------------------|--------|--------|--------|--------|-----|")
    show("start, new database", new, "s", MAX_START)
    show("start, existing one", existing, "s", MAX_START)
    show("memory after the start", memory, "MiB", MAX_MEMORY)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 7)
