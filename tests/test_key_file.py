"""The key file: what it seals, and which files are refused."""

from __future__ import annotations

import base64
import stat
import threading
from pathlib import Path

import pytest

from djoauth2_twisted.errors import ConfigurationError
from djoauth2_twisted.key_file import CannotUnseal, KeyFile, ServerKeys, read, read_or_make

ONE, TWO, THREE = (bytes([number]) * 32 for number in (1, 2, 3))


def key_file(*keys: bytes) -> KeyFile:
    return KeyFile(Path("a.key"), keys)


def written(path: Path, content: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(content)
    path.chmod(mode)
    return path


def line(key: bytes) -> bytes:
    return base64.b64encode(key) + b"\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db.key"


def test_sealed_secret_is_unsealed_and_not_seen() -> None:
    """Each time it looks different."""
    keys, secret = key_file(ONE), b"a secret of some length"
    sealed = keys.seal(secret, b"of alice")
    assert keys.unseal(sealed, b"of alice") == secret
    assert secret not in sealed
    assert keys.seal(secret, b"of alice") != sealed


def test_sealed_secret_of_another_is_not_unsealed() -> None:
    """So a row of the database cannot be given to another user."""
    sealed = key_file(ONE).seal(b"secret", b"of alice")
    with pytest.raises(CannotUnseal):
        key_file(ONE).unseal(sealed, b"of bob")
    with pytest.raises(CannotUnseal):
        key_file(TWO).unseal(sealed, b"of alice")


def test_changed_byte_is_noticed() -> None:
    """Also one that is missing, down to nothing."""
    keys = key_file(ONE)
    sealed = keys.seal(b"secret", b"")
    changed = [sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :] for at in range(len(sealed))]
    for each in changed + [sealed[:length] for length in range(len(sealed))]:
        with pytest.raises(CannotUnseal):
            keys.unseal(each, b"")


def test_key_is_changed_in_two_steps() -> None:
    """The newest stands first, and seals; what the one before has sealed is unsealed meanwhile."""
    old, both, new = key_file(ONE), key_file(TWO, ONE), key_file(TWO)
    sealed = old.seal(b"secret", b"")
    assert both.unseal(sealed, b"") == b"secret"
    assert not both.is_newest(sealed)
    again = both.seal(b"secret", b"")
    assert both.is_newest(again)
    assert new.unseal(again, b"") == b"secret"
    with pytest.raises(CannotUnseal):
        new.unseal(sealed, b"")


def test_keys_are_not_shown() -> None:
    """In no message that has the object in it."""
    assert "\\x01" not in repr(key_file(ONE))


def test_file_is_made_for_its_owner_alone(path: Path) -> None:
    """And read again later."""
    keys = read_or_make(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(keys.keys) == 1
    assert read_or_make(path) == keys == read(path)
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_file_that_several_make_at_once_is_one(path: Path) -> None:
    """All read the same key."""
    made: list[KeyFile] = []
    barrier = threading.Barrier(8)

    def make() -> None:
        barrier.wait()
        made.append(read_or_make(path))

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({each.keys for each in made}) == 1
    assert len(made) == 8


@pytest.mark.parametrize(
    ("content", "keys"),
    [
        (line(ONE), (ONE,)),
        (line(TWO) + line(ONE), (TWO, ONE)),
        (b"\n" + line(ONE).replace(b"\n", b"\r\n"), (ONE,)),
    ],
)
def test_file_has_one_key_or_two(path: Path, content: bytes, keys: tuple[bytes, ...]) -> None:
    """A line each. Its group may read it."""
    assert read(written(path, content, 0o640)).keys == keys


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"not base64",
        line(ONE[:31]),
        line(ONE + b"\1"),
        line(ONE) + b"short",
        line(ONE) + line(TWO) + line(THREE),
        b"\n" * 1000 + line(ONE),
        bytes(range(128, 160)),
    ],
    ids=repr,
)
def test_file_without_a_key_is_refused(path: Path, content: bytes) -> None:
    """In one line that does not repeat the content."""
    with pytest.raises(ConfigurationError, match="must have one key or two") as caught:
        read(written(path, content))
    assert "\n" not in str(caught.value)
    if len(content) > 30:
        assert repr(content)[5:20] not in str(caught.value)


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o620, 0o644, 0o666])
def test_file_that_is_open_to_others_is_refused(path: Path, mode: int) -> None:
    """The line says how to close it."""
    with pytest.raises(ConfigurationError, match="run `chmod 600 "):
        read(written(path, line(ONE), mode))


def test_file_that_is_missing_or_cannot_be_read_is_refused(path: Path, tmp_path: Path) -> None:
    """The line says how to make it."""
    with pytest.raises(ConfigurationError, match=r"make it with `.*openssl rand -base64 32"):
        read(path)
    with pytest.raises(ConfigurationError, match="cannot be read: Is a directory"):
        read(tmp_path)
    with pytest.raises(ConfigurationError, match="cannot be made: No such file or directory"):
        read_or_make(tmp_path / "missing" / "a.key")


class TestServerKeys:
    """The key file of one server."""

    def test_file_that_is_not_named_is_made_beside_the_database(self, path: Path) -> None:
        """When it is first needed, and not before."""
        keys = ServerKeys("", path)
        assert keys.path == path
        with pytest.raises(ConfigurationError, match="does not exist"):
            keys.open_existing()
        keys.check()
        assert not path.exists()
        assert keys.open() is keys.open() is keys.open_existing()
        assert read(path) == keys.open()

    def test_file_that_is_named_is_never_made(self, path: Path) -> None:
        """A path with a mistake in it is noticed."""
        keys = ServerKeys(str(path), path.with_name("other"))
        for ask in (keys.open, keys.check):
            with pytest.raises(ConfigurationError, match="does not exist"):
                ask()
        assert list(path.parent.iterdir()) == []
        written(path, line(ONE))
        assert keys.open().keys == (ONE,)

    def test_file_must_be_named_where_the_database_is_no_file(self) -> None:
        """The line names the setting."""
        keys = ServerKeys("", None)
        assert keys.path is None
        keys.check()
        for ask in (keys.open, keys.open_existing):
            with pytest.raises(ConfigurationError, match="OPENID_KEY_FILE"):
                ask()
