"""The page for the keys that sign ID tokens."""

from __future__ import annotations

from ... import key_changes
from ...errors import NotFound
from ...messages import Message
from ...models import SigningKey
from ...protocol.key_states import CURRENT, NEXT, RETIRED
from ..respond import Response
from .admin_request import AdminRequest, moment

_STATES = {
    NEXT: Message("published, and signs later"),
    CURRENT: Message("signs"),
    RETIRED: Message("signs no more, and is published for a while"),
}


async def show(admin_request: AdminRequest) -> Response:
    """Show the keys. No private half is shown."""
    keys = await admin_request.administration.registry.signing_keys()
    return admin_request.show(
        "keys.html", keys=[_shown(key) for key in keys], form=admin_request.hidden()
    )


def _shown(key: SigningKey) -> dict[str, Message | str]:
    since = {NEXT: key.created, CURRENT: key.signs_from, RETIRED: key.retired}[key.state]
    return {
        "kid": key.kid,
        "algorithm": key.algorithm,
        "state": _STATES[key.state],
        "since": "" if since is None else moment(since),
    }


async def rotate(admin_request: AdminRequest) -> Response:
    """Let the next keys sign."""
    if admin_request.ring is None:
        raise NotFound("there are no signing keys")
    await key_changes.rotate(admin_request.allowed(), admin_request.ring)
    return admin_request.go("keys")
