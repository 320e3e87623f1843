"""A database knows where its server keeps the tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from twisted.internet import reactor as the_reactor
from twisted.logger import capturedLogs

from djoauth2_twisted.cli.running import Store, administer
from djoauth2_twisted.conf import Settings
from djoauth2_twisted.errors import ConfigurationError
from djoauth2_twisted.server import AuthorizationServer
from djoauth2_twisted.stores.sql import token_place
from djoauth2_twisted.stores.sql.database import Database
from djoauth2_twisted.stores.urls import from_url

reactor: Any = the_reactor


@pytest.fixture
def url(path: Path) -> str:
    return f"sqlite:///{path}"


@pytest.fixture
def tokens(path: Path) -> Path:
    return path.with_name("tokens.db")


async def serve(url: str, token_store: str | None = None) -> list[str]:
    """Start and stop a server. Returns the warnings that it logged."""
    server = AuthorizationServer.from_url(
        reactor, url, issuer="https://a.example", token_store=token_store
    )
    with capturedLogs() as logged:
        server.startService()
        await server.when_ready()
        await server.stopService()
    lines = [event["log_format"].format(**event) for event in logged if "place" in event]
    return [line for line in lines if line.startswith("The tokens are")]


async def recorded(url: str) -> str | None:
    database = Database(reactor, url)
    database.open()
    place = await database.read(token_place.find)
    await database.close()
    return place


async def elsewhere(url: str, token_store: str | None = None) -> str | None:
    """The options of a command."""

    async def ask(administration: Any) -> str | None:
        reason: str | None = administration.tokens_elsewhere
        return reason

    return await administer(reactor, Store(url, token_store), Settings(), ask)


async def test_a_server_records_where_it_keeps_the_tokens(url: str, tokens: Path) -> None:
    assert await recorded(url) is None
    assert await serve(url, f"sqlite:///{tokens}") == []
    assert await recorded(url) == str(tokens)
    assert await recorded(f"sqlite:///{tokens}") is None
    # And that it does not any more: what is there is lost to the clients.
    (line,) = await serve(url)
    assert line.startswith(f"The tokens are in {url.removeprefix('sqlite:///')} from now on.")
    assert line.endswith(f"Those in {tokens} are no longer valid.")
    assert await recorded(url) == token_place.HERE
    assert await serve(url) == []


async def test_a_server_that_cannot_reach_the_token_store_records_nothing(
    url: str, tmp_path: Path
) -> None:
    server = AuthorizationServer.from_url(
        reactor, url, issuer="https://a.example", token_store=f"unix://{tmp_path}/none.sock"
    )
    with capturedLogs():
        server.startService()
        with pytest.raises(ConfigurationError):
            await server.when_ready()
        await server.stopService()
    assert await recorded(url) is None


async def test_a_command_records_nothing_and_knows_before_a_server_none_that_is_wrong(
    url: str, tokens: Path
) -> None:
    assert await elsewhere(url) is None
    assert await elsewhere(url, f"sqlite:///{tokens}") is None
    assert await recorded(url) is None


async def test_a_command_is_told_where_the_tokens_are(url: str, tokens: Path) -> None:
    there = f"sqlite:///{tokens}"
    await serve(url, there)
    assert await elsewhere(url, there) is None
    for wrong in (None, url, f"sqlite:///{tokens}2"):
        reason = await elsewhere(url, wrong)
        assert reason is not None
        assert str(tokens) in reason
        assert "--token-store" in reason
    await serve(url)
    assert await elsewhere(url) is None
    assert await elsewhere(url, url) is None
    assert await elsewhere(url, there) == (
        "the server keeps its tokens in the database: leave --token-store out"
    )


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("redis://me:SECRET@127.0.0.1", "redis://127.0.0.1:6379/0"),
        ("rediss://:SECRET@[::1]:7000/3", "rediss://[::1]:7000/3"),
        ("unix://:SECRET@/run/re%20dis.sock?db=2", "unix:///run/re%20dis.sock?db=2"),
        ("redis+sentinel://:SECRET@a,b:5000/name/4", "redis+sentinel://a:26379,b:5000/name/4"),
    ],
)
def test_the_name_of_a_redis_has_no_login(url: str, name: str) -> None:
    from djoauth2_twisted.stores.redis.connection import Redis

    redis = Redis(reactor, url)
    assert redis.name == name
    assert Redis(reactor, name).name == name


async def test_a_database_that_does_not_answer_is_a_line(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, _, _ = from_url(reactor, url)
    with pytest.raises(ConfigurationError, match="does not answer"):
        await database.connect()


async def test_a_token_store_that_is_the_database_is_no_place_of_its_own(url: str, path: Path) -> None:
    """However its URL is written."""
    link = path.with_name("link.db")
    link.symlink_to(path)
    await serve(url, f"sqlite:///{link}")
    assert await recorded(url) == token_place.HERE
    assert await elsewhere(url) is None
