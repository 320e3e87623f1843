"""PEM files with encrypted parts.

Asked to read one, OpenSSL prints a question and waits for an answer at the terminal or standard input. A
server must not wait for that.
"""

from __future__ import annotations

import re
from pathlib import Path
from shlex import quote

from OpenSSL import crypto

from .errors import ConfigurationError

# RFC 1421, section 4.6.1.1. Keys are judged by `is_encrypted_key`.
_ENCRYPTED_OTHER = re.compile(
    rb"-----BEGIN (?![A-Z0-9 ]*PRIVATE KEY)[A-Z0-9 ]+-----\s+Proc-Type:\s*4\s*,\s*ENCRYPTED"
)


def refuse_encrypted(path: str | Path) -> None:
    """Refuse a file with an encrypted part. A file that cannot be read is left to its reader.

    :raises ConfigurationError: a part is encrypted. The message says how to decrypt a key.
    """
    try:
        content = Path(path).read_bytes()
    except OSError:
        return
    if is_encrypted_key(content):
        raise encrypted_key(path)
    if _ENCRYPTED_OTHER.search(content):
        raise ConfigurationError(f"{path} is encrypted: name a file that is not")


def is_encrypted_key(content: bytes) -> bool:
    """Whether OpenSSL would ask for a password to read the private key of a PEM file."""
    asked = []

    def password(*_: object) -> bytes:
        asked.append(True)
        return b""

    try:
        crypto.load_privatekey(crypto.FILETYPE_PEM, content, password)
    except (crypto.Error, ValueError):
        return bool(asked)
    return bool(asked)


def encrypted_key(path: str | Path) -> ConfigurationError:
    """The error for an encrypted key."""
    return ConfigurationError(
        f"the key in {path} is encrypted: decrypt it with `openssl pkey -in {quote(str(path))} "
        "-out key.pem`, and name key.pem"
    )
