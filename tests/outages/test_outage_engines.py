"""What PostgreSQL, MariaDB and Redis have in common when they fail.

Behaviours F-06, F-07, F-08, F-09, F-14, F-19, F-20, F-21, RD-04, RD-05, DB-08, BG-17.
"""

from __future__ import annotations

import time
from typing import Any

import pytest
from outage_kit import (
    IN_TIME,
    Kept,
    Resources,
    Tried,
    back_to,
    error_of,
    eventually,
    one_outage_is_logged,
    opened,
    proxy_to,
    refused,
)
from twisted.internet.defer import Deferred, gatherResults

from djoauth2_twisted.errors import ConfigurationError, TemporarilyUnavailable


async def test_killed_and_started_again(tried: Tried) -> None:
    """F-06, F-19: all is refused in time; afterwards all that was kept is there, without a restart."""
    with one_outage_is_logged(most=2):  # one of those who read, and one of those who write
        tried.engine.kill()
        for _ in range(3):
            await refused(*tried.kept.all())
        tried.engine.start()
        await tried.kept.is_whole()


async def test_hung(tried: Tried) -> None:
    """F-08, F-20, RD-05: refused in time, and what was refused is not done when it continues."""
    with one_outage_is_logged(most=2):
        tried.engine.hang()
        await refused(*tried.kept.all())
        await refused(*tried.kept.all())
        tried.engine.go_on()
        await tried.kept.is_whole()


async def test_hung_before_it_is_connected_to(tried: Tried) -> None:
    """A connection that is not made in time is no different."""
    tried.engine.end_connections()
    tried.engine.hang()
    await refused(*tried.kept.all())
    await refused(*tried.kept.all())
    tried.engine.go_on()
    await tried.kept.is_whole()


async def test_hung_when_the_store_is_closed(engine: Any) -> None:
    """The end does not wait for it, and nothing of ours is left."""
    base = Resources.now()
    async with opened(engine) as store:
        kept = await Kept.put_into(store)
        engine.hang()
        steps = [error_of(step) for step in kept.all()]
        since = time.monotonic()
    assert time.monotonic() - since < IN_TIME
    assert {type(error) for error in await gatherResults(steps)} == {TemporarilyUnavailable}
    engine.go_on()
    await back_to(base)


async def test_idle_connections_dropped(tried: Tried) -> None:
    """F-14: the first that asks afterwards is answered."""
    for _ in range(3):
        tried.engine.end_connections()
        # Each lane or connection, and twice.
        found = await gatherResults([tried.kept.find() for _ in range(8)])
        assert None not in found
        assert set(await gatherResults([tried.kept.add() for _ in range(8)])) == {True}


async def test_connections_killed_in_mid_command(tried: Tried) -> None:
    """F-07, F-21: whatever is answered is true; what was refused was done wholly or not at all."""
    for _ in range(8):
        kept = await _keep_anew(tried)
        steps = [error_of(step) for step in (*kept.all(), *kept.all())]
        tried.engine.end_connections()
        errors = await gatherResults(steps)
        assert {type(error) for error in errors} <= {type(None), TemporarilyUnavailable}
        await _code_and_token_are_used_once(kept)
    await (await _keep_anew(tried)).is_whole()


async def _keep_anew(tried: Tried) -> Kept:
    """Put something into a store whose connections were all just killed: the first may be refused."""
    kept: Kept = await eventually(lambda: Deferred.fromCoroutine(Kept.put_into(tried.store)))
    return kept


async def _code_and_token_are_used_once(kept: Kept) -> None:
    """A second use of what was redeemed is no second success."""
    won = [await _issued(kept) for _ in range(3)]
    assert sum(won) <= 2  # the code's, and the token's


async def _issued(kept: Kept) -> int:
    outcomes = await gatherResults([error_or_outcome(step) for step in (kept.redeem(), kept.rotate())])
    return sum(type(outcome).__name__ == "Issued" for outcome in outcomes)


def error_or_outcome(step: Any) -> Any:
    return step.addErrback(lambda failure: failure.value)


async def test_network_that_swallows_everything(engine: Any) -> None:
    """F-08: connections that lead nowhere are given up for new ones, which the network lets through."""
    with proxy_to(engine.port) as proxy:
        async with opened(engine, engine.url(proxy.port)) as store:
            kept = await Kept.put_into(store)
            proxy.swallow()
            await refused(*kept.all())
            await refused(*kept.all())
            proxy.forget()
            await kept.is_whole()


async def test_network_that_swallows_what_is_connected(engine: Any) -> None:
    """The same where connections are accepted, and nothing is sent on them."""
    with proxy_to(engine.port) as proxy:
        async with opened(engine, engine.url(proxy.port)) as store:
            kept = await Kept.put_into(store)
            proxy.swallow()
            engine.end_connections()
            await refused(*kept.all())
            await refused(*kept.all())
            proxy.forget()
            await kept.is_whole()


async def test_network_that_breaks_in_mid_command(engine: Any) -> None:
    """F-21, F-25: after any number of bytes."""
    with proxy_to(engine.port) as proxy:
        async with opened(engine, engine.url(proxy.port)) as store:
            for count in (1, 100, 300, 800, 1300, 2500):
                kept = await Kept.put_into(store)
                proxy.cut_after(count)
                errors = await gatherResults([error_of(step) for step in kept.all()])
                assert {type(error) for error in errors} <= {type(None), TemporarilyUnavailable}
                proxy.let_through()
                await kept.is_whole(strictly=False)


async def test_network_that_is_slow(engine: Any) -> None:
    """F-09: 30 ms each way, which is across a continent, is no outage, after a new connection either."""
    with proxy_to(engine.port) as proxy:
        async with opened(engine, engine.url(proxy.port)) as store:
            kept = await Kept.put_into(store)
            proxy.delay = 0.03
            # A slow machine may need several tries; too many round trips would fail at each.
            asked = (kept.find, kept.add, kept.redeem, kept.rotate, kept.revoke)
            await gatherResults([Deferred.fromCoroutine(eventually(ask)) for ask in asked])
            engine.end_connections()
            again = await eventually(lambda: Deferred.fromCoroutine(Kept.put_into(store)))
            await again.is_whole()


async def test_network_that_is_far_too_slow(engine: Any) -> None:
    """Refused in time, and then good again."""
    with proxy_to(engine.port) as proxy:
        async with opened(engine, engine.url(proxy.port)) as store:
            kept = await Kept.put_into(store)
            proxy.delay = 3.0
            await refused(*kept.all())
            proxy.let_through()
            await kept.is_whole(strictly=False)


@pytest.mark.parametrize("fault", ["stopped", "hung"])
async def test_not_there_at_the_start(engine: Any, fault: str) -> None:
    """It is said in one line, soon, and nothing is left behind."""
    base = Resources.now()
    if fault == "stopped":
        engine.kill()
    else:
        engine.hang()
    since = time.monotonic()
    with pytest.raises(ConfigurationError) as raised:
        async with opened(engine):
            raise AssertionError("it was opened")
    assert time.monotonic() - since < IN_TIME
    assert "\n" not in str(raised.value)
    assert "right" not in str(raised.value)
    del raised  # and with it what its traceback holds
    engine.go_on() if fault == "hung" else engine.start()
    await back_to(base)
