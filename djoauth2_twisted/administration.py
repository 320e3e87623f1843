"""What an administrator does, with the same rules for the command line and the pages.

Whatever is deleted or disabled is first taken from the registry, so that nothing new is issued, and then
its grants are ended. Every function returns a Deferred that fails with `RegistrationError` where what
was asked is not allowed; nothing is then half-done.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import attrs
from attrs import frozen

from .conf import Settings
from .credentials import digest, random_string
from .errors import AlreadyExists, NotFound, RegistrationError
from .interfaces import IRegistry, ITokenStore
from .models import Client, Scope, User
from .protocol import registration

#: Hashes a password in a thread: `PasswordThreads.hash`.
Hash = Callable[[str], Awaitable[str]]

#: How many entries are pruned in one step, so that a long cleanup keeps nobody waiting.
PRUNE_BATCH = 500

#: How long failures are remembered, in seconds: long after they have ceased to count.
FAILURES_KEPT = 600


@frozen
class Administration:
    """Clients, scopes, users and grants, as an administrator changes them."""

    registry: IRegistry
    tokens: ITokenStore
    settings: Settings
    hash_password: Hash

    async def add_client(
        self,
        name: str,
        redirect_uris: tuple[str, ...] = (),
        description: str = "",
        image_url: str = "",
        scopes: tuple[str, ...] | None = None,
        resource_server: bool = False,
    ) -> tuple[Client, str]:
        """Register a client (RFC 6749, section 2). Returns it with its secret, which is not kept."""
        secret = random_string(self.settings.client_secret_length)
        client = Client(
            client_id=random_string(self.settings.client_key_length),
            name=name,
            secret_digest=digest(secret),
            description=description,
            image_url=image_url,
            redirect_uris=redirect_uris,
            scopes=scopes,
            resource_server=resource_server,
        )
        await self._check_client(client)
        await self.registry.add_client(client)
        return client, secret

    async def edit_client(self, client_id: str, **changes: Any) -> Client:
        """Change a client's fields. Disabling it ends all that was issued to it."""
        client = attrs.evolve(await self.client(client_id), **changes)
        await self._check_client(client)
        await self.registry.update_client(client)
        if client.disabled:
            await self.tokens.revoke_grants(client_id=client_id)
        return client

    async def _check_client(self, client: Client) -> None:
        registration.check_client(
            client.name,
            client.description,
            client.image_url,
            client.redirect_uris,
            client.resource_server,
            self.settings.ssl_only,
        )
        known = await self.registry.find_scopes(client.scopes or ())
        for name in client.scopes or ():
            if name not in known:
                raise RegistrationError(f"there is no scope {name!r}")

    async def rotate_secret(self, client_id: str) -> str:
        """Give a client a new secret; the old one is refused from now on."""
        client = await self.client(client_id)
        secret = random_string(self.settings.client_secret_length)
        await self.registry.update_client(attrs.evolve(client, secret_digest=digest(secret)))
        return secret

    async def delete_client(self, client_id: str) -> None:
        """Forget a client and end all that was issued to it."""
        known = await self.registry.find_client(client_id)
        if known is not None:
            await self.registry.delete_client(client_id)
        # Also where it is gone already: whoever repeats what broke off in the middle ends it so.
        await self.tokens.revoke_grants(client_id=client_id)
        if known is None:
            raise NotFound(f"there is no client {client_id!r}")

    async def client(self, client_id: str) -> Client:
        """A client that there is."""
        client = await self.registry.find_client(client_id)
        if client is None:
            raise NotFound(f"there is no client {client_id!r}")
        return client

    async def add_scope(self, name: str, description: str) -> Scope:
        """Add a scope (RFC 6749, section 3.3)."""
        registration.check_scope(name, description)
        if await self.registry.find_scopes((name,)):
            raise AlreadyExists(f"there is a scope {name!r} already")
        scope = Scope(name, description)
        await self.registry.add_scope(scope)
        return scope

    async def edit_scope(self, name: str, description: str) -> Scope:
        """Change a scope's words."""
        registration.check_scope(name, description)
        await self._check_known(name)
        scope = Scope(name, description)
        await self.registry.update_scope(scope)
        return scope

    async def delete_scope(self, name: str) -> None:
        """Forget a scope and end every grant that has it."""
        registration.check_scope(name, "")
        known = await self.registry.find_scopes((name,))
        if known:
            await self.registry.delete_scope(name)
        await self.tokens.revoke_grants(scope=name)
        if not known:
            raise NotFound(f"there is no scope {name!r}")

    async def _check_known(self, scope: str) -> None:
        if not await self.registry.find_scopes((scope,)):
            raise NotFound(f"there is no scope {scope!r}")

    async def add_user(self, username: str, password: str, **fields: Any) -> User:
        """Add a resource owner; fields are those of `User`."""
        registration.check_password(password)
        user = User(username, "", **fields)
        self._check_user(user)
        if await self.registry.find_user(username) is not None:
            raise AlreadyExists(f"there is a user {username!r} already")
        user = attrs.evolve(user, password_hash=await self.hash_password(password))
        await self.registry.add_user(user)
        return user

    async def edit_user(self, username: str, **changes: Any) -> User:
        """Change a user's fields. Disabling one ends the user's logins and grants."""
        user = attrs.evolve(await self._user(username), **changes)
        self._check_user(user)
        await self.registry.update_user(user)
        if user.disabled:
            await self.registry.end_sessions(username)
            await self.tokens.revoke_grants(username=username)
        return user

    def _check_user(self, user: User) -> None:
        registration.check_user(user.username, user.email, user.first_name, user.last_name)

    async def set_password(self, username: str, password: str) -> None:
        """Give a user a new password; it ends the user's logins and refresh tokens."""
        registration.check_password(password)
        user = await self._user(username)
        password_hash = await self.hash_password(password)
        await self.registry.update_user(attrs.evolve(user, password_hash=password_hash))
        await self.registry.end_sessions(username)
        await self.tokens.end_refresh_tokens(username)

    async def delete_user(self, username: str) -> None:
        """Forget a user, and end the user's logins and grants."""
        known = await self.registry.find_user(username)
        if known is not None:
            await self.registry.delete_user(username)
        await self.tokens.revoke_grants(username=username)
        if known is None:
            raise NotFound(f"there is no user {username!r}")

    async def _user(self, username: str) -> User:
        user = await self.registry.find_user(username)
        if user is None:
            raise NotFound(f"there is no user {username!r}")
        return user

    async def revoke_grant(self, grant_id: str) -> None:
        """End a grant and everything issued on its strength."""
        if not await self.tokens.revoke_grant(grant_id):
            raise NotFound(f"there is no grant {grant_id!r}")

    async def clean_up(self, now: int) -> tuple[int, int]:
        """Forget all that is over, in small steps.

        :param now: in seconds since the epoch.
        :returns: how many grants, and how many logins.
        """
        grants = await _to_the_end(lambda: self.tokens.prune(now, PRUNE_BATCH))
        logins = await _to_the_end(lambda: self.registry.prune_sessions(now, PRUNE_BATCH))
        old = now - FAILURES_KEPT
        await _to_the_end(lambda: self.registry.prune_failures(old, PRUNE_BATCH))
        return grants, logins


async def _to_the_end(prune: Callable[[], Awaitable[int]]) -> int:
    total = 0
    while True:
        pruned = await prune()
        total += pruned
        if pruned < PRUNE_BATCH:
            return total
