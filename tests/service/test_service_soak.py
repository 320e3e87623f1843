"""The traffic of ``benchmarks/soak.py``, each kind of it a few times. Its hours are in docs/soak.md."""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import aclosing, closing
from importlib import import_module
from pathlib import Path
from typing import Any

from service_kit import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))

soak: Any = import_module("soak")
soak_plot: Any = import_module("soak_plot")


def test_mixed_traffic_is_answered_as_expected(tmp_path: Path, monkeypatch):
    """F-36: no answer has another status than it should, and the plot shows what was recorded."""
    monkeypatch.setattr(soak, "USERS", 2)
    monkeypatch.setattr(soak, "GRANTS", 4)
    monkeypatch.setattr(soak, "SAMPLED", 1)
    server, resource_server = soak.make_world(tmp_path)

    async def send_all() -> None:
        async with aclosing(soak.Traffic(server, resource_server, record)) as traffic:
            await traffic.begin()
            for kind in [*soak.KINDS, *soak.KINDS]:
                await traffic.act(kind, time.perf_counter())
            await soak.write_rows(server, record, tmp_path, time.perf_counter() + 0.5)

    with closing(soak.Record(tmp_path / "unexpected.txt")) as record:
        try:
            asyncio.run(send_all())
        finally:
            server.stop()
    assert record.unexpected == 0, (tmp_path / "unexpected.txt").read_text()
    soak_plot.plot(tmp_path / "soak.csv", tmp_path / "soak.svg")
    assert "memory" in (tmp_path / "soak.svg").read_text()
