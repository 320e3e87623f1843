"""Makes the notices of logouts, and divides them among the clients."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from attrs import define, field

from ..conf import MAX_SESSIONS
from ..credentials import random_string
from ..interfaces import IRegistry, ITokenStore
from ..models import Client, Grant, LogoutNotice
from ..protocol.id_token import sid_of
from ..protocol.openid_scopes import OPENID

#: How many clients of a user are read at once.
BATCH = 50

#: How many grants of a user with a client are searched for a login, the last used first.
MAX_GRANTS = 100

ID_LENGTH = 22


@define
class Logouts:
    """Keeps a notice of each login and grant that ends.

    :param is_on: whether the server sends notices: the setting ``OPENID``.
    :param seconds: returns the time in seconds since the epoch.
    :ivar added: called after notices were kept.
    """

    registry: IRegistry
    tokens: ITokenStore
    is_on: bool
    seconds: Callable[[], float]
    added: Callable[[], object] = field(default=lambda: None, init=False)

    async def login_ended(self, username: str, subject: str, sid: str) -> None:
        """Keep a notice for the clients that the user has used in a login."""
        if self.is_on:
            await self._add([self._notice(username, subject, sid, "")])

    async def logins_ended(self, username: str, keep: bytes | None = None) -> None:
        """Keep notices of all logins of a user. The sessions must still be there.

        :param keep: the digest of a session that stays.
        """
        if not self.is_on:
            return
        found = await self.registry.sessions_of(username, int(self.seconds()), MAX_SESSIONS)
        ended = [session for session in found if session.digest != keep]
        await self._add([self._notice(username, s.owner.subject, sid_of(s), "") for s in ended])

    async def grant_ended(self, grant: Grant) -> None:
        """Keep a notice for the client of a grant, if the client takes notices."""
        is_login = OPENID in grant.scopes
        if self.is_on and is_login and await self.recipient(grant.client_id) is not None:
            owner = grant.owner
            await self._add([self._notice(owner.username, owner.subject, grant.sid, grant.client_id)])

    async def user_ended(self, username: str, client_id: str | None = None) -> None:
        """Keep notices for the clients of a user, or for one of them. The grants must still be there."""
        if not self.is_on:
            return
        notices = []
        async for each in self._clients_of(username) if client_id is None else _only(client_id):
            for grant in (await self._logins(username, each))[:1]:
                notices.append(self._notice(username, grant.owner.subject, None, each))
        await self._add(notices)

    async def divide(self, notice: LogoutNotice) -> None:
        """Replace the notice of a login by one for each of its clients that takes notices."""
        following = [
            self._notice(notice.username, notice.subject, notice.sid, client_id)
            async for client_id in self._clients_of(notice.username)
            if await self._is_concerned(client_id, notice)
        ]
        await self.registry.replace_notice(notice.id, following)

    async def recipient(self, client_id: str) -> Client | None:
        """The client, if it takes notices."""
        client = await self.registry.find_client(client_id)
        takes_notices = client is not None and not client.disabled and client.backchannel_logout_uri
        return client if takes_notices else None

    async def _is_concerned(self, client_id: str, notice: LogoutNotice) -> bool:
        grants = await self._logins(notice.username, client_id)
        named = notice.sid, notice.subject
        return any((grant.sid, grant.owner.subject) == named for grant in grants)

    async def _logins(self, username: str, client_id: str) -> list[Grant]:
        """The grants by which a client has logged a user in, if it takes notices."""
        if await self.recipient(client_id) is None:
            return []
        grants = await self.tokens.grants_in_use(username, client_id, MAX_GRANTS)
        return [grant for grant in grants if OPENID in grant.scopes]

    async def _clients_of(self, username: str) -> AsyncIterator[str]:
        after = ""
        while found := await self.tokens.clients_of(username, after, BATCH):
            for client_id in found:
                yield client_id
            after = found[-1]

    def _notice(self, username: str, subject: str, sid: str | None, client_id: str) -> LogoutNotice:
        now = int(self.seconds())
        return LogoutNotice(random_string(ID_LENGTH), username, subject, sid, client_id, now)

    async def _add(self, notices: list[LogoutNotice]) -> None:
        if notices:
            await self.registry.add_notices(notices)
            self.added()


async def _only(client_id: str) -> AsyncIterator[str]:
    yield client_id
