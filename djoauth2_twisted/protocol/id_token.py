"""ID tokens (OpenID Connect Core 1.0, section 2): their claims."""

from __future__ import annotations

import base64
import hashlib


def sid_of(session_digest: bytes) -> str:
    """The name of a login for clients (OpenID Connect Back-Channel Logout 1.0, section 2.1).

    :param session_digest: the key of the session, which nobody can find from the name.
    """
    return _base64url(hashlib.sha256(b"sid" + session_digest).digest())


def _base64url(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode("ascii")
