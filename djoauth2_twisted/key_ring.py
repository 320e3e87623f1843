"""The keys with which one server signs ID tokens: read from the registry, unsealed, and rotated."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

import attrs
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IReactorFromThreads, IReactorTime
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool

from .clock import worker_reactor
from .errors import ConfigurationError, TemporarilyUnavailable
from .interfaces import IKeys
from .key_file import CannotUnseal, KeyFile, ServerKeys, in_memory
from .models import SigningKey
from .protocol import jose, key_states
from .protocol.key_states import CURRENT, MAX_STALENESS, NEXT, Rules
from .protocol.registration import ID_TOKEN_ALGORITHMS
from .threads import PoolThread

_T = TypeVar("_T")

#: How many signatures are made at once.
THREADS = 2

#: How often a change is tried again because another process has changed the keys meanwhile.
MAX_ATTEMPTS = 5


class SealedKeys:
    """Makes signing keys and unseals them. It blocks, for up to 0.2 s for each key."""

    def __init__(self, key_file: KeyFile) -> None:
        self.file = key_file

    def make(self, algorithm: str, now: int) -> SigningKey:
        """A new next key.

        :param now: in seconds since the epoch.
        """
        key = jose.new_key(algorithm)
        sealed = self.file.seal(key.secret(), _purpose(key.kid))
        return SigningKey(key.kid, algorithm, NEXT, key.public(), sealed, now)

    def resealed(self, key: SigningKey) -> SigningKey:
        """The same key, sealed under the newest key of the file if it can be unsealed."""
        sealed = key.sealed_private
        if sealed is None or self.file.is_newest(sealed):
            return key
        with suppress(CannotUnseal):
            plain = self.file.unseal(sealed, _purpose(key.kid))
            return attrs.evolve(key, sealed_private=self.file.seal(plain, _purpose(key.kid)))
        return key

    def unseal(self, key: SigningKey) -> jose.PrivateKey:
        """The private half of a key that is not retired.

        :raises ConfigurationError: the key file is not the one that it was sealed under.
        """
        try:
            return jose.read_key(
                key.algorithm, self.file.unseal(key.sealed_private or b"", _purpose(key.kid))
            )
        except CannotUnseal:
            raise wrong_file(f"the key file {self.file.path} is not the one") from None


def _purpose(kid: str) -> bytes:
    return b"signing key " + kid.encode("ascii")


def wrong_file(what: str) -> ConfigurationError:
    """The error for a key file that is missing or another."""
    return ConfigurationError(
        f"{what} under which the signing keys in the database are sealed: bring that file back, or give "
        "the keys up with `djoauth2 keys retire`",
        "openid_key_file",
    )


def open_file(files: ServerKeys, stored: Sequence[SigningKey], is_in_memory: bool) -> KeyFile:
    """The key file, which is made where nothing is sealed under it yet and the setting names none.

    :param stored: the signing keys of the registry.
    :param is_in_memory: whether the registry ends with the process, so that it needs no file.
    :raises ConfigurationError: it cannot be used, or it is missing.
    """
    if is_in_memory and files.path is None:
        return in_memory()
    is_sealed = any(key.sealed_private is not None for key in stored)
    if is_sealed and files.path is not None and not files.path.exists():
        raise wrong_file(f"the key file {files.path} is missing,")
    return files.open()


class KeyRing:
    """The signing keys of one server, from `start` to `stop`.

    All servers on a registry have the same keys. Each reads them again after `MAX_STALENESS`, and the
    one that holds the lease changes them.

    :param reactor: its threads make keys and slow signatures; without threads, the caller waits.
    :param files: the key file.
    :param seconds: returns the time in seconds since the epoch.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        registry: IKeys,
        files: ServerKeys,
        rules: Rules,
        seconds: Callable[[], float],
    ) -> None:
        self._reactor = reactor
        self._registry = registry
        self._files = files
        self._rules = rules
        self._seconds = seconds
        self._pool: ThreadPool | None = None
        self._sealed: SealedKeys | None = None
        self._stored: list[SigningKey] = []
        self._private: dict[str, jose.PrivateKey] = {}
        self._stale_from = 0.0
        self._reading, self._making = DeferredLock(), DeferredLock()

    async def start(self) -> None:
        """Read the keys, and make those that are missing.

        :raises ConfigurationError: the key file cannot be used, or is not that of the keys.
        :raises TemporarilyUnavailable: the registry does not answer.
        """
        if IReactorFromThreads.providedBy(self._reactor):
            self._pool = ThreadPool(0, THREADS, "djoauth2-signing")
            self._pool.threadFactory = PoolThread
            self._pool.start()
        try:
            stored = await self._registry.signing_keys()
            is_in_memory = bool(getattr(self._registry, "is_in_memory", False))
            self._sealed = SealedKeys(open_file(self._files, stored, is_in_memory))
            await self._read(must_unseal=True)
            await self.tend()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the threads after their current work, and forget the private keys."""
        self._private.clear()
        self._sealed = None
        if self._pool is not None:
            self._pool.stop()
            self._pool = None

    @property
    def key_file(self) -> KeyFile:
        """The key file, for what else is sealed under it.

        :raises TemporarilyUnavailable: the ring is not started.
        """
        return self._opened().file

    # Signing.

    async def signer(self, algorithm: str) -> jose.PrivateKey:
        """The current key of an algorithm.

        :raises TemporarilyUnavailable: it cannot be read.
        """
        await self._refresh()
        if key_states.find(self._stored, algorithm, CURRENT) is None:
            await self._replace_retired(algorithm)
        current = key_states.find(self._stored, algorithm, CURRENT)
        key = None if current is None else self._private.get(current.kid)
        if key is None:
            raise TemporarilyUnavailable()
        return key

    async def _replace_retired(self, algorithm: str) -> None:
        """Make the keys of an algorithm of which an administrator has retired the current and the next.

        Of the requests that need them, one does it.
        """
        async with self._making:
            if key_states.find(self._stored, algorithm, CURRENT) is None:
                await self.tend()

    async def sign(self, key: jose.PrivateKey, claims: Mapping[str, Any], typ: str = "JWT") -> str:
        """A token that a key has signed; see `PrivateKey.sign`. A slow signature is made in a thread."""
        if key.algorithm in jose.SLOW:
            return await self._in_thread(lambda: key.sign(claims, typ))
        return key.sign(claims, typ)

    async def published(self) -> list[Mapping[str, str]]:
        """The public halves of all keys, as JWKs."""
        await self._refresh()
        return [key.public for key in self._stored]

    async def verify(self, token: str) -> dict[str, Any]:
        """The claims of a token that this server has signed; see `jose.verify`.

        :raises BadToken: it has not signed it.
        """
        return jose.verify(token, {key["kid"]: key for key in await self.published()})

    # The life of the keys.

    async def tend(self) -> None:
        """Change the states of keys whose time has come, and make those that are missing."""
        await self._change(lambda keys, now: key_states.advanced(keys, self._rules, now))

    async def rotate(self) -> list[SigningKey]:
        """Let the next keys sign that are in every cache of the key set. Returns the keys afterwards."""

        def rotate(keys: Sequence[SigningKey], now: int) -> Sequence[SigningKey]:
            for algorithm in ID_TOKEN_ALGORITHMS:
                keys = key_states.rotated(keys, algorithm, now)
            return keys

        return await self._change(rotate)

    async def _change(
        self, change: Callable[[Sequence[SigningKey], int], Sequence[SigningKey]]
    ) -> list[SigningKey]:
        """Apply a change to the stored keys, in one step. Returns the keys afterwards."""
        for _ in range(MAX_ATTEMPTS):
            before, now = await self._registry.signing_keys(), int(self._seconds())
            after = await self._completed(change(before, now), now)
            if after == before or await self._registry.replace_signing_keys(before, after):
                await self._read()
                return after
        raise TemporarilyUnavailable()

    async def _completed(self, keys: Sequence[SigningKey], now: int) -> list[SigningKey]:
        """The keys, with a current and a next one for each algorithm, sealed under the newest key."""
        sealed = self._opened()
        completed = [sealed.resealed(key) for key in keys]
        while algorithms := key_states.without_next(completed):
            for algorithm in algorithms:
                made = await self._in_thread(partial(sealed.make, algorithm, now))
                completed.append(made)
            completed = key_states.advanced(completed, self._rules, now)
        return completed

    async def _refresh(self) -> None:
        """Read the keys again where they were read too long ago."""
        if self._seconds() < self._stale_from:
            return
        await self._reading.acquire()
        try:
            if self._seconds() >= self._stale_from:
                await self._read()
        except TemporarilyUnavailable:
            if not self._stored:
                raise
            # What was read before serves until the registry answers.
            self._stale_from = self._seconds() + 1
        finally:
            self._reading.release()

    async def _read(self, must_unseal: bool = False) -> None:
        stored = await self._registry.signing_keys()
        wanted = {key.kid: key for key in stored if key.sealed_private is not None}
        private = {kid: key for kid, key in self._private.items() if kid in wanted}
        for kid in wanted.keys() - private.keys():
            try:
                private[kid] = await self._in_thread(partial(self._opened().unseal, wanted[kid]))
            except ConfigurationError as error:
                if must_unseal:
                    raise
                self._log.error("A signing key cannot be used: {error}", error=error)
        self._stored, self._private = stored, private
        self._stale_from = self._seconds() + MAX_STALENESS

    def _opened(self) -> SealedKeys:
        if self._sealed is None:
            raise TemporarilyUnavailable()
        return self._sealed

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        if self._pool is None:
            return work()
        working: Deferred[_T] = deferToThreadPool(worker_reactor(self._reactor), self._pool, work)
        return await working
