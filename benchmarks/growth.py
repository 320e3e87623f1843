"""The costs of a large store: the time of each step, and the longest wait of other clients meanwhile.

    python benchmarks/growth.py URL [--token-store redis://...] [--full | --grants N ...]

The URL names an empty database; with Redis, it is the database of the registry. The benchmark fills it
with users, clients and grants as after years of use (`growth_sizes.py`). It then makes some more through
the store and over HTTP, whose tokens and passwords it knows. A server in this process serves plain HTTP,
without the cache of access tokens. During each step bystanders send requests (`growth_http.py`): twenty
a second to a guard, and four refreshes a second. The table has the time of a step, or the median and the
99th percentile if it is repeated; the longest wait of a bystander, from when its request was due; and
how many bystanders were refused. Remove the database afterwards.

``--full`` is a million users, a thousand clients and ten million grants. ``--only load`` fills the
database and ends, so that you can keep a copy. ``--only measure`` expects a filled database.
"""

import argparse
import json
import re
import statistics
import sys
import time
from collections import deque
from html import unescape
from pathlib import Path
from urllib.parse import quote

import growth_redis
import growth_sizes
import growth_sql
import sqlalchemy as sa
from growth_http import Application, Bystanders
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater, react

from djoauth2_twisted import AuthorizationServer, Settings
from djoauth2_twisted.credentials import digest, hash_password, random_string
from djoauth2_twisted.models import Grant, ResourceOwner, Scope, User

PASSWORD = random_string(30)

#: How many users have known tokens. Half of the tokens are sent to the guard, half are refreshed.
KNOWN = 1000
ADMIN, LIBERAL = "known-admin", "known-liberal"

#: How many grants the user LIBERAL has, and with how many clients.
GRANTS_OF_ONE, CLIENTS_OF_ONE = 100, 25

#: The least time for which bystanders are watched during a step, in seconds.
MIN_WATCH = 2.0

CONCURRENCY = 16


class Growth:
    """A large store, and the steps that are measured on it."""

    def __init__(self, reactor, options, bulk):
        self._reactor = reactor
        self._options = options
        self._bulk = bulk
        settings = Settings(ssl_only=False, access_token_cache=0)
        self._server = AuthorizationServer.from_url(
            reactor,
            options.url,
            issuer="http://localhost",
            token_store=options.token_store,
            settings=settings,
        )
        self._administration = self._server.administration

    async def run(self):
        """Make the known users and grants, measure the steps, and print."""
        server = self._server
        server._database.open()
        await server._database.connect()
        now = int(time.time())
        # With this lease, the server does not prune by itself.
        assert await server.registry.acquire_lease("prune", "benchmark", now + growth_sizes.DAY, now)
        server.startService()
        await server.when_ready()
        self._application = Application(self._reactor, server)
        try:
            known = await self._make_known()
            self._bystanders = Bystanders(self._application, known[::2], deque(self._chains))
            await self._measure()
        finally:
            await self._application.close()
            await server.stopService()

    # The known users and grants.

    async def _make_known(self):
        """Make users, a client and grants. Returns the access tokens."""
        registry, application = self._server.registry, self._application
        for name in (growth_sizes.SCOPE, growth_sizes.RARE):
            if name not in await registry.find_scopes((name,)):
                await registry.add_scope(Scope(name, "For the benchmark"))
        client, application.secret = await self._administration.add_client(
            "Known", (growth_sizes.REDIRECT_URI,)
        )
        application.client_id = client.client_id
        hashed = hash_password(PASSWORD)
        users = [ADMIN, LIBERAL, *(f"known-{number:04}" for number in range(KNOWN))]
        await each(users, lambda name: registry.add_user(User(name, hashed, admin=name == ADMIN)))
        tokens = await each(users[2:], lambda name: self._issue_tokens(name, application.client_id))
        clients = [
            growth_sizes.client_id(number % self._options.clients) for number in range(CLIENTS_OF_ONE)
        ]
        many = clients * (GRANTS_OF_ONE // CLIENTS_OF_ONE)
        await each(many, lambda client: self._add_used_code(LIBERAL, client))
        self._chains = [refresh for _, refresh in tokens[1::2]]
        return [access for access, _ in tokens]

    async def _issue_tokens(self, username, client_id):
        code = await self._add_code(username, client_id)
        return await self._application.tokens(
            grant_type="authorization_code", code=code, redirect_uri=growth_sizes.REDIRECT_URI
        )

    async def _add_used_code(self, username, client_id):
        await self._add_code(username, client_id, code_used=True)

    async def _add_code(self, username, client_id, **changes):
        now, code = int(time.time()), random_string(30)
        owner = ResourceOwner(username, "Ada", "Lovelace", "ada@example.com")
        grant = Grant(
            id=random_string(30),
            client_id=client_id,
            owner=owner,
            scopes=(growth_sizes.SCOPE,),
            created=now,
            last_used=now,
            expires=now + growth_sizes.DAY,
            code_digest=digest(code),
            code_expires=now + 600,
            redirect_uri=growth_sizes.REDIRECT_URI,
            code_challenge=None,
            **changes,
        )
        assert await self._server.tokens.add_code(grant)
        return code

    # The steps.

    async def _measure(self):
        print(f"\n{self._options.token_store or self._options.url}, {size_of(self._options)}\n")
        print("| step | how often | time | p99 | longest wait of others | refused |")
        print("|---|---:|---:|---:|---:|---:|", flush=True)
        self._bystanders.start(self._reactor)
        await deferLater(self._reactor, MIN_WATCH)
        await self._step("nothing", lambda: deferLater(self._reactor, 10))
        await self._measure_requests()
        await self._measure_pages()
        await self._measure_deletions()
        await self._step("nothing", lambda: deferLater(self._reactor, 10))
        await self._bystanders.stop(self._reactor)
        for error, times in self._bystanders.failed.items():
            print(f"{times} times there was no answer: {error}")
        print(f"\n{size_of(self._options)} in the end", flush=True)

    async def _measure_requests(self):
        guards, application = self._bystanders.guards, self._application
        await self._often("guard, look-up", 1000, lambda n: application.guard(guards[n % len(guards)]))
        await self._often("refresh", 200, lambda _: self._bystanders.refresh())
        await self._often("login", 20, self._log_in)

    async def _log_in(self, number):
        _, took = await self._application.log_in(f"known-{number:04}", PASSWORD)
        return took

    async def _measure_pages(self):
        application = self._application
        admin, _ = await application.log_in(ADMIN, PASSWORD)
        liberal, _ = await application.log_in(LIBERAL, PASSWORD)
        users = self._options.users
        after = quote(json.dumps([int(time.time()) - 180 * growth_sizes.DAY, ""]))
        pages = {
            "administration, first page": ("admin/", admin),
            "administration, users": ("admin/users/", admin),
            "administration, search by name": (_search(growth_sizes.username(users // 2)), admin),
            "administration, search, none found": (_search("no such user"), admin),
            "administration, grants": ("admin/grants/", admin),
            "administration, grants, far from the first": (f"admin/grants/?after={after}", admin),
            "administration, a user's grants": (f"admin/grants/?user={LIBERAL}", admin),
            "administration, largest client's grants": (
                f"admin/grants/?client={growth_sizes.client_id(0)}",
                admin,
            ),
            "administration, largest client": (f"admin/client/?id={growth_sizes.client_id(0)}", admin),
            "administration, delete largest client": (
                f"admin/client/delete/?id={growth_sizes.client_id(0)}",
                admin,
            ),
            "administration, delete scope": (f"admin/scope/delete/?id={growth_sizes.RARE}", admin),
            "administration, audit trail": ("admin/audit/", admin),
            "My applications": ("account/", liberal),
        }
        for name, (path, browser) in pages.items():
            await self._often(
                name, 20, lambda _, path=path, browser=browser: application.page(path, browser)
            )
        await self._step("search through all users", lambda: self._search_all(admin))

    async def _search_all(self, admin):
        """Search for the last user, and follow the link to the next page until the end."""
        path, pages = _search(growth_sizes.username(self._options.users - 1)[1:]), 0
        while path:
            body, pages = await self._application.page(path, admin), pages + 1
            onward = re.search(rb'href="/oauth2/([^"]*after=[^"]*)"', body)
            path = unescape(onward[1].decode()) if onward else ""
        return f"{pages} pages"

    async def _measure_deletions(self):
        administration = self._administration

        async def revoke(**whose):
            count = await administration.revoke_grants(whose.get("username"), whose.get("client_id"))
            return f"{count:,} grants"

        async def prune():
            count, _ = await administration.clean_up(int(time.time()))
            return f"{count:,}"

        await self._step("prune: what a day left", prune)
        await self._step("revoke: all of a user", lambda: revoke(username=LIBERAL))
        await self._step("revoke: all of a client", lambda: revoke(client_id=growth_sizes.client_id(1)))
        if self._bulk.size.before:
            await self._step(
                "revoke: with used tokens", lambda: revoke(client_id=growth_sizes.OF_BEFORE)
            )
            await self._step(f"prune: with {self._bulk.size.used} used tokens each", prune)
        await self._step("delete: a scope", lambda: administration.delete_scope(growth_sizes.RARE))
        await self._step(
            "delete: the largest client", lambda: administration.delete_client(growth_sizes.client_id(0))
        )
        await self._step("set a password", lambda: administration.set_password(LIBERAL, PASSWORD))
        await self._step("prune: all of that", prune)

    async def _step(self, name, act):
        """Measure a step once, and print it."""
        self._bystanders.watch()
        begun, said = time.perf_counter(), None
        try:
            said = await act()
        except Exception as error:
            said = f"failed: {error!r}"
        took = time.perf_counter() - begun
        await self._print_row(
            f"{name}{f', {said}' if isinstance(said, str) else ''}", 1, took, None, begun
        )

    async def _often(self, name, times, act, most=20):
        """Measure a step ``times`` times, but for no longer than ``most`` seconds, and print it.

        :param act: is called with the number of the repetition. If it returns a float, that is the time
            that it took, in seconds.
        """
        self._bystanders.watch()
        found, begun = [], time.perf_counter()
        for number in range(times):
            since = time.perf_counter()
            try:
                said = await act(number)
            except Exception as error:
                name = f"{name}, failed: {error!r}"
                break
            finally:
                found.append(time.perf_counter() - since)
            found[-1] = said if isinstance(said, float) else found[-1]
            if time.perf_counter() - begun > most:
                break
        found.sort()
        await self._print_row(
            name, len(found), statistics.median(found), found[int(len(found) * 0.99)], begun
        )

    async def _print_row(self, name, times, took, p99, begun):
        left = begun + MIN_WATCH - time.perf_counter()
        if left > 0:
            await deferLater(self._reactor, left)
        await self._bystanders.settled(self._reactor)
        others = self._bystanders
        cells = [name, str(times), seconds(took), "" if p99 is None else seconds(p99)]
        cells += [seconds(others.longest), f"{others.refused} of {others.asked}"]
        print("| " + " | ".join(cells) + " |", flush=True)


def _search(text):
    return f"admin/users/?search={quote(text)}"


async def each(items, act):
    """Call ``act`` for each item, several at once. Returns the results in the order of the items."""
    left, found = iter(enumerate(items)), {}

    async def some():
        for position, item in left:
            found[position] = await act(item)

    await gatherResults([Deferred.fromCoroutine(some()) for _ in range(CONCURRENCY)])
    return [found[position] for position in sorted(found)]


def seconds(time):
    """A time as text for people, from seconds."""
    if time >= 100:
        return f"{time:,.0f} s"
    return f"{time:.1f} s" if time >= 1 else f"{1000 * time:.1f} ms"


def size_of(options):
    """The store's size on disk, or in Redis's memory, as text."""
    if options.token_store:
        return f"{growth_redis.size(options.token_store) / 2**20:,.0f} MiB in Redis"
    url = sa.make_url(options.url)
    if url.get_backend_name() == "sqlite":
        files = [Path(url.database), Path(f"{url.database}-wal")]
        size = sum(file.stat().st_size for file in files if file.exists())
    else:
        query = "SELECT pg_database_size(current_database())"
        if url.get_backend_name() != "postgresql":
            query = (
                "SELECT sum(data_length + index_length) FROM information_schema.tables "
                "WHERE table_schema = database()"
            )
        with growth_sql.engine_of(options.url).connect() as connection:
            size = int(connection.exec_driver_sql(query).scalar())
    return f"{size / 2**20:,.0f} MiB on disk"


async def main(reactor, options):
    """Fill, measure and print."""
    size = growth_sizes.Size(
        options.users, options.clients, options.grants, options.before, options.used
    )
    bulk = growth_sizes.Bulk(size, int(time.time()))
    if options.only != "measure":
        begun = time.perf_counter()
        await growth_sql.prepare(reactor, options.url)
        growth_sql.load(options.url, bulk, tokens=not options.token_store)
        if options.token_store:
            await growth_redis.load(reactor, options.token_store, bulk)
        took = seconds(time.perf_counter() - begun)
        print(f"{size.grants:,} grants, {size.users:,} users: loaded in {took}", flush=True)
    if options.only != "load":
        await Growth(reactor, options, bulk).run()


def read(words):
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("url")
    parser.add_argument("--token-store")
    parser.add_argument("--users", type=int, default=10_000)
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--grants", type=int, default=100_000)
    parser.add_argument("--before", type=int, default=100, help="grants with used tokens")
    parser.add_argument("--used", type=int, default=700, help="used tokens of each of these")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--only", choices=("load", "measure"))
    options = parser.parse_args(words)
    if options.full:
        options.users, options.clients, options.grants, options.before = (
            1_000_000,
            1000,
            10_000_000,
            1000,
        )
    return options


if __name__ == "__main__":
    react(lambda reactor: Deferred.fromCoroutine(main(reactor, read(sys.argv[1:]))))
