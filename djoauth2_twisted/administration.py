"""The changes that an administrator makes. The command line and the pages follow the same rules.

Deleting or disabling something also revokes its grants. There may be very many, so the token store
revokes them in batches, and the order of the steps matters:

- A user or client that is disabled or deleted is first marked as disabled, in one step, and the user's
  sessions end. From then on nothing is issued for it. Then its grants are revoked;
  `AuthorizationEndpoint` revokes a grant that is stored too late for this. The row is deleted last, so
  that an interrupted deletion can be repeated.
- A new password is stored first. Then the user's sessions end, and then the refresh tokens.
- A scope cannot be disabled. Its grants are revoked first, so that nothing changes if the token store
  does not answer. They are revoked again after the scope is deleted, for grants made in between.

If the token store does not answer after the first step, the first step stays done. `NotAllEnded` then
says what is done, and that the change must be repeated. Repeating it is safe: a revoked grant stays
revoked, and deleting something that is already deleted revokes the grants that are left.

Each change first writes a row to the audit trail. If the change then fails, the row records the attempt.
Every method is a coroutine. It raises `NotFound` if there is no such client, scope, user or grant, and
another `RegistrationError` if the change is not allowed. Only `NotAllEnded` comes after a change.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

import attrs
from attrs import field, frozen
from twisted.internet.interfaces import IReactorTime

from . import audit
from .conf import Settings
from .credentials import digest, random_string
from .ending import finish
from .errors import (
    AlreadyExists,
    ConfigurationError,
    FieldErrors,
    LastAdmin,
    NotFound,
    RegistrationError,
)
from .events import Administered
from .housekeeping import clean_up
from .interfaces import IRegistry, ITokenStore
from .logouts.notices import Logouts
from .messages import Message
from .models import Actor, Client, Scope, User
from .protocol import precis, registration
from .protocol.client_authentication import with_new_secret, without_expired_secret
from .protocol.registration import with_changes
from .scope_lookup import find_scopes
from .subjects import new_subject
from .user_lookup import find_typed

#: Hashes a password in a thread: `PasswordThreads.hash`. The pages pass the administrator as ``key``.
Hash = Callable[..., Awaitable[str]]

#: The default actor, for an application that uses `Administration` from Python.
LIBRARY = Actor("the application", "the same process")

# What is already done when the token store does not answer.
_CLIENT_DISABLED = Message("the client is disabled")
_USER_DISABLED = Message("the user is disabled and logged out")
_PASSWORD_CHANGED = Message("the password is changed")


@frozen
class Administration:
    """Changes clients, scopes, users and grants for an administrator.

    :param actor: the name and address that the audit trail records.
    :param seconds: returns the time in seconds since the epoch.
    :param keep_admin: raise `LastAdmin` for a change after which no enabled administrator is left.
    :param idempotency_key: the id of the change's row in the audit trail, if the same change may be
        requested twice, as by a form that is sent again. The second request raises `AlreadyExists`.
    :param tokens_elsewhere: why ``tokens`` is not where the server keeps them, if it is not. Then
        `ConfigurationError` is raised for what would have to end tokens, before anything changes.
    :param clock: times the pauses between the steps of a cleanup.
    :param publish: gets an event for each row of the audit trail.
    :param logouts: keeps notices for the clients of logins that end.
    """

    registry: IRegistry
    tokens: ITokenStore
    settings: Settings
    hash_password: Hash
    actor: Actor = LIBRARY
    seconds: Callable[[], float] = field(default=time.time)
    keep_admin: bool = False
    idempotency_key: str | None = None
    clock: IReactorTime | None = None
    tokens_elsewhere: str | None = None
    publish: Callable[[Administered], object] = field(default=lambda _: None)
    logouts: Logouts | None = None

    def check_tokens(self) -> None:
        """Raise `ConfigurationError` where the tokens cannot be ended; see ``tokens_elsewhere``."""
        if self.tokens_elsewhere is not None:
            raise ConfigurationError(self.tokens_elsewhere)

    async def record(self, action: str, subject: str, details: dict[str, Any]) -> None:
        """Keep and publish that a change is made, with who makes it. It is called before the change.

        :raises AlreadyExists: the idempotency key was used before.
        """
        key, now = self.idempotency_key or random_string(30), int(self.seconds() * 1000)
        event = audit.event_of(key, now, self.actor, action, subject, details)
        try:
            await self.registry.add_event(event)
        except AlreadyExists:
            raise AlreadyExists(Message("this form was sent before")) from None
        self.publish(audit.administered(event))

    async def add_client(
        self,
        name: str,
        redirect_uris: tuple[str, ...] = (),
        description: str = "",
        image: bytes | None = None,
        **fields: Any,
    ) -> tuple[Client, str]:
        """Register a client (RFC 6749, section 2). Returns it and its secret, which is not stored.

        :param fields: other fields of `Client`.
        """
        picture = None if image is None else registration.image_of(image)
        secret = random_string(self.settings.client_secret_length)
        client = Client(
            client_id=random_string(self.settings.client_key_length),
            name=name,
            secret_digest=digest(secret),
            description=description,
            redirect_uris=redirect_uris,
            **fields,
        )
        await self.check_client(client)
        await self.record("client add", client.client_id, audit.changes(None, client))
        await self.registry.add_client(client, picture)
        return client, secret

    async def edit_client(self, client_id: str, **changes: Any) -> Client:
        """Change a client's fields. Disabling a client also revokes its grants."""
        known = await self.client(client_id)
        client = without_expired_secret(attrs.evolve(known, **changes), int(self.seconds()))
        await self.check_client(client, known)
        if client.disabled:
            self.check_tokens()
        await self.record("client edit", client_id, audit.changes(known, client))
        await self._update_client(known, client)
        if client.disabled:
            await finish(self.tokens.revoke_grants(client_id=client_id), _CLIENT_DISABLED)
        return client

    async def _update_client(self, known: Client, client: Client) -> None:
        # Only the changed fields are written. Another change made since the read is not undone.
        changed = audit.changed_fields(known, client)
        if changed:
            await self.registry.update_client(client, changed)

    async def check_client(self, client: Client, known: Client | None = None) -> None:
        """Refuse a client that cannot be registered; see `registration.check_registration`."""
        errors = FieldErrors()
        with errors.of():
            registration.check_registration(client, self.settings.ssl_only, known)
        names = client.scopes or ()
        found = await find_scopes(self.registry, names, self.settings.openid)
        with errors.of("scopes"):
            registration.check_allowed(names, found)
        errors.raise_all()

    async def rotate_secret(self, client_id: str, overlap: int = 0) -> str:
        """Give a client a new secret.

        :param overlap: for how many seconds the current secret stays valid too, so that a client that
            runs on several machines can change over. An even older secret becomes invalid now.
        """
        registration.check_overlap(overlap)
        client = await self.client(client_id)
        secret = random_string(self.settings.client_secret_length)
        rotated = with_new_secret(client, digest(secret), int(self.seconds()), overlap)
        await self.record("client rotate-secret", client_id, {"keep_old": overlap})
        changed = audit.changed_fields(client, rotated)
        await self.registry.update_client(rotated, changed, instead_of=client.secret_digest)
        return secret

    async def set_image(self, client_id: str, image: bytes | None) -> None:
        """Store a client's picture, or remove it if ``image`` is None."""
        picture = None if image is None else registration.image_of(image)
        await self.client(client_id)
        details = {"image": picture.media_type if picture else "none"}
        await self.record("client set-image", client_id, details)
        await self.registry.set_image(client_id, picture)

    async def delete_client(self, client_id: str) -> None:
        """Delete a client and revoke its grants."""
        self.check_tokens()
        known = await self.registry.find_client(client_id)
        if known is None:
            # This completes an earlier deletion that was interrupted.
            await self.tokens.revoke_grants(client_id=client_id)
            raise NotFound(f"there is no client {client_id!r}")
        await self.record("client delete", client_id, {"name": known.name})
        await self._update_client(known, attrs.evolve(known, disabled=True))
        await finish(self.tokens.revoke_grants(client_id=client_id), _CLIENT_DISABLED)
        await self.registry.delete_client(client_id)

    async def client(self, client_id: str) -> Client:
        """An existing client."""
        client = await self.registry.find_client(client_id)
        if client is None:
            raise NotFound(f"there is no client {client_id!r}")
        return client

    async def add_scope(self, name: str, description: str) -> Scope:
        """Add a scope (RFC 6749, section 3.3)."""
        registration.check_scope(name, description)
        if await self.registry.find_scopes((name,)):
            text = Message("there is a scope %(name)s already")
            raise AlreadyExists(text.filled(name=repr(name)), field="name")
        scope = Scope(name, description)
        await self.record("scope add", name, {"description": description})
        await self.registry.add_scope(scope)
        return scope

    async def edit_scope(self, name: str, description: str) -> Scope:
        """Change a scope's description."""
        registration.check_scope(name, description)
        await self.scope(name)
        scope = Scope(name, description)
        await self.record("scope edit", name, {"description": description})
        await self.registry.update_scope(scope)
        return scope

    async def delete_scope(self, name: str) -> None:
        """Delete a scope and revoke every grant that includes it."""
        registration.check_scope(name, "")
        self.check_tokens()
        known = await self.registry.find_scopes((name,))
        if known:
            await self.record("scope delete", name, {})
            await self.tokens.revoke_grants(scope=name)
            await self.registry.delete_scope(name)
            await self.tokens.revoke_grants(scope=name)
        else:
            await self.tokens.revoke_grants(scope=name)
            raise NotFound(f"there is no scope {name!r}")

    async def scope(self, name: str) -> Scope:
        """An existing scope."""
        found = await self.registry.find_scopes((name,))
        if name not in found:
            raise NotFound(f"there is no scope {name!r}")
        return found[name]

    async def add_user(self, username: str, password: str, **fields: Any) -> User:
        """Add a resource owner.

        :param fields: other fields of `User`.
        """
        username = precis.username(username)
        # A deleted user may have had this name. No other user ever has this subject.
        user = User(username, "", subject=new_subject(), updated_at=int(self.seconds()), **fields)
        registration.check_new_user(user, password)
        for known in await self.registry.users_alike(username):
            text = Message("there is a user %(name)s already")
            raise AlreadyExists(text.filled(name=repr(known.username)), field="username")
        self.check_tokens()
        await self.record("user add", username, audit.changes(None, user))
        user = attrs.evolve(user, password_hash=await self.hash_password(password))
        await self._end_grants_and_sessions(username)
        await self.registry.add_user(user)
        if user.disabled:
            # Meanwhile another checker may have accepted a login with this name.
            await self._end_grants_and_sessions(username)
        return user

    async def _end_grants_and_sessions(self, username: str) -> None:
        """Revoke the grants of an earlier user with this name, or of a login by another checker."""
        await self.tokens.revoke_grants(username=username)
        await self.registry.end_sessions(username)

    async def edit_user(self, username: str, **changes: Any) -> User:
        """Change a user's fields. Disabling a user also ends the user's sessions and grants."""
        known = await self.user(username)
        username = known.username
        user = with_changes(known, changes, int(self.seconds()))
        registration.check_profile(user)
        if user.disabled or not user.admin:
            await self._check_admin_left(known)
        if user.disabled:
            self.check_tokens()
        await self.record("user edit", username, audit.changes(known, user))
        await self._update_user(known, user)
        if user.disabled:
            await finish(self.tokens.revoke_grants(username=username), _USER_DISABLED)
        return user

    async def _update_user(self, known: User, user: User) -> None:
        changed = audit.changed_fields(known, user)
        if changed:
            await self.registry.update_user(user, self.keep_admin, changed)
        if user.disabled:
            await self.registry.end_sessions(user.username)

    async def _check_admin_left(self, leaving: User) -> None:
        """Refuse early. Of two simultaneous changes, the registry refuses the second."""
        if self.keep_admin and leaving.admin and not leaving.disabled:
            totals = await self.registry.totals(int(self.seconds()))
            if totals.admins == 1:
                raise LastAdmin()

    async def set_password(self, username: str, password: str) -> User:
        """Give a user a new password. This ends the user's sessions and refresh tokens."""
        user = await self.user(username)
        username = user.username
        registration.check_password(password, username)
        self.check_tokens()
        await self.record("user set-password", username, {})
        user = attrs.evolve(user, password_hash=await self.hash_password(password))
        await self.registry.update_user(user, only={"password_hash"})
        await self.registry.end_sessions(username)
        await finish(self.tokens.end_refresh_tokens(username), _PASSWORD_CHANGED)
        return user

    async def reset_second_factor(self, username: str) -> User:
        """Remove a user's second factor, and end the user's sessions. Returns the user."""
        user = await self.user(username)
        await self.record("user reset-second-factor", user.username, {})
        if self.logouts is not None:
            await self.logouts.logins_ended(user.username)
        await self.registry.remove_second_factor(user.subject)
        await self.registry.end_sessions(user.username)
        return user

    async def delete_user(self, username: str) -> User:
        """Delete a user, and end the user's sessions and grants. Returns the user."""
        self.check_tokens()
        known = await find_typed(self.registry, username)
        if known is not None:
            username = known.username
            await self._check_admin_left(known)
            await self.record("user delete", username, {})
            await self._update_user(known, attrs.evolve(known, disabled=True))
            await finish(self.tokens.revoke_grants(username=username), _USER_DISABLED)
            await self.registry.delete_user(username, self.keep_admin)
            return known
        await self.tokens.revoke_grants(username=username)
        raise NotFound(f"there is no user {username!r}")

    async def user(self, username: str) -> User:
        """An existing user, in any spelling of the name that a login takes, too."""
        user = await find_typed(self.registry, username)
        if user is None:
            raise NotFound(f"there is no user {username!r}")
        return user

    async def name_of_user(self, username: str) -> str:
        """The name of the user whom a typed name means; the same name for a Portal's user."""
        user = await find_typed(self.registry, username)
        return username if user is None else user.username

    async def revoke_grant(self, grant_id: str) -> None:
        """Revoke a grant and everything issued for it."""
        self.check_tokens()
        grant = await self.tokens.find_grant(grant_id)
        if grant is None:
            raise NotFound(f"there is no grant {grant_id!r}")
        details = {"user": grant.owner.username, "client": grant.client_id}
        await self.record("grant revoke", grant_id, details)
        await self.tokens.revoke_grant(grant_id)

    async def revoke_grants(self, username: str | None, client_id: str | None) -> int:
        """Revoke all grants of a user, of a client, or of both. Returns how many there were."""
        if username is None and client_id is None:
            raise RegistrationError(Message("name the user or the client whose grants are to end"))
        self.check_tokens()
        if username is not None:
            username = await self.name_of_user(username)
        details = {"user": username or "any", "client": client_id or "any"}
        await self.record("grants revoke", username or client_id or "", details)
        return await self.tokens.revoke_grants(username=username, client_id=client_id)

    async def revoke_all_grants(self) -> int:
        """Revoke all grants of all users. Returns how many there were."""
        self.check_tokens()
        await self.record("grants revoke", "all", {"user": "any", "client": "any"})
        return await self.tokens.revoke_grants()

    async def clean_up(self, now: int) -> tuple[int, int]:
        """Delete all that has expired by ``now``, in epoch seconds; see `housekeeping.clean_up`."""
        self.check_tokens()
        return await clean_up(self.registry, self.tokens, now, self.clock)
