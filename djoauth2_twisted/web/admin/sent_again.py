"""Forms that are sent again, as by a second press of the button: their change was made already."""

from __future__ import annotations

import hashlib
import hmac
import json
from contextlib import suppress

from ...credentials import random_string
from ...errors import TemporarilyUnavailable
from ..sessions import FORM_LIFETIME
from .admin_request import AdminRequest


async def note_done(admin_request: AdminRequest) -> None:
    """Record that the change of a form was made, for as long as the form is valid."""
    until = admin_request.now + FORM_LIFETIME
    # The change is made, also where this cannot be recorded.
    with suppress(TemporarilyUnavailable):
        await _acquire_lease(admin_request, until)


async def was_done(admin_request: AdminRequest) -> bool:
    """Whether the same form was sent before, with the same values, and its change was made."""
    # This lease expires at once. It only shows whether `note_done` has recorded one.
    return not await _acquire_lease(admin_request, admin_request.now)


async def _acquire_lease(admin_request: AdminRequest, until: int) -> bool:
    registry, holder = admin_request.administration.registry, random_string(30)
    name = f"sent:{_fingerprint(admin_request)}"
    acquired: bool = await registry.acquire_lease(name, holder, until, admin_request.now)
    return acquired


def _fingerprint(admin_request: AdminRequest) -> str:
    """A MAC of a form's values, its token included.

    The values may have a password. Its hash in the store would help to guess it, so the browser's secret
    is the key, which is not stored.
    """
    upload = hashlib.sha256(admin_request.upload or b"").hexdigest()
    values = [admin_request.page, admin_request.id, dict(admin_request.form.values), upload]
    secret = admin_request.browser.secret.encode("ascii")
    return hmac.digest(secret, json.dumps(values, sort_keys=True).encode("ascii"), hashlib.sha256).hex()
