"""The latency of servers below saturation: requests at fixed rates, from a tenth to nine tenths of it.

    BENCH=... python benchmarks/latency.py [--write] [--seconds 5] [PEER ...]

BENCH is the folder of the benchmark harness, whose peers and settings are used (benchmarks/README.md);
run it with the Python of the harness. First some clients ask without a pause, which gives the
saturation. Then requests are sent at a fixed rate, whether earlier ones are answered or not. A latency
begins when the request is due. The kinds are the guard (W1hot) and refresh with rotation (W2).
``--write`` keeps the figures for the documentation.
"""

import argparse
import asyncio
import collections
import json
import os
import sys
import time

import recorded

sys.path.insert(0, os.environ["BENCH"])

import bench

CONNECTIONS = 32

#: The rates, as shares of the saturation.
LOADS = (0.1, 0.25, 0.5, 0.75, 0.9)

PEERS = ("floor-bare", "djoauth2-sqlite")

#: The seconds for which the saturation is measured.
SATURATED = 4


class Connection(asyncio.Protocol):
    """A connection that is kept, with the last refresh token that it was answered."""

    def __init__(self, token, answered):
        self.token, self._answered = token, answered
        self._received = b""

    def connection_made(self, transport):
        self._transport = transport

    def send(self, request, due):
        self._due, self._received = due, b""
        self._transport.write(request)

    def data_received(self, data):
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if end:
            length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
            if len(body) >= int(length):
                self._answered(self, time.perf_counter() - self._due, int(head[9:12]), body)

    def close(self):
        self._transport.close()


class Load:
    """Requests of one kind, on some connections."""

    def __init__(self, server, kind, tokens):
        self._path = server.cfg.get("path", "/resource")
        self._token_path = server.cfg.get("token", "/token")
        self._port, self._kind, self._tokens = server.port, kind, tokens

    def _request(self, connection):
        if self._kind == "guard":
            lines = f"GET {self._path} HTTP/1.1", f"Authorization: Bearer {connection.token}"
            return "\r\n".join((*lines, "Host: 127.0.0.1", "", "")).encode()
        body = f"grant_type=refresh_token&refresh_token={connection.token}"
        lines = (
            f"POST {self._token_path} HTTP/1.1",
            "Host: 127.0.0.1",
            f"Authorization: {bench.BASIC}",
            "Content-Type: application/x-www-form-urlencoded",
            f"Content-Length: {len(body)}",
        )
        return "\r\n".join((*lines, "", body)).encode()

    def _answered(self, connection, latency, status, body):
        if status != 200:
            raise SystemExit(f"{status}: {body[:200]!r}")
        if self._kind == "refresh":
            connection.token = json.loads(body)["refresh_token"]
        self._latencies.append(latency)
        if self._due:
            connection.send(self._request(connection), self._due.popleft())
        else:
            self._idle.append(connection)

    async def run(self, rate, seconds):
        """The sorted latencies in seconds; without a rate, each answer is followed by a request."""
        self._latencies, self._idle, self._due = [], [], collections.deque()
        loop = asyncio.get_running_loop()
        for token in self._tokens:
            opening = loop.create_connection(
                lambda token=token: Connection(token, self._answered), "127.0.0.1", self._port
            )
            self._idle.append((await opening)[1])
        connections, begun = list(self._idle), time.perf_counter()
        if rate is None:
            await self._without_pause(seconds)
        else:
            await self._at_rate(begun, rate, seconds)
        self._due.clear()
        while len(self._idle) < len(connections):
            await asyncio.sleep(0.01)
        self._tokens = [connection.token for connection in connections]
        for connection in connections:
            connection.close()
        return sorted(self._latencies)

    async def _without_pause(self, seconds):
        self._due.extend(time.perf_counter() for _ in range(CONNECTIONS))
        end = time.perf_counter() + seconds
        self._send_due()
        while time.perf_counter() < end:
            self._due.extend(time.perf_counter() for _ in range(CONNECTIONS * 50 - len(self._due)))
            await asyncio.sleep(0.001)

    async def _at_rate(self, begun, rate, seconds):
        sent = 0
        while sent < rate * seconds:
            while sent < min(rate * seconds, (time.perf_counter() - begun) * rate):
                self._due.append(begun + sent / rate)
                sent += 1
            self._send_due()
            await asyncio.sleep(0.001)
        while self._due:
            await asyncio.sleep(0.001)

    def _send_due(self):
        while self._due and self._idle:
            connection = self._idle.pop()
            connection.send(self._request(connection), self._due.popleft())


def milliseconds(latencies, share):
    """A quantile of sorted latencies."""
    return round(1000 * latencies[min(len(latencies) - 1, int(share * len(latencies)))], 2)


def measure(server, kind, tokens, seconds):
    """The saturation of a server in requests per second, and the latencies at each load."""
    load = Load(server, kind, tokens)
    # The first run warms up.
    for _ in range(2):
        saturation = len(asyncio.run(load.run(None, SATURATED))) / SATURATED
    figures = {"saturation": round(saturation), "loads": {}}
    for share in LOADS:
        latencies = asyncio.run(load.run(max(1, share * saturation), seconds))
        quantiles = {"p50": milliseconds(latencies, 0.5), "p99": milliseconds(latencies, 0.99)}
        figures["loads"][share] = quantiles
        print(f"  {kind:8} {share:4.0%} of {saturation:6.0f}/s: {quantiles}", flush=True)
    return figures


def main():
    """Read the options, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("peers", nargs="*", default=PEERS)
    parser.add_argument("--seconds", type=float, default=5, help="for each rate")
    parser.add_argument("--write", action="store_true", help="keep the figures in results/")
    arguments = parser.parse_args()
    # The harness runs the server on the other processor.
    os.sched_setaffinity(0, map(int, bench.GEN_CPU.split(",")))
    figures = {}
    for name in arguments.peers:
        print(name, flush=True)
        server = bench.Server(name, bench.PEERS[name]).start()
        try:
            if server.cfg.get("floor"):
                kinds = {"guard": ["tok1"] * CONNECTIONS}
            else:
                kinds = {"guard": server.seed("access", 1) * CONNECTIONS}
                kinds["refresh"] = server.seed("refresh", CONNECTIONS)
            figures[name] = {
                kind: measure(server, kind, tokens, arguments.seconds) for kind, tokens in kinds.items()
            }
        finally:
            server.stop()
    if arguments.write:
        recorded.write("latency", figures)


if __name__ == "__main__":
    main()
