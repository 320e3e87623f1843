"""The key file: the key under which secrets are sealed before they are stored.

A copy of the database without the file, such as a backup, reveals none of them. The file has one key,
or two while the key is changed. Secrets are sealed with the first, which is the newest, and unsealed
with either. A key is a line of 32 random bytes in base64 (RFC 4648, section 4).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import secrets
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from shlex import quote

from attrs import define, field, frozen
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from .errors import ConfigurationError

#: The length of a key, in bytes: AES-256.
KEY_LENGTH = 32

#: The longest key file that is read, in bytes.
MAX_FILE_LENGTH = 1000

_SETTING = "openid_key_file"
_VERSION = b"\1"
_ID_LENGTH = 4
_NONCE_LENGTH = 12

#: Others may neither read nor change the file. Its group may read it, as where Kubernetes mounts it.
_OPEN = stat.S_IRWXO | stat.S_IWGRP


class CannotUnseal(Exception):
    """The bytes were sealed under another key or for another purpose, or they were changed."""


@frozen
class KeyFile:
    """The keys of a key file.

    :param path: for messages.
    :param keys: one or two, the newest first.
    """

    path: Path
    keys: tuple[bytes, ...] = field(repr=False)

    def seal(self, plaintext: bytes, associated: bytes) -> bytes:
        """Encrypt bytes with AES-256-GCM (NIST SP 800-38D) under the newest key.

        :param associated: what the bytes are and whose. Without the same, they cannot be unsealed.
        """
        nonce = secrets.token_bytes(_NONCE_LENGTH)
        sealed = AESGCM(self.keys[0]).encrypt(nonce, plaintext, associated)
        return _VERSION + _id_of(self.keys[0]) + nonce + sealed

    def unseal(self, sealed: bytes, associated: bytes) -> bytes:
        """Decrypt what `seal` has returned for the same ``associated``.

        :raises CannotUnseal: it was sealed under another key or for another purpose, or was changed.
        """
        start = len(_VERSION) + _ID_LENGTH
        named, nonce = sealed[len(_VERSION) : start], sealed[start : start + _NONCE_LENGTH]
        if sealed.startswith(_VERSION):
            for key in self.keys:
                if _id_of(key) == named:
                    with suppress(InvalidTag, ValueError):
                        return AESGCM(key).decrypt(nonce, sealed[start + _NONCE_LENGTH :], associated)
        raise CannotUnseal(f"no key in {self.path} unseals a secret of the database")

    def is_newest(self, sealed: bytes) -> bool:
        """Whether bytes were sealed under the newest key. Others are better sealed again."""
        return sealed.startswith(_VERSION + _id_of(self.keys[0]))


def _id_of(key: bytes) -> bytes:
    return hashlib.sha256(b"key id" + key).digest()[:_ID_LENGTH]


def in_memory() -> KeyFile:
    """A new key that ends with the process, for what is kept in memory alone."""
    return KeyFile(Path("memory"), (secrets.token_bytes(KEY_LENGTH),))


def read(path: Path) -> KeyFile:
    """Read a key file.

    :raises ConfigurationError: it is missing, cannot be read, is open to others, or has no key.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(MAX_FILE_LENGTH + 1)
    except FileNotFoundError:
        made = f"(umask 077; openssl rand -base64 {KEY_LENGTH} > {quote(str(path))})"
        raise _unusable(path, f"does not exist: make it with `{made}`") from None
    except OSError as error:
        raise _unusable(path, f"cannot be read: {error.strerror or error}") from None
    if mode & _OPEN:
        raise _unusable(path, f"is open to other users: run `chmod 600 {quote(str(path))}`")
    keys = tuple(map(_key_of, content.split()))
    if len(content) > MAX_FILE_LENGTH or not 1 <= len(keys) <= 2 or not all(keys):
        raise _unusable(path, f"must have one key or two, each a line of {KEY_LENGTH} bytes in base64")
    return KeyFile(path, keys)


def _key_of(line: bytes) -> bytes:
    """The key of a line; empty where it has none."""
    try:
        key = base64.b64decode(line, validate=True)
    except binascii.Error:
        return b""
    return key if len(key) == KEY_LENGTH else b""


def read_or_make(path: Path) -> KeyFile:
    """Read a key file, which is made with a new key and mode 600 where there is none.

    Of two processes that make it at the same moment, one does, and both read the same.

    :raises ConfigurationError: as of `read`, or it cannot be made.
    """
    if not path.exists():
        try:
            _make(path)
        except OSError as error:
            raise _unusable(path, f"cannot be made: {error.strerror or error}") from None
    return read(path)


def _make(path: Path) -> None:
    # A temporary file is for its owner alone from the start, and is linked whole.
    handle, partial = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(base64.b64encode(secrets.token_bytes(KEY_LENGTH)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(partial, path)
    finally:
        os.unlink(partial)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _unusable(path: Path, reason: str) -> ConfigurationError:
    return ConfigurationError(f"the key file {path} {reason}", _SETTING)


@define
class ServerKeys:
    """The key file of a server. It is read once, when it is first needed.

    :param named: the path that the setting ``OPENID_KEY_FILE`` names; empty for none.
    :param beside: where the file is made if none is named; None if it must be named.
    """

    named: str
    beside: Path | None
    _read: KeyFile | None = field(default=None, init=False)

    @property
    def path(self) -> Path | None:
        """The path of the file, whether it is there yet or not; None if there can be none."""
        return Path(self.named) if self.named else self.beside

    def check(self) -> None:
        """Read the file if it is named or there already. Blocks.

        :raises ConfigurationError: as of `read`.
        """
        if self.named or (self.beside is not None and self.beside.exists()):
            self.open_existing()

    def open(self) -> KeyFile:
        """The keys. A file that is not named is made where there is none. Blocks once.

        :raises ConfigurationError: as of `read`, or no file is named where one must be.
        """
        if self._read is None:
            if self.named or self.beside is None:
                self._read = self.open_existing()
            else:
                self._read = read_or_make(self.beside)
        return self._read

    def open_existing(self) -> KeyFile:
        """The keys, of a file that is there: so that what was sealed before can be unsealed.

        :raises ConfigurationError: as of `read`, or no file is named where one must be.
        """
        if self._read is None:
            if self.path is None:
                raise ConfigurationError("name a key file: OPENID_KEY_FILE", _SETTING)
            self._read = read(self.path)
        return self._read
