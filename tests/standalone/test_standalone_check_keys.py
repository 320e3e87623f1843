"""The check of the key file and of the signing keys: each finding, and when there is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from reactors import reactor
from twisted.internet.task import Clock
from waiting import result_of

from djoauth2_twisted.conf import Settings
from djoauth2_twisted.key_file import ServerKeys, read_or_make
from djoauth2_twisted.key_ring import KeyRing
from djoauth2_twisted.models import SigningKey
from djoauth2_twisted.protocol.key_states import Rules
from djoauth2_twisted.server import AuthorizationServer
from djoauth2_twisted.standalone.check.keys import GRACE, judge_keys
from djoauth2_twisted.stores.memory import MemoryRegistry
from djoauth2_twisted.stores.urls import from_url

ROTATION = Settings().openid_key_rotation


class Kept(MemoryRegistry):
    """Stands for a database: it outlives a server, so that keys need a file."""

    is_in_memory = False


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "djoauth2.db.key"


@pytest.fixture
def stored(path: Path) -> list[SigningKey]:
    """The keys of a server that was started at the beginning of the epoch."""
    registry, clock = Kept(), Clock()
    rules = Rules(ROTATION, 3600)
    result_of(KeyRing(clock, registry, ServerKeys("", path), rules, clock.seconds).start())
    keys: list[SigningKey] = result_of(registry.signing_keys())
    return keys


def judge(
    stored: list[SigningKey],
    beside: Path | None,
    named: str = "",
    now: float = 0,
    keeps_logins: bool = True,
    **settings: Any,
) -> list[tuple[str, str]]:
    """The weight and the text of each finding, each once."""
    wanted = Settings(**{"openid": True, **settings})
    found = judge_keys(wanted, ServerKeys(named, beside), stored, keeps_logins, now)
    return list(dict.fromkeys((each.weight.name, each.text) for each in found))


def test_keys_and_their_file_have_no_finding(stored: list[SigningKey], path: Path) -> None:
    assert judge(stored, path) == []
    assert judge([], path) == []


def test_file_that_the_server_makes_is_no_finding(path: Path) -> None:
    """The check makes none."""
    assert judge([], path) == []
    assert not path.exists()


def test_missing_file_of_stored_keys_is_an_error(stored: list[SigningKey], path: Path) -> None:
    path.unlink()
    [(weight, text)] = judge(stored, path)
    assert weight == "ERROR"
    assert f"the key file {path} is missing" in text
    assert "djoauth2 keys retire" in text
    assert not path.exists()


def test_file_that_must_be_named_and_is_not_is_an_error() -> None:
    [(weight, text)] = judge([], None)
    assert weight == "ERROR"
    assert "OPENID_KEY_FILE" in text


def test_named_file_that_is_missing_is_an_error(path: Path) -> None:
    [(weight, text)] = judge([], None, named=str(path))
    assert weight == "ERROR"
    assert "does not exist: make it with" in text


def test_keys_that_another_file_sealed_are_one_error(stored: list[SigningKey], path: Path) -> None:
    path.unlink()
    read_or_make(path)
    [(weight, text)] = judge(stored, path)
    assert weight == "ERROR"
    assert "is not the one under which the signing keys in the database are sealed" in text


def test_key_that_signs_for_too_long_is_a_warning(stored: list[SigningKey], path: Path) -> None:
    """Not on the day on which it is due, and not where keys are rotated by hand."""
    late = ROTATION + GRACE
    assert judge(stored, path, now=late - 1) == []
    findings = judge(stored, path, now=late)
    assert [weight for weight, _ in findings] == ["WARNING", "WARNING"]
    assert "signs since 1970-01-01, longer than it should" in findings[0][1]
    assert judge(stored, path, now=late, openid_key_rotation=0) == []


def test_keys_are_not_judged_without_openid(stored: list[SigningKey], path: Path) -> None:
    path.unlink()
    assert judge(stored, path, now=2 * ROTATION, openid=False) == []


def test_second_factors_that_are_required_need_a_key_file(path: Path) -> None:
    """Also without OpenID Connect. Those of a Portal cannot be required."""
    required: dict[str, Any] = {"openid": False, "require_second_factor": "all"}
    assert judge([], path, **required) == []
    assert judge([], None, openid=False) == []
    [(weight, text)] = judge([], None, **required)
    assert weight == "ERROR"
    assert "REQUIRE_SECOND_FACTOR is 'all': it needs a key file" in text
    [(weight, text)] = judge([], path, keeps_logins=False, **required)
    assert weight == "ERROR"
    assert "has its own" in text


@pytest_twisted.ensureDeferred
async def test_keys_of_a_database_are_read_before_it_is_opened(tmp_path: Path) -> None:
    """As they are in it, also while a server uses it. Nothing is changed."""
    url = f"sqlite:///{tmp_path / 'a.db'}"
    opened, _, _ = from_url(reactor, url)
    assert opened.signing_keys_at_rest() == []
    settings = Settings(openid=True)
    server = AuthorizationServer.from_url(reactor, url, issuer="https://a.example", settings=settings)
    server.startService()
    await server.when_ready()
    try:
        kept = await server.registry.signing_keys()
        assert opened.signing_keys_at_rest() == kept
        assert len(kept) == 4
    finally:
        await server.stopService()
    before = sorted((each.name, each.stat().st_mtime_ns) for each in tmp_path.iterdir())
    assert opened.signing_keys_at_rest() == kept
    assert before == sorted((each.name, each.stat().st_mtime_ns) for each in tmp_path.iterdir())
