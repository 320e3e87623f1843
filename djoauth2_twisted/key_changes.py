"""The changes of signing keys that an administrator makes, by the page or by the command."""

from __future__ import annotations

from .administration import Administration
from .errors import ChangedMeanwhile, NotFound, RegistrationError
from .key_ring import KeyRing
from .messages import Message
from .models import SigningKey
from .protocol import key_states
from .protocol.key_states import MARGIN, MAX_AGE, NEXT


async def rotate(administration: Administration, ring: KeyRing) -> list[SigningKey]:
    """Let the next keys sign, and make new ones after them. Returns the keys afterwards.

    :raises RegistrationError: none of the next keys is in every cache of the key set yet.
    """
    keys, now = await administration.registry.signing_keys(), int(administration.seconds())
    coming = [key for key in keys if key.state == NEXT]
    if not any(key_states.is_published_long_enough(key, now) for key in coming):
        wait = max((key.created for key in coming), default=now) + MAX_AGE + MARGIN - now
        text = Message("the next keys are not in every cache of the key set: wait %(seconds)s seconds")
        raise RegistrationError(text.filled(seconds=wait))
    await administration.record("keys rotate", "all", {})
    return await ring.rotate()


async def retire(administration: Administration, kid: str) -> list[SigningKey]:
    """End a key: it signs nothing from then on. Returns the keys afterwards.

    See `key_states.without`. The server makes what is missing then, so no key file is needed.

    :raises NotFound: there is no such key.
    :raises ChangedMeanwhile: another process has changed the keys at the same moment.
    """
    registry = administration.registry
    keys = await registry.signing_keys()
    if not any(key.kid == kid for key in keys):
        raise NotFound(f"there is no signing key {kid!r}")
    await administration.record("keys retire", kid, {})
    left = key_states.without(keys, kid, int(administration.seconds()))
    if not await registry.replace_signing_keys(keys, left):
        raise ChangedMeanwhile()
    return left
