"""What users of the database change about their own account, where they have proved who they are."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import attrs
from attrs import frozen

from . import audit
from .credentials import random_string
from .ending import finish
from .events import AccountChanged, Events
from .interfaces import IRegistry, ITokenStore
from .messages import Message
from .models import Actor, User
from .protocol import registration

_PASSWORD_CHANGED = Message("the password is changed")


@frozen
class OwnAccount:
    """The changes. Each first writes a row to the audit trail, in which the user is the actor.

    :param seconds: returns the time in seconds since the epoch.
    """

    registry: IRegistry
    tokens: ITokenStore
    events: Events
    seconds: Callable[[], float]

    async def record(self, user: User, action: str, address: str, request_id: str) -> None:
        """Write a change to the audit trail and to the log.

        :param action: as in the audit trail, such as ``user set-password``.
        :param address: where the user is.
        :param request_id: the identifier of the user's request.
        """
        now, actor = int(self.seconds() * 1000), Actor(user.username, address)
        row = audit.event_of(random_string(30), now, actor, action, user.username, {})
        await self.registry.add_event(row)
        changed = AccountChanged(
            username=user.username, change=action, address=address, request_id=request_id
        )
        self.events.publish(changed)

    async def set_password(
        self,
        user: User,
        password: str,
        hash_password: Callable[[str], Awaitable[str]],
        keep: bytes,
        address: str,
        request_id: str,
    ) -> None:
        """Give a user a new password. This ends the other sessions, the codes and the refresh tokens.

        :param hash_password: hashes it in a thread.
        :param keep: the digest of the session that stays.
        :param address: as in `record`, and ``request_id``.
        :raises RegistrationError: the password is not allowed, or another request has changed it
            meanwhile, or `NotAllEnded`: only the password is changed, and the sessions have ended.
        """
        registration.check_password(password, user.username)
        await self.record(user, "user set-password", address, request_id)
        changed = attrs.evolve(user, password_hash=await hash_password(password))
        await self.registry.update_user(changed, only={"password_hash"}, instead_of=user.password_hash)
        await self.registry.end_sessions(user.username, keep)
        await finish(self.tokens.end_refresh_tokens(user.username), _PASSWORD_CHANGED)
