"""Browsers that a user has logged in with before, so that a flood of guesses does not lock the user out.

After a login the browser keeps a proof of it, a "device cookie" as OWASP describes it. Its key is the
hash of the user's password, so the server stores nothing, every process on the database can check the
proof, and a new password ends it. The proof does not log in. It only exempts this browser from the limit
on guesses from all addresses; the browser has its own limit instead.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re

from attrs import frozen
from twisted.web.iweb import IRequest

from ..credentials import constant_time_equal, random_string
from ..interfaces import IRegistry
from ..models import User
from ..user_lookup import find_typed
from .respond import Response
from .sessions import Sessions

#: How long a browser keeps the proof after its last login, in seconds: the longest that browsers allow.
DEVICE_LIFETIME = 400 * 86400

#: The end of the cookie's name.
_DEVICE = "-device"

_PROOF = re.compile(rb"[A-Za-z0-9]{30}-[A-Za-z0-9_-]{43}")


@frozen
class Devices:
    """Recognizes the browsers that users of the database have logged in with."""

    registry: IRegistry
    sessions: Sessions

    def are_claimed(self, request: IRequest) -> bool:
        """Whether the browser sends what may be a proof. It is not checked."""
        return self.sessions.cookie(request, _DEVICE, _PROOF) is not None

    async def find(self, request: IRequest, username: str) -> str | None:
        """The name of the browser if this user has logged in with it before, else None.

        :param username: as it was typed.
        """
        sent = self.sessions.cookie(request, _DEVICE, _PROOF)
        if sent is None:
            return None
        nonce, _, proof = sent.partition("-")
        user = await find_typed(self.registry, username)
        return (
            nonce
            if user is not None and constant_time_equal(_proof(user, nonce), proof.encode())
            else None
        )

    async def remember(self, response: Response, username: str) -> Response:
        """The response, with a proof in a cookie that this user has logged in with the browser."""
        user = await self.registry.find_user(username)
        if user is None:
            return response
        nonce = random_string(30)
        value = f"{nonce}-{_proof(user, nonce).decode('ascii')}"
        return self.sessions.with_cookie(response, _DEVICE, value, DEVICE_LIFETIME)


def _proof(user: User, nonce: str) -> bytes:
    message = json.dumps(["device", user.username, nonce]).encode("ascii")
    mac = hmac.digest(user.password_hash.encode("utf-8"), message, hashlib.sha256)
    return base64.urlsafe_b64encode(mac).rstrip(b"=")
