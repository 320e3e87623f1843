"""A registry with more users, logins and events than any page can be about: no step grows with them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import pytest_twisted
import sqlalchemy as sa
from servers import MARIADB, POSTGRESQL, WITH_MARIADB, WITH_POSTGRESQL, made, opened, prepare

from djoauth2_twisted.errors import LastAdmin
from djoauth2_twisted.interfaces import MAX_COUNTED, MAX_SEARCHED
from djoauth2_twisted.models import Page, Totals, User
from djoauth2_twisted.stores.sql import schema
from djoauth2_twisted.stores.sql.registry import SQLRegistry

pytestmark = pytest.mark.usefixtures("patient")

MANY = MAX_COUNTED + 500
NOW = 1_700_000_000


@contextmanager
def database_of(engine: str, tmp_path: Path) -> Iterator[str]:
    if engine == "sqlite":
        yield f"sqlite:///{tmp_path}/many.db"
    else:
        with made({"postgresql": POSTGRESQL, "mariadb": MARIADB}[engine]) as url:
            yield url


@pytest.fixture(scope="module", params=["sqlite", WITH_POSTGRESQL, WITH_MARIADB])
def url(request: Any, tmp_path_factory: Any) -> Iterator[str]:
    with database_of(request.param, tmp_path_factory.mktemp("many")) as url:
        prepare(url)
        yield url


@pytest_twisted.async_yield_fixture(scope="module")
async def registry(url: str) -> AsyncIterator[SQLRegistry]:
    async for database in opened(url):
        fill(url)
        yield SQLRegistry(database)


def fill(url: str) -> None:
    """Many users, each with a login and a row in the audit trail."""
    rest = {"password_hash": "x" * 97, "first_name": "Ann", "last_name": "Lee", "disabled": False}
    numbers = range(MANY)
    rows: dict[sa.Table, list[dict[str, Any]]] = {
        schema.user: [
            {"username": f"user{n:06}", "email": f"{n}@b.example", "admin": n == 7, **rest}
            for n in numbers
        ],
        schema.session: [
            {"digest": n.to_bytes(32), "username": f"user{n:06}", "profile": {}, "expires": NOW + 9}
            for n in numbers
        ],
        schema.event: [
            {"id": f"e{n:06}", "time": n // 3, "details": {}}
            | dict.fromkeys(("actor", "action", "subject", "address"), "x")
            for n in numbers
        ],
    }
    engine = sa.create_engine(url, poolclass=sa.pool.NullPool)
    with engine.begin() as connection:
        for table, values in rows.items():
            connection.execute(sa.insert(table), values)


async def test_totals_are_counted_so_far_and_no_further(registry: SQLRegistry) -> None:
    more = MAX_COUNTED + 1
    assert await registry.totals(NOW) == Totals(clients=0, scopes=0, users=more, admins=1, sessions=more)


async def test_a_step_of_a_search_is_bounded(registry: SQLRegistry) -> None:
    """It looks through so many, and not through all of them until it finds something."""
    step, steps = await registry.search_users("nobody", "", 25), 1
    assert (step.users, step.reached) == ([], f"user{MAX_SEARCHED - 1:06}")
    while step.reached:
        before, steps = step.reached, steps + 1
        step = await registry.search_users("nobody", step.reached, 25)
    assert (step.users, steps) == ([], MANY // MAX_SEARCHED + 1)
    found = await registry.search_users(f"{MANY - 1}@B", before, 25)
    assert [user.username for user in found.users] == [f"user{MANY - 1:06}"]


async def test_the_last_page_costs_what_the_first_does(registry: SQLRegistry) -> None:
    """No statement counts its way to an offset: the plan goes to the place by the key."""
    users = await registry.users(Page(size=3, after=(f"user{MANY - 3:06}",)))
    assert [user.username for user in users] == [f"user{MANY - 2:06}", f"user{MANY - 1:06}"]
    events = await registry.events(Page(size=3, after=(1, "e000004")))
    assert [event.id for event in events] == ["e000005", "e000000", "e000001"]


async def test_the_last_administrator_among_many(registry: SQLRegistry) -> None:
    user = await registry.find_user("user000007")
    assert isinstance(user, User)
    with pytest.raises(LastAdmin):
        await registry.update_user(attrs.evolve(user, admin=False), keep_admin=True)
