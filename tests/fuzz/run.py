"""Fuzzing by hand, for as long as you like: ``python tests/fuzz/run.py memory 1000000``.

``memory`` sends mutated requests to a server in this process, ``sockets`` to a server of its own on
127.0.0.1. docs/fuzzing.md says what is looked at. The first fault ends the run with status 1, and its
text holds the request. The same seed repeats a run in memory.
"""

from __future__ import annotations

import argparse
import gc
import random
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

_TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(_TESTS / name) for name in ("fuzz", "web", "service", ".")]

from fuzz_memory import MemoryFuzzer, lighten  # noqa: E402
from fuzz_oracle import Fault  # noqa: E402

#: How many requests are sent between two measurements of what is held.
_EPOCH = 25_000

#: How much more may be held at the end than after so many epochs, in which caches fill.
_GROWTH, _WARM = 1.02, 4


def in_memory(requests: int, seed: int) -> str:
    """Fuzz a server in this process; the summary."""
    lighten()
    gc.collect()
    gc.freeze()
    fuzzer = MemoryFuzzer(random.Random(seed))
    held: list[Counter[str]] = []
    began = time.monotonic()
    while fuzzer.count < requests:
        fuzzer.run(min(_EPOCH, requests - fuzzer.count))
        held.append(fuzzer.held())
        _tell(
            fuzzer.count,
            began,
            f"{held[-1].total()} objects, {_resident():.0f} MiB, {_statuses(fuzzer.outcomes)}",
        )
        warm = held[:_WARM][-1]
        if held[-1].total() > warm.total() * _GROWTH:
            raise Fault(f"growth: {(held[-1] - warm).most_common(20)}")
    fuzzer.stop()
    slowest, request = fuzzer.slowest
    return (
        f"{fuzzer.count} requests, seed {seed}, no fault. {_statuses(fuzzer.outcomes)}. "
        f"{len(fuzzer.outcomes)} pairs of path and status. "
        f"Objects held: {warm.total()} after {_WARM} epochs, {held[-1].total()} at last. "
        f"The slowest request took {slowest * 1000:.0f} ms: {request[:80]!r}"
    )


def over_sockets(requests: int, seed: int) -> str:
    """Fuzz a server process; the summary."""
    from fuzz_sockets import fuzz_a_server

    return fuzz_a_server(requests, random.Random(seed))


def _tell(count: int, began: float, more: str) -> None:
    print(f"{count} requests in {time.monotonic() - began:.0f} s: {more}", flush=True)


def _resident() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _statuses(outcomes: Counter[tuple[str, str]]) -> str:
    counts: Counter[str] = Counter()
    for (_, status), count in outcomes.items():
        counts[status] += count
    return ", ".join(f"{status}: {count}" for status, count in sorted(counts.items()))


_WAYS: dict[str, Callable[[int, int], str]] = {"memory": in_memory, "sockets": over_sockets}


def main() -> int:
    """Run, and print the summary or the fault."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("way", choices=_WAYS)
    parser.add_argument("requests", type=int)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    try:
        print(_WAYS[arguments.way](arguments.requests, arguments.seed))
    except Fault as fault:
        print(f"FAULT {fault}")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
