"""The last step of a change: the grants or tokens that end with it."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from .errors import NotAllEnded, TemporarilyUnavailable
from .messages import Message


async def finish(ending: Awaitable[Any], done: Message) -> None:
    """Wait until grants or tokens have ended.

    :raises NotAllEnded: the token store does not answer. Only ``done`` is done.
    """
    try:
        await ending
    except TemporarilyUnavailable:
        raise NotAllEnded(done) from None
