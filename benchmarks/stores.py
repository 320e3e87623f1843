"""What a grant costs on each store: bytes, and steps per second of one process.

    python benchmarks/stores.py GRANTS URL [URL ...]

Each URL is of an empty database of its own, or ``redis://``, where all is kept under a prefix of its own
and removed in the end. Grants are made, their codes exchanged and their refresh tokens used once, by the
verbs of `ITokenStore`, in this process and without HTTP: 64 at once, as under load, and one after the
other. Sizes are taken before and after. In brackets stands this process's CPU time for each step, which
is steadier than steps per second where the machine has other work.
"""

import sys
import time
from pathlib import Path

import sqlalchemy as sa
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import react

from djoauth2_twisted.credentials import digest, new_family, random_string, refresh_token
from djoauth2_twisted.models import CodeProof, Grant, Issuance, Issued, RefreshProof, ResourceOwner
from djoauth2_twisted.stores.urls import from_url

AT_ONCE = 64
#: So many are done one after the other.
SINGLY = 300
PREFIX = "djoauth2-benchmark:"
CLIENT_ID = random_string(30)
REDIRECT_URI = "https://app.example/callback"
OWNER = ResourceOwner("alice", "Alice", "Liddell", "alice@example.com")


def grant(now):
    """A new grant with its code."""
    return Grant(
        id=random_string(30),
        client_id=CLIENT_ID,
        owner=OWNER,
        scopes=("user_info",),
        created=now,
        last_used=now,
        expires=now + 600,
        code_digest=digest(random_string(30)),
        code_expires=now + 600,
        redirect_uri=REDIRECT_URI,
        code_challenge=None,
    )


def issuance(now, family):
    """A new pair of tokens."""
    return Issuance(
        now=now,
        access_digest=digest(random_string(30)),
        access_expires=now + 3600,
        refresh_digest=digest(refresh_token(family, 30)),
        refresh_expires=now + 2592000,
        family_digest=digest(family),
    )


class Store:
    """A token store, and how large it is."""

    def __init__(self, reactor, url):
        self.url = url
        self.is_redis = url.startswith("redis")
        if self.is_redis:
            self.opened, _, self.tokens = from_url(reactor, "sqlite://", url)
            object.__setattr__(self.tokens, "prefix", PREFIX)
        else:
            self.opened, _, self.tokens = from_url(reactor, url)

    async def open(self):
        """Open and prepare it."""
        self.opened.open(prepare=True)
        await self.opened.connect()

    async def size(self):
        """In bytes."""
        if self.is_redis:
            script = "return redis.call('INFO', 'memory')"
            text = await self.tokens.redis.eval(script, [], [])
            return int(text.split(b"used_memory:")[1].split()[0])
        url = sa.make_url(self.url)
        url = url.set(drivername=_DRIVERS[url.get_backend_name()])
        engine = sa.create_engine(url, poolclass=sa.pool.NullPool, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            return _SIZES[url.get_backend_name()](connection, url)

    async def close(self):
        """Remove what would be left, and close it."""
        if self.is_redis:
            script = "for _, key in ipairs(redis.call('KEYS', ARGV[1])) do redis.call('UNLINK', key) end"
            await self.tokens.redis.eval(script, [], [f"{PREFIX}*"])
        await self.opened.close()


def _size_of_sqlite(connection, url):
    connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    return Path(url.database).stat().st_size


def _size_of_postgresql(connection, url):
    names = "'djoauth2_grant', 'djoauth2_token', 'djoauth2_retry'"
    query = f"SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relname IN ({names})"
    return int(connection.exec_driver_sql(query).scalar())


def _size_of_mariadb(connection, url):
    connection.exec_driver_sql("ANALYZE TABLE djoauth2_grant, djoauth2_token").all()
    query = (
        "SELECT sum(data_length + index_length) FROM information_schema.tables "
        "WHERE table_schema = database() AND table_name IN ('djoauth2_grant', 'djoauth2_token')"
    )
    return int(connection.exec_driver_sql(query).scalar())


_DRIVERS = {
    "sqlite": "sqlite",
    "postgresql": "postgresql+psycopg",
    "mysql": "mysql+pymysql",
    "mariadb": "mysql+pymysql",
}
_SIZES = {
    "sqlite": _size_of_sqlite,
    "postgresql": _size_of_postgresql,
    "mysql": _size_of_mariadb,
    "mariadb": _size_of_mariadb,
}


async def each(items, act, at_once):
    """Do something with each item; so many are done in a second, and what one costs in ms of CPU."""
    left = iter(items)

    async def some():
        for item in left:
            await act(item)

    begun, used = time.perf_counter(), time.process_time()
    await gatherResults([Deferred.fromCoroutine(some()) for _ in range(at_once)])
    took, worked = time.perf_counter() - begun, time.process_time() - used
    return f"{len(items) / took:.0f} ({1000 * worked / len(items):.2f} ms)"


async def steps(store, count, at_once):
    """Add, exchange, refresh and look up so many; how many of each are done in a second."""
    now = int(time.time())
    tokens = store.tokens
    families = [new_family() for _ in range(count)]
    flows = [(grant(now), issuance(now, family), issuance(now, family)) for family in families]

    async def add(flow):
        assert await tokens.add_code(flow[0])

    async def exchange(flow):
        proof = CodeProof(CLIENT_ID, REDIRECT_URI, None)
        assert isinstance(await tokens.redeem_code(flow[0].code_digest, proof, flow[1]), Issued)

    async def refresh(flow):
        proof = RefreshProof(CLIENT_ID, None)
        done = await tokens.rotate_refresh_token(flow[1].refresh_digest, proof, flow[2])
        assert isinstance(done, Issued)

    async def look(flow):
        assert await tokens.find_access_token(flow[2].access_digest)

    return [await each(flows, act, at_once) for act in (add, exchange, refresh, look)]


async def measure(reactor, url, count):
    """One store's row in both tables."""
    store = Store(reactor, url)
    await store.open()
    try:
        before = await store.size()
        many = await steps(store, count, AT_ONCE)
        size = (await store.size() - before) / count
        one = await steps(store, min(count, SINGLY), 1)
    finally:
        await store.close()
    name = url.partition(":")[0]
    print(f"| {name} | {size:.0f} | " + " | ".join((*many, *one)) + " |")


async def main(reactor, count, *urls):
    """Measure and print."""
    heads = [f"{what}, {how}" for how in (f"{AT_ONCE} at once", "singly") for what in _STEPS]
    print("| store | bytes per grant | " + " | ".join(heads) + " |")
    print("|---" * (2 + len(heads)) + "|")
    for url in urls:
        await measure(reactor, url, int(count))


_STEPS = ("consents/s", "exchanges/s", "refreshes/s", "look-ups/s")

if __name__ == "__main__":
    react(lambda reactor, *words: Deferred.fromCoroutine(main(reactor, *words)), sys.argv[1:])
