"""Resource owners: the checker for the database's users, other checkers, and the Portal's realm."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import attrs
from attrs import field, frozen
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IUsernamePassword, UsernamePassword
from twisted.cred.error import LoginDenied, UnauthorizedLogin
from twisted.cred.portal import IRealm, Portal
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import Interface, implementer

from .credentials import needs_rehash
from .errors import RegistrationError, TemporarilyUnavailable
from .interfaces import IRegistry, IResourceOwner
from .models import ResourceOwner, User
from .passwords import STRANGERS, PasswordThreads, Turn
from .protocol import precis
from .protocol.registration import check_user, is_subject, is_time
from .subjects import subject_of
from .user_lookup import find_typed

_log = Logger()


class Attempt(UsernamePassword):
    """A name and a password, and the turn in which a thread verifies them."""

    def __init__(self, username: bytes, password: bytes, turn: Turn) -> None:
        super().__init__(username, password)
        self.turn = turn


class AvatarId(bytes):
    """A username in UTF-8, and the user whose password was right.

    The realm needs this user, because by then the name may belong to another user.
    """

    user: User | None = None

    def __new__(cls, name: bytes, user: User | None) -> AvatarId:
        made = super().__new__(cls, name)
        made.user = user
        return made


@implementer(ICredentialsChecker)
@frozen
class RegistryChecker:
    """A checker of twisted.cred for the users of the database."""

    registry: IRegistry
    threads: PasswordThreads
    credentialInterfaces = (IUsernamePassword,)

    def requestAvatarId(self, credentials: Any) -> Deferred[Any]:
        return Deferred.fromCoroutine(self._check(credentials))

    async def _check(self, presented: UsernamePassword) -> AvatarId:
        try:
            username = presented.username.decode("utf-8")
            password = presented.password.decode("utf-8")
        except UnicodeDecodeError:
            username = password = ""
        user = await find_typed(self.registry, username)
        if user is not None and user.disabled:
            user = None
        turn = getattr(presented, "turn", Turn(STRANGERS))
        password_hash = None if user is None else user.password_hash
        right = await self.threads.verify(password_hash, password, turn)
        if user is None or right is None:
            raise UnauthorizedLogin()
        if needs_rehash(user.password_hash) or right != precis.password(right):
            user = await self._renew_hash(user, right, turn)
        return AvatarId(user.username.encode("utf-8"), user)

    async def _renew_hash(self, user: User, password: str, turn: Turn) -> User:
        """Hash a verified password again: argon2's parameters have changed, or the hash is that of a
        password before it was normalized. Returns the user with the hash that is stored.

        :raises UnauthorizedLogin: the user's hash has changed since, and is that of another password.
        """
        try:
            renewed = attrs.evolve(user, password_hash=await self.threads.rehash(password, turn))
            await self.registry.update_user(
                renewed, only={"password_hash"}, instead_of=user.password_hash
            )
        except TemporarilyUnavailable:
            return user
        except RegistrationError:
            # Another login, or a new password, was faster.
            found: User | None = await self.registry.find_user(user.username)
            if found is None or await self.threads.verify(found.password_hash, password, turn) is None:
                raise UnauthorizedLogin() from None
            return found
        return renewed


@implementer(ICredentialsChecker)
@frozen
class AnyChecker:
    """Several checkers as one, because a Portal keeps only one checker for each interface."""

    checkers: Sequence[Any]
    credentialInterfaces = (IUsernamePassword,)

    def requestAvatarId(self, credentials: Any) -> Deferred[Any]:
        return Deferred.fromCoroutine(self._ask(credentials))

    async def _ask(self, presented: UsernamePassword) -> bytes | str:
        as_text: list[Any] = []
        with suppress(UnicodeDecodeError):
            decoded: Any = presented.username.decode(), presented.password.decode()
            as_text = [UsernamePassword(*decoded)]
        for checker in self.checkers:
            # Our own checker takes bytes. A check is slow, so it is not done twice.
            again = [] if isinstance(checker, RegistryChecker) else as_text
            with suppress(UnauthorizedLogin):
                return await self._ask_one(checker, [presented, *again])
        raise UnauthorizedLogin()

    async def _ask_one(self, checker: Any, forms: Sequence[Any]) -> bytes | str:
        """Try bytes, then text. Twisted's file checker takes bytes, and its unix checker text; its
        memory checker compares with text if it is made from an option.
        """
        refusals: list[Exception] = []
        for form in forms:
            try:
                avatar_id: bytes | str = await checker.requestAvatarId(form)
                return avatar_id
            except (UnauthorizedLogin, TypeError, AttributeError) as error:
                # Twisted's file checker refuses every login where its file cannot be read.
                if isinstance(error.__context__, OSError):
                    raise TemporarilyUnavailable() from None
                refusals.append(error)
        # The error of the wrong string type means nothing, unless both types failed.
        raise next((each for each in refusals if isinstance(each, UnauthorizedLogin)), refusals[0])


@implementer(IRealm)
@frozen
class ResourceOwnerRealm:
    """Makes an IResourceOwner for a name that a checker accepted, with the profile in the database."""

    registry: IRegistry

    def requestAvatar(self, avatarId: Any, mind: object, *interfaces: type[Interface]) -> Any:
        if IResourceOwner not in interfaces:
            raise NotImplementedError("this realm has nothing but IResourceOwner")
        username = avatarId.decode("utf-8") if isinstance(avatarId, bytes) else avatarId
        user = avatarId.user if isinstance(avatarId, AvatarId) else None
        return Deferred.fromCoroutine(self._avatar(username, user))

    async def _avatar(
        self, username: str, user: User | None
    ) -> tuple[Any, ResourceOwner, Callable[[], None]]:
        proved = "" if user is None else user.password_hash
        user = user or await self.registry.find_user(username)
        if user is None:
            owner = ResourceOwner(username)
        else:
            owner = Registered(
                username,
                user.first_name,
                user.last_name,
                user.email,
                subject=user.subject,
                email_verified=user.email_verified,
                password_hash=proved,
            )
        return IResourceOwner, owner, lambda: None


@frozen
class Registered(ResourceOwner):
    """A user of the registry, as our own realm returns it.

    :param password_hash: the hash of the password that was proved; empty if another checker did that.
    """

    password_hash: str = field(default="", repr=False)


def make_portal(registry: IRegistry, checkers: Sequence[Any]) -> Portal:
    """A Portal that logs in a resource owner whom any of the checkers accepts."""
    return Portal(ResourceOwnerRealm(registry), [AnyChecker(checkers)])


async def admit(registry: IRegistry, avatar: Any, openid: bool = False) -> ResourceOwner:
    """The resource owner to store for an avatar of our own realm or of the host application.

    :param openid: the setting ``OPENID``: a user from elsewhere gets a subject that no other user gets.

    :raises LoginDenied: the avatar cannot be stored; its user was deleted meanwhile, or replaced by
        another with the same name, or has another password; or the user is registered here and disabled.
    """
    owner = _resource_owner(avatar)
    alike = await registry.users_alike(owner.username)
    user = next((each for each in alike if each.username == owner.username), None)
    # A person whose name is spelled in another way is never taken for a user who is registered here:
    # elsewhere the two may be different people. But a disabled user cannot log in by another spelling.
    if any(each.disabled for each in ([user] if user is not None else alike)):
        _log.info("A login was refused: the user is disabled in the database of this server.")
        raise LoginDenied()
    if isinstance(avatar, Registered):
        if user is None or user.subject != owner.subject:
            raise LoginDenied()
        # The check takes its time. A password that was changed meanwhile is not proved, and a login that
        # began now would outlive the change.
        if avatar.password_hash not in ("", user.password_hash):
            raise LoginDenied()
    elif user is not None:
        # A user who is registered here keeps the registered subject.
        owner = attrs.evolve(owner, subject=user.subject)
    elif openid:
        owner = await with_own_subject(registry, owner)
    return owner


async def with_own_subject(registry: IRegistry, owner: ResourceOwner) -> ResourceOwner:
    """A resource owner from elsewhere with a subject (OpenID Connect Core 1.0, section 2).

    Where the host application gives none, it is random, and kept at the first login.

    :raises LoginDenied: the subject was that of a user who was deleted here.
    """
    if owner.subject == owner.username:
        return attrs.evolve(owner, subject=await subject_of(registry, owner.username))
    if await registry.was_deleted(owner.subject):
        _log.error("A login was refused: its subject was that of a user who was deleted here.")
        raise LoginDenied()
    return owner


def _resource_owner(avatar: Any) -> ResourceOwner:
    known: list[Any] = [getattr(avatar, name, "") or "" for name in ("first_name", "last_name", "email")]
    first_name, last_name, email = known
    username: Any = getattr(avatar, "username", None)
    subject: Any = getattr(avatar, "subject", None) or username
    verified: Any = getattr(avatar, "email_verified", None) or False
    auth_time: Any = getattr(avatar, "auth_time", None)
    try:
        if not all(isinstance(text, str) for text in (username, subject, *known)):
            raise RegistrationError("a resource owner's username and profile must be text")
        check_user(username, email, first_name, last_name)
        if subject != username and not is_subject(subject):
            raise RegistrationError("a subject must be a text of at most 255 printable ASCII characters")
        if not isinstance(verified, bool) or not is_time(auth_time):
            raise RegistrationError("email_verified must be a bool, and auth_time whole seconds or None")
    except RegistrationError as error:
        # The name is not logged, because it may be any value.
        _log.error(
            "A login was refused: the Portal or `who=` returned no resource owner: {reason}",
            reason=str(error),
        )
        raise LoginDenied() from None
    return ResourceOwner(
        username, first_name, last_name, email, subject, verified and email != "", auth_time
    )
