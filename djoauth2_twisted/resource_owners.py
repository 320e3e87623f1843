"""Who resource owners are: passwords of the database's users, other checkers, and the Portal's realm."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import attrs
from attrs import frozen
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IUsernamePassword, UsernamePassword
from twisted.cred.error import LoginDenied, UnauthorizedLogin
from twisted.cred.portal import IRealm, Portal
from twisted.internet.defer import Deferred, fail
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool
from zope.interface import Interface, implementer

from . import credentials
from .errors import RegistrationError, TemporarilyUnavailable
from .interfaces import IRegistry, IResourceOwner
from .models import ResourceOwner, User
from .protocol.registration import LONGEST_NAME, LONGEST_PASSWORD, check_subject

_T = TypeVar("_T")

_log = Logger()

THREADS = 2

#: How many passwords wait for a thread. At 0.1 s each, a longer queue is longer than anyone's patience.
LONGEST_QUEUE = 20


class PasswordThreads:
    """A few threads in which passwords are hashed and verified, and nowhere else.

    :param reactor: provides IReactorFromThreads.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._pool: ThreadPool | None = None
        self._under_way = 0
        self._hash_of_nobody: str | None = None

    def start(self) -> None:
        """Start the threads; they end with `stop`."""
        if self._pool is None:
            self._pool = ThreadPool(0, THREADS, "djoauth2-passwords")
            self._pool.start()

    def stop(self) -> None:
        """End the threads when they have done what they were given."""
        if self._pool is not None:
            pool, self._pool = self._pool, None
            pool.stop()

    def hash(self, password: str) -> Deferred[str]:
        """An argon2id string. Fails with `TemporarilyUnavailable` where too many wait."""
        return self._defer(credentials.hash_password, password)

    def verify(self, password_hash: str | None, password: str) -> Deferred[bool]:
        """Whether a password is right; just as long for the hash of nobody, which never is."""
        return self._defer(self._verify, password_hash, password)

    def _verify(self, password_hash: str | None, password: str) -> bool:
        if password_hash is not None:
            return credentials.verify_password(password_hash, password)
        if self._hash_of_nobody is None:
            self._hash_of_nobody = credentials.hash_password(credentials.random_string(30))
        credentials.verify_password(self._hash_of_nobody, password)
        return False

    def _defer(self, function: Callable[..., _T], *arguments: object) -> Deferred[_T]:
        if self._pool is None or self._under_way >= LONGEST_QUEUE:
            return fail(TemporarilyUnavailable())
        waiting: Deferred[_T] = Deferred()

        def work() -> Any:
            # Whoever has hung up keeps nobody else waiting.
            return None if waiting.called else function(*arguments)

        def done(result: Any) -> Any:
            self._under_way -= 1
            return result

        self._under_way += 1
        # Cancelling ends the waiting alone: the work counts until it has left the queue and its thread.
        deferToThreadPool(self._reactor, self._pool, work).addBoth(done).chainDeferred(waiting)
        return waiting


class AvatarId(bytes):
    """A username in UTF-8, and the user whose password was right.

    By the time that the realm is asked, the name may be somebody else's.
    """

    user: User | None = None

    def __new__(cls, name: bytes, user: User | None) -> AvatarId:
        made = super().__new__(cls, name)
        made.user = user
        return made


@implementer(ICredentialsChecker)
@frozen
class RegistryChecker:
    """A twisted.cred checker of the database's users."""

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
        user = None
        if username.isprintable() and 0 < len(presented.username) <= LONGEST_NAME:
            user = await self.registry.find_user(username)
        known = user is not None and not user.disabled
        good = await self.threads.verify(
            user.password_hash if user is not None and known else None, password[: LONGEST_PASSWORD + 1]
        )
        if not good:
            raise UnauthorizedLogin()
        return AvatarId(presented.username, user)


@implementer(ICredentialsChecker)
@frozen
class AnyChecker:
    """Several checkers as one, asked in turn: a Portal keeps only the last of each interface."""

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
            # Our own takes bytes, and its time: it is not asked twice.
            again = [] if isinstance(checker, RegistryChecker) else as_text
            with suppress(UnauthorizedLogin):
                return await self._ask_one(checker, [presented, *again])
        raise UnauthorizedLogin()

    async def _ask_one(self, checker: Any, forms: Sequence[Any]) -> bytes | str:
        """Ask for bytes, then for text: Twisted's file checker takes the first, its unix checker the
        second, and its memory checker, made from an option, compares with text.
        """
        refusals: list[Exception] = []
        for form in forms:
            try:
                avatar_id: bytes | str = await checker.requestAvatarId(form)
                return avatar_id
            except (UnauthorizedLogin, TypeError, AttributeError) as error:
                refusals.append(error)
        # What the wrong kind of string broke says nothing, unless both kinds did.
        raise next((each for each in refusals if isinstance(each, UnauthorizedLogin)), refusals[0])


@implementer(IRealm)
@frozen
class ResourceOwnerRealm:
    """Makes an IResourceOwner of whoever a checker let in, with what the database knows of them."""

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
        user = user or await self.registry.find_user(username)
        if user is None:
            owner = ResourceOwner(username)
        else:
            owner = Registered(
                username, user.first_name, user.last_name, user.email, subject=user.subject
            )
        return IResourceOwner, owner, lambda: None


@frozen
class Registered(ResourceOwner):
    """A user of the registry, as our own realm has found them."""


def make_portal(registry: IRegistry, checkers: Sequence[Any]) -> Portal:
    """A Portal that logs resource owners in by any of the checkers."""
    return Portal(ResourceOwnerRealm(registry), [AnyChecker(checkers)])


async def admit(registry: IRegistry, avatar: Any) -> ResourceOwner:
    """What is kept of an avatar that provides IResourceOwner, whoever says that it is one.

    :raises LoginDenied: it cannot be kept, or its name is meanwhile free or somebody else's.
    """
    owner = _resource_owner(avatar)
    user = await registry.find_user(owner.username)
    if isinstance(avatar, Registered):
        if user is None or user.subject != owner.subject:
            raise LoginDenied()
    elif user is not None:
        # Whom we know by that name, we know by our own subject.
        owner = attrs.evolve(owner, subject=user.subject)
    return owner


def _resource_owner(avatar: Any) -> ResourceOwner:
    subject = getattr(avatar, "subject", None) or avatar.username
    try:
        if subject != avatar.username:
            check_subject(subject)
    except RegistrationError as error:
        _log.error("What a login has come to is no resource owner: {reason}", reason=str(error))
        raise LoginDenied() from None
    return ResourceOwner(
        avatar.username,
        getattr(avatar, "first_name", "") or "",
        getattr(avatar, "last_name", "") or "",
        getattr(avatar, "email", "") or "",
        subject,
    )
