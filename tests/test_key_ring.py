"""The signing keys of a server: their file, its loss, and changes by several processes."""

from __future__ import annotations

from collections.abc import Awaitable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from waiting import result_of

from djoauth2_twisted.errors import ConfigurationError, TemporarilyUnavailable
from djoauth2_twisted.key_file import ServerKeys, read_or_make
from djoauth2_twisted.key_ring import KeyRing
from djoauth2_twisted.models import SigningKey
from djoauth2_twisted.protocol import jose, key_states
from djoauth2_twisted.protocol.key_states import MARGIN, MAX_AGE, MAX_STALENESS, Rules
from djoauth2_twisted.stores.memory import MemoryRegistry

pytestmark = pytest.mark.usefixtures("few_keys")

_T = TypeVar("_T")

RULES = Rules(90 * 86400, 3600)


class Kept(MemoryRegistry):
    """Stands for a database: it outlives a server, so that keys need a file."""

    is_in_memory = False

    def __init__(self) -> None:
        super().__init__()
        self.fails = False
        #: Called before the next change.
        self.meanwhile: Any = None

    def signing_keys(self) -> Deferred[list[SigningKey]]:
        if self.fails:
            raise TemporarilyUnavailable()
        return super().signing_keys()

    def replace_signing_keys(self, before: list[SigningKey], after: list[SigningKey]) -> Deferred[bool]:
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            meanwhile()
        return super().replace_signing_keys(before, after)


def done(work: Awaitable[_T]) -> _T:
    found: _T = result_of(Deferred.fromCoroutine(work))  # type: ignore[arg-type]
    return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "djoauth2.db.key"


@pytest.fixture
def registry() -> Kept:
    return Kept()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def new_ring(registry: Kept, clock: Clock, path: Path | None, named: str = "") -> KeyRing:
    return KeyRing(clock, registry, ServerKeys(named, path), RULES, clock.seconds)


def started(registry: Kept, clock: Clock, path: Path) -> KeyRing:
    ring = new_ring(registry, clock, path)
    done(ring.start())
    return ring


def test_file_is_made_beside_a_database(registry: Kept, clock: Clock, path: Path) -> None:
    """At the first start, for its owner alone. The next start reads it."""
    first = started(registry, clock, path)
    assert path.stat().st_mode & 0o777 == 0o600
    second = started(registry, clock, path)
    assert done(first.published()) == done(second.published())
    assert done(first.signer("RS256")).kid == done(second.signer("RS256")).kid


def test_without_a_place_for_the_file_it_must_be_named(registry: Kept, clock: Clock) -> None:
    with pytest.raises(ConfigurationError, match="OPENID_KEY_FILE"):
        done(new_ring(registry, clock, None).start())
    assert result_of(registry.signing_keys()) == []


def test_lost_file_is_one_line_and_no_start(registry: Kept, clock: Clock, path: Path) -> None:
    """No other is made in its place."""
    started(registry, clock, path)
    path.rename(path.with_name("moved"))
    with pytest.raises(ConfigurationError) as caught:
        started(registry, clock, path)
    assert "is missing" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not path.exists()
    path.with_name("moved").rename(path)
    started(registry, clock, path)


def test_wrong_file_is_one_line_and_no_start(registry: Kept, clock: Clock, path: Path) -> None:
    started(registry, clock, path)
    before = result_of(registry.signing_keys())
    path.unlink()
    read_or_make(path)
    with pytest.raises(ConfigurationError) as caught:
        started(registry, clock, path)
    assert "is not the one under which the signing keys in the database are sealed" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert result_of(registry.signing_keys()) == before


def test_no_private_half_is_stored_in_clear(registry: Kept, clock: Clock, path: Path) -> None:
    """What is stored reveals nothing without the file, and neither does the repr of the ring."""
    ring = started(registry, clock, path)
    for key in result_of(registry.signing_keys()):
        assert b'"d"' not in (key.sealed_private or b"")
        assert b"kty" not in (key.sealed_private or b"")
        assert '"d"' not in repr(key)
    assert '"d"' not in repr(vars(ring)["_private"])


def test_of_two_that_start_at_once_both_have_the_same_keys(
    registry: Kept, clock: Clock, path: Path
) -> None:
    """One has made them meanwhile."""
    registry.meanwhile = lambda: started(registry, clock, path)
    second = started(registry, clock, path)
    assert len(result_of(registry.signing_keys())) == 4
    assert [key["kid"] for key in done(second.published())] == [
        key.kid for key in result_of(registry.signing_keys())
    ]


def test_keys_are_made_at_once_where_all_were_retired_by_hand(
    registry: Kept, clock: Clock, path: Path
) -> None:
    """By the next token that is signed, once for all that are signed then, and seen by all processes."""
    one, two = started(registry, clock, path), started(registry, clock, path)
    for state in ("next", "current"):
        keys = result_of(registry.signing_keys())
        (ended,) = [key.kid for key in keys if (key.algorithm, key.state) == ("RS256", state)]
        assert result_of(registry.replace_signing_keys(keys, key_states.without(keys, ended, 1)))
    clock.advance(MAX_STALENESS)
    signers = [Deferred.fromCoroutine(ring.signer("RS256")) for ring in (one, one, two)]
    kids = {result_of(signer).kid for signer in signers}
    assert kids == {key.kid for key in result_of(registry.signing_keys()) if key.state == "current"} - {
        done(one.signer("ES256")).kid
    }
    assert ended not in kids


def test_a_rotation_is_made_once(registry: Kept, clock: Clock, path: Path) -> None:
    """Also where two processes do it at the same moment."""
    one, two = started(registry, clock, path), started(registry, clock, path)
    clock.advance(RULES.rotation)
    registry.meanwhile = lambda: done(one.tend())
    done(two.tend())
    states = sorted(key.state for key in result_of(registry.signing_keys()))
    assert states == ["current"] * 2 + ["next"] * 2 + ["retired"] * 2
    clock.advance(MAX_STALENESS)
    assert done(one.signer("ES256")).kid == done(two.signer("ES256")).kid


def test_a_process_that_ends_in_a_rotation_loses_nothing(
    registry: Kept, clock: Clock, path: Path
) -> None:
    """It has changed all or nothing, and the next one continues."""
    ring = started(registry, clock, path)
    before = result_of(registry.signing_keys())
    clock.advance(RULES.rotation)

    def end() -> None:
        raise KeyboardInterrupt

    registry.meanwhile = end
    with pytest.raises(KeyboardInterrupt):
        done(ring.tend())
    assert result_of(registry.signing_keys()) == before
    done(started(registry, clock, path).tend())
    assert len(result_of(registry.signing_keys())) == 6


def test_what_was_signed_before_a_rotation_is_verified_after_it(
    registry: Kept, clock: Clock, path: Path
) -> None:
    ring = started(registry, clock, path)
    token = done(ring.sign(done(ring.signer("RS256")), {"sub": "s"}))
    clock.advance(MAX_AGE + MARGIN)
    done(ring.rotate())
    assert done(ring.signer("RS256")).kid not in token
    assert done(ring.verify(token)) == {"sub": "s"}
    with pytest.raises(jose.BadToken):
        done(ring.verify(token + "x"))


def test_an_outage_of_the_registry_stops_no_signature(registry: Kept, clock: Clock, path: Path) -> None:
    """The keys that were read before serve until it answers."""
    ring = started(registry, clock, path)
    signer = done(ring.signer("RS256"))
    clock.advance(MAX_STALENESS)
    registry.fails = True
    assert done(ring.signer("RS256")) is signer
    assert len(done(ring.published())) == 4


def test_a_key_that_another_file_sealed_is_published_but_not_used(
    registry: Kept, clock: Clock, path: Path
) -> None:
    """As where the files of two machines differ. What other machines sign can be verified."""
    ring = started(registry, clock, path)
    path.unlink()
    read_or_make(path)
    assert result_of(registry.replace_signing_keys(result_of(registry.signing_keys()), []))
    other = started(registry, clock, path)
    clock.advance(MAX_STALENESS)
    assert done(ring.published()) == done(other.published())
    with pytest.raises(TemporarilyUnavailable):
        done(ring.signer("RS256"))


def test_key_of_the_file_is_changed(registry: Kept, clock: Clock, path: Path) -> None:
    """With two lines for a while. Then the keys are sealed under the new one alone."""
    signer = done(started(registry, clock, path).signer("RS256"))
    old = path.read_bytes()
    path.unlink()
    read_or_make(path)
    new = path.read_bytes()
    path.write_bytes(new + old)
    started(registry, clock, path)
    path.write_bytes(new)
    assert done(started(registry, clock, path).signer("RS256")).kid == signer.kid


def test_keys_are_given_up_without_the_file(registry: Kept, clock: Clock, path: Path) -> None:
    """Where it is lost for good: all are retired, and the next start makes new ones."""
    started(registry, clock, path)
    path.unlink()
    while kept := [k for k in result_of(registry.signing_keys()) if k.state != "retired"]:
        keys = result_of(registry.signing_keys())
        left = key_states.without(keys, kept[0].kid, 1)
        assert result_of(registry.replace_signing_keys(keys, left))
    ring = started(registry, clock, path)
    assert done(ring.signer("RS256")).kid not in {key.kid for key in kept}
