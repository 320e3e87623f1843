"""What a test has left on a reactor."""

from __future__ import annotations

from collections.abc import Collection

from twisted.internet.interfaces import IDelayedCall, IReactorTime


def cancel_new_calls(reactor: IReactorTime, before: Collection[IDelayedCall]) -> list[str]:
    """Cancel the delayed calls that were not there before. Returns how each is described.

    A call that repeats itself is a new one each time, and would be held against every later test.
    """
    left = [call for call in reactor.getDelayedCalls() if call not in before]
    described = [str(call) for call in left]
    for call in left:
        call.cancel()
    return described
