"""Mutated requests over sockets break no server process (U-01 to U-04, U-08)."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from fuzz_sockets import OPTIONS, PORTS, SocketFuzzer, with_an_administrator
from service_kit import PATIENCE, Server

pytestmark = pytest.mark.process


def test_no_bytes_break_a_server_process(tmp_path: Path) -> None:
    """Neither its answers nor its log. The time is not judged: other tests may run on this machine."""
    server = Server.start(with_an_administrator(tmp_path), *OPTIONS, ports=PORTS)
    try:
        fuzzer = SocketFuzzer(server.wait_until_ready(len(PORTS)), random.Random(1), longest=PATIENCE)
        fuzzer.run(300)
        fuzzer.check_what_is_left()
    finally:
        server.kill()
